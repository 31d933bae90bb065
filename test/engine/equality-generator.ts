/** Random instructions from the instruction table, each row as often as any other, prepared so that most of them do something. */

import type { Row } from '../../src/isa/table.js'
import { DEVICE_PORT, MMIO_BASE } from './equality-board.js'
import type { Random } from './equality-random.js'
import { rowFits } from './equality-rows.js'
import {
  AREA,
  CODE,
  DATA,
  FAR_STRIDE,
  PAGE_TABLE,
  SLOT,
  SLOTS,
  STACK0,
  STACK3,
  type Surroundings,
  selectorsFor,
  VECTOR_CALL,
} from './equality-tables.js'

/** Ports that are worth a try. */
const PORTS = [
  DEVICE_PORT,
  DEVICE_PORT + 4,
  DEVICE_PORT + 12,
  DEVICE_PORT + 13,
  DEVICE_PORT + 14,
  DEVICE_PORT + 15,
  0x20,
  0x21,
  0x40,
  0x43,
  0xa0,
  0x80,
  0x1000,
]
const MSRS = [
  0x10, 0x1b, 0x174, 0x175, 0x176, 0x1a0, 0x277, 0xc0000080, 0xc0000081, 0xc0000082, 0xc0000084, 0xc0000100, 0xc0000101,
  0xc0000102, 0xc0000103, 0xc1, 0x186, 0x2ff, 0x200, 0x12345,
]
const CR3_VALUES = [0, 8, 0x18]
const AL_AX = 0

/** Writes random code for one program. */
export class Generator {
  private readonly around: Surroundings
  private readonly random: Random
  private readonly nextRow: () => Row
  private out: number[] = []
  /** Offset in the segment of the slot that is being written. */
  private at = 0
  private slot = 0
  private readonly ip: number
  /** Place of the first slot in the code area. */
  private readonly place: number

  constructor(around: Surroundings, random: Random, ip: number, nextRow: () => Row) {
    this.around = around
    this.random = random
    this.ip = ip
    this.place = ip % CODE
    this.nextRow = nextRow
  }

  /** Fills the code area. */
  fill(code: Uint8Array): void {
    code.fill(0x90)
    for (this.slot = 0; this.slot < SLOTS; this.slot++) {
      this.at = this.ip + this.slot * SLOT
      const place = this.place + this.slot * SLOT
      let used = 0
      for (let tries = 0; used < SLOT - 4 && tries < 4; tries++) {
        const bytes = this.random.chance(4)
          ? this.special(SLOT - used, this.at + used)
          : this.instruction(SLOT - used, this.at + used)
        if (bytes.length > SLOT - used) continue
        code.set(bytes, place + used)
        used += bytes.length
        if (this.random.chance(15)) break
      }
    }
    // Round again.
    const end = this.place + SLOTS * SLOT
    code[end] = 0xe9
    const back = -(SLOTS * SLOT) - (this.around.bits === 16 ? 3 : 5)
    new DataView(code.buffer, code.byteOffset).setInt32(end + 1, back, true)
  }

  // --- pieces -------------------------------------------------------------------------------------------------------

  private u8(...bytes: number[]): void {
    for (const byte of bytes) this.out.push(byte & 0xff)
  }
  private number(value: number, size: number): void {
    const low = size === 8 ? Math.floor(value) : value
    for (let n = 0; n < Math.min(size, 4); n++) this.out.push((low >>> (n * 8)) & 0xff)
    if (size === 8) {
      const high = Math.floor(value / 4294967296) | 0
      for (let n = 0; n < 4; n++) this.out.push((high >>> (n * 8)) & 0xff)
    }
  }

  private get opSize(): number {
    return this.around.bits === 16 ? 2 : 4
  }

  /** MOV reg, value in the width of the code (64-bit: zero-extended from 32). */
  private load(reg: number, value: number, wide = false): void {
    if (reg >= 8) this.u8(0x41)
    const has386 = (this.around.model.features as ReadonlySet<string>).has('386')
    if (this.around.bits === 16 && wide && has386) {
      this.u8(0x66, 0xb8 + (reg & 7))
      this.number(value, 4)
    } else {
      this.u8(0xb8 + (reg & 7))
      this.number(value, this.opSize)
    }
  }

  private push(value: number): void {
    const { bits } = this.around
    if (bits === 16) {
      this.u8(0x68)
      this.number(value, 2)
    } else if (value >= -128 && value < 128) this.u8(0x6a, value)
    else {
      this.u8(0x68)
      this.number(value, 4)
    }
  }

  /** Offset of a slot, mostly further on. */
  private target(): number {
    const { random } = this
    const slot = random.chance(85) ? this.slot + 1 + random.below(4) : random.below(SLOTS)
    return this.ip + (slot % SLOTS) * SLOT
  }

  /** A linear address worth accessing. */
  private linear(): number {
    const { random } = this
    const kind = random.below(100)
    if (kind < 62) return DATA + random.below(0xd000)
    if (kind < 70) return DATA + random.below(13) * 0x1000 + 0xff8 + random.below(8)
    // Code near here: self-modifying.
    if (kind < 80) return CODE + this.place + (this.slot + random.below(6)) * SLOT + random.below(SLOT)
    if (kind < 84) return 0x2a000 + random.below(0x2000)
    if (kind < 87) return MMIO_BASE + random.below(0x100)
    if (kind < 93 && this.around.paging !== 'off') {
      const low = DATA + random.below(0xd000)
      if (this.around.paging === 'long' && this.around.bits === 64)
        return random.pick([
          -0x8000_0000_0000 + low,
          0x200000 + low,
          0x40000000 + low,
          0x7fff_ffff_f000 + random.below(0x1010),
        ])
      return random.pick([0x200000, 0xc0000000]) + low
    }
    if (kind < 96) return STACK3 - random.below(0x40)
    return random.next()
  }

  private displacement(linear: number, seg: number): number {
    return linear - this.around.bases[seg]!
  }

  /** Where the memory operand of a row should be, as an offset in `seg`. */
  private operandOffset(row: Row, seg: number, size: number): number {
    const { random } = this
    const area = (base: number, bytes: number, step: number): number =>
      this.displacement(base + random.below(bytes / step) * step, seg)
    if (random.chance(75)) {
      const operand = row.operands.find((o) => o.method === 'E' || o.method === 'M')
      switch (row.mnemonic) {
        case 'fxsave':
        case 'fxrstor':
        case 'xsave':
        case 'xsaveopt':
        case 'xrstor':
          return area(AREA.images, 0x800, 512)
        case 'ldmxcsr':
          return area(AREA.mxcsr, 0x400, 4)
        case 'fldcw':
        case 'fldenv':
          return area(AREA.control, 0x300, 2)
        case 'lldt':
        case 'ltr':
        case 'verr':
        case 'verw':
        case 'lar':
        case 'lsl':
        case 'arpl':
          return area(AREA.selectors, 0x800, 2)
        case 'call':
        case 'jmp':
          return area(AREA.near, 0x400, 8)
        case 'lgdt':
          return area(AREA.tables, 0x200, 64)
        case 'lidt':
          return area(AREA.tables + 32, 0x1c0, 64)
        case 'mov':
          if (row.operands[0]?.method === 'S') return area(AREA.selectors, 0x800, 2)
          break
      }
      if (operand?.memWidth === 'p')
        return area(AREA.far + (size === 2 ? 0 : size === 4 ? 1 : 2) * FAR_STRIDE, 0x100, 16)
    }
    let linear = this.linear()
    // Most SSE instructions insist on alignment.
    if (row.operands.some((o) => o.memWidth === 'dq') && random.chance(75)) linear -= ((linear % 16) + 16) % 16
    return this.displacement(linear, seg)
  }

  // --- one instruction ----------------------------------------------------------------------------------------------

  private instruction(room: number, at: number): number[] {
    for (let tries = 0; tries < 12; tries++) {
      const row = this.nextRow()
      if (!rowFits(row, this.around.bits)) continue
      this.out = []
      this.encode(row, at)
      if (this.out.length <= room) return this.out
    }
    return [0x90]
  }

  private encode(row: Row, at: number): void {
    const { random, around } = this
    const { bits } = around
    const has386 = (around.model.features as ReadonlySet<string>).has('386')
    // Prefixes.
    const prefixes: number[] = []
    const free = row.prefix === 'any' || row.prefix === 'NFx'
    let operandOverride = free && has386 && random.chance(25)
    if (row.prefix === '66') operandOverride = true
    const addressOverride = has386 && random.chance(row.modrm || row.repeat !== '' ? 12 : 2)
    const segment = random.chance(12) ? random.below(has386 ? 6 : 4) : -1
    let rexW = bits === 64 && row.w !== 0 && (row.w === 1 || random.chance(35))
    const far = /^(retf|iret|sysret|sysexit)$/.test(row.mnemonic)
    if (far && bits === 64 && row.w !== 0) rexW = random.chance(80)
    if (/^(retf|iret|ret|popf|call|jmp|j)$/.test(row.mnemonic) && random.chance(85)) operandOverride = false
    if (rexW) operandOverride = operandOverride && row.prefix === '66'
    let rexBits = bits === 64 ? (random.chance(40) ? random.below(8) : 0) : 0
    if (row.b >= 0) rexBits = (rexBits & ~1) | row.b
    const opSize = bits === 64 ? (rexW ? 8 : operandOverride ? 2 : 4) : operandOverride === (bits === 16) ? 4 : 2
    const addressSize = bits === 64 ? (addressOverride ? 4 : 8) : addressOverride === (bits === 16) ? 4 : 2

    // ModRM.
    let mod = 3
    let reg = row.reg >= 0 ? row.reg : random.below(8)
    let rm = row.rm >= 0 ? row.rm : random.below(8)
    const memory = row.modrm && (row.mod === 'mem' || (row.mod === 'any' && random.chance(60)))
    if (row.modrm && row.reg < 0) {
      const method = row.operands.find((o) => 'GSCDTPV'.includes(o.method))?.method
      if (method === 'S') reg = random.pick(row.noCs ? [0, 3, 4, 5, 2, 0] : [0, 1, 2, 3, 4, 5])
      if (method === 'S' && !has386) reg &= 3
      if (method === 'C') {
        reg = random.pick([0, 2, 3, 4, 0, 3, 4, 2])
        rexBits &= ~4
        if (bits === 64 && random.chance(15)) {
          reg = 0
          rexBits |= 4
        }
      }
      if (method === 'D') rexBits &= ~4
    }
    if (!memory && row.mod === 'any' && rm === 4 && random.chance(80)) rm = random.below(4)

    // Set registers up, then the addressing form.
    let sib = -1
    let displacement = 0
    let displacementSize = 0
    let ripRelative = false
    if (memory) {
      const seg = segment >= 0 && (bits !== 64 || segment >= 4) ? segment : 3
      const offset = this.operandOffset(row, seg, opSize)
      const form = random.below(10)
      if (addressSize === 2) {
        if (form < 4) {
          mod = 0
          rm = 6
          displacement = offset
          displacementSize = 2
        } else {
          mod = random.pick([0, 1, 2])
          rm = random.below(8)
          if (mod === 0 && rm === 6) mod = 1
          displacement = mod === 0 ? 0 : mod === 1 ? random.below(256) - 128 : random.below(0x10000)
          displacementSize = mod
          const base = [3, 3, 5, 5, 6, 7, 5, 3][rm]!
          if (random.chance(65)) {
            if (rm < 4) this.load(rm & 1 ? 7 : 6, 3 + random.below(9))
            this.load(base, offset - displacement)
          }
        }
      } else {
        const register = random.pick([0, 1, 2, 3, 6, 7, 5])
        const high = offset < 0 || offset > 0x7fffffff
        if (form < 3 && !(high && bits === 64)) {
          mod = 0
          rm = 5
          displacement = offset
          displacementSize = 4
          ripRelative = bits === 64 && addressSize === 8
          if (bits === 64 && random.chance(40)) {
            ripRelative = false
            rm = 4
            sib = 0x25
            rexBits &= ~2
          }
        } else {
          mod = random.pick([0, 1, 2])
          rm = register
          if (mod === 0 && rm === 5) mod = 1
          displacement = mod === 0 ? 0 : mod === 1 ? random.below(256) - 128 : random.below(0x2000)
          displacementSize = mod === 2 ? 4 : mod
          let scaled = 0
          let baseReg = register + (rexBits & 1 ? 8 : 0)
          if (random.chance(35)) {
            const index = random.below(8)
            const scale = random.below(4)
            sib = (scale << 6) | (index << 3) | register
            rm = 4
            const indexReg = index + (rexBits & 2 ? 8 : 0)
            if (indexReg !== 4 && indexReg !== baseReg && random.chance(70)) {
              const value = random.below(16)
              scaled = value << scale
              this.load(indexReg, value, true)
            }
          }
          if (random.chance(60)) {
            if (bits === 64 && high) {
              // MOV r64, imm64.
              this.u8(0x48 | (baseReg >> 3), 0xb8 + (baseReg & 7))
              this.number(offset - displacement - scaled, 8)
            } else this.load(baseReg, offset - displacement - scaled, true)
          }
          baseReg = 0
        }
      }
    }
    const rmReg = rm + (rexBits & 1 ? 8 : 0)
    this.setUp(row, memory ? -1 : rmReg, opSize, addressSize)

    // LOCK and REP.
    if (row.lock ? memory && random.chance(25) : random.chance(1)) prefixes.push(0xf0)
    if (row.repeat !== '' && random.chance(60)) prefixes.push(row.repeat === 'repz' ? random.pick([0xf2, 0xf3]) : 0xf3)
    if (operandOverride) prefixes.push(0x66)
    if (addressOverride) prefixes.push(0x67)
    if (segment >= 0) prefixes.push([0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65][segment]!)
    // Any order.
    for (let n = prefixes.length - 1; n > 0; n--) {
      const k = random.below(n + 1)
      const t = prefixes[n]!
      prefixes[n] = prefixes[k]!
      prefixes[k] = t
    }
    if (row.prefix === 'F2') prefixes.push(0xf2)
    if (row.prefix === 'F3') prefixes.push(0xf3)
    this.u8(...prefixes)
    if (bits === 64 && (rexW || rexBits !== 0 || random.chance(10))) this.u8(0x40 | (rexW ? 8 : 0) | rexBits)
    if (row.map > 0) this.u8(0x0f)
    if (row.map > 1) this.u8(row.map === 2 ? 0x38 : 0x3a)
    const plus = row.plus === 'r' ? random.below(8) : row.plus === 'cc' ? random.below(16) : 0
    this.u8(row.opcode + (row.plus === 'r' && row.opcode === 0x90 && plus === 0 ? 1 : plus))
    let patch = -1
    if (row.modrm) {
      this.u8((mod << 6) | (reg << 3) | rm)
      if (sib >= 0) this.u8(sib)
      if (ripRelative) patch = this.out.length
      this.number(displacement, displacementSize)
    }

    // Immediates.
    for (const operand of row.operands) this.immediate(row, operand.method, operand.width, opSize, addressSize, at)
    if (patch >= 0) {
      const relative = displacement - (at + this.out.length)
      for (let n = 0; n < 4; n++) this.out[patch + n] = (relative >>> (n * 8)) & 0xff
    }
  }

  private immediate(row: Row, method: string, width: string, opSize: number, addressSize: number, at: number): void {
    const { random, around } = this
    const { bits } = around
    switch (method) {
      case 'I':
      case 'sI': {
        const size = width === 'b' ? 1 : width === 'w' ? 2 : width === 'v' ? opSize : Math.min(opSize, 4)
        if (row.mnemonic === 'enter')
          this.number(width === 'w' ? random.below(64) : random.chance(80) ? random.below(4) : random.next(), size)
        else if (row.mnemonic === 'int')
          this.number(random.pick([VECTOR_CALL, 0x81, 0x82, 0x83, 0x84, 3, 4, 0x20, 0x91, 0x92, 0xff]), size)
        else if (row.mnemonic === 'ret' || row.mnemonic === 'retf') this.number(random.below(5) * 4, size)
        else if (row.mnemonic === 'in' || row.mnemonic === 'out')
          this.number(random.pick([0x20, 0x21, 0x40, 0x43, 0x61, 0x80]), size)
        else {
          const value = random.pick([
            random.next(),
            random.below(256),
            0,
            1,
            -1,
            0x80000000,
            DATA + random.below(0x1000),
          ])
          this.number(value, Math.min(size, 4))
          if (size === 8) this.number(random.pick([0, 0xffffffff, random.next()]), 4)
        }
        return
      }
      case 'J': {
        const size = width === 'b' ? 1 : bits === 64 ? 4 : opSize === 2 ? 2 : 4
        const to = random.chance(90)
          ? size === 1
            ? this.ip + (this.slot + 1 + random.below(2)) * SLOT
            : this.target()
          : random.next()
        this.number(to - (at + this.out.length + size), size)
        return
      }
      case 'A': {
        const selector = random.chance(65) ? around.code : random.pick(selectorsFor(around))
        this.number(this.target(), opSize === 2 ? 2 : 4)
        this.number(selector, 2)
        return
      }
      case 'O': {
        const offset = this.displacement(this.linear(), 3)
        this.number(offset, addressSize)
        return
      }
    }
  }

  /** Instructions in front that give a row something sensible to work on. */
  private setUp(row: Row, rm: number, opSize: number, addressSize: number): void {
    const { random, around } = this
    const { bits } = around
    const user = around.user
    const stack = around.bases[2]! !== 0 ? 0xe000 : user ? STACK3 : STACK0
    if (random.chance(12)) return
    switch (row.mnemonic) {
      case 'in':
      case 'out':
      case 'ins':
      case 'outs':
        if (row.operands.some((o) => o.text === 'DX')) this.load(2, random.pick(PORTS))
        if (row.mnemonic === 'ins' || row.mnemonic === 'outs') this.strings(addressSize)
        if (row.mnemonic === 'out' && random.chance(50)) this.load(AL_AX, random.next())
        break
      case 'movs':
      case 'cmps':
      case 'stos':
      case 'lods':
      case 'scas':
        this.strings(addressSize)
        break
      case 'maskmovq':
      case 'maskmovdqu':
        this.load(7, this.displacement(DATA + random.below(0xd00) * 16, 3), addressSize !== 2)
        break
      case 'pcmpestri':
      case 'pcmpestrm':
        if (random.chance(50)) this.load(0, random.below(20), true)
        if (random.chance(50)) this.load(2, random.below(20), true)
        break
      case 'rdmsr':
      case 'wrmsr':
        this.load(1, random.pick(MSRS), true)
        if (row.mnemonic === 'wrmsr' && random.chance(80)) {
          this.load(2, 0, true)
          this.load(0, random.pick([around.efer, this.target(), 0, 8, STACK0, random.next()]), true)
        }
        break
      case 'rdpmc':
        this.load(1, random.below(3), true)
        break
      case 'cpuid':
        this.load(0, random.pick([0, 1, 2, 4, 7, 0xd, 0x80000000, 0x80000001, 0x80000002, 0x80000008]), true)
        break
      case 'div':
      case 'idiv':
        if (random.chance(60)) this.load(2, 0)
        if (random.chance(40)) this.load(0, random.below(256))
        if (rm >= 0 && rm !== 4 && random.chance(20)) this.load(rm, 0)
        break
      case 'loop':
      case 'loope':
      case 'loopne':
      case 'jcxz':
        this.load(1, random.below(3))
        break
      case 'mov':
        if (row.operands[0]?.method === 'C' && rm >= 0 && random.chance(85)) this.load(rm, this.controlValue(), true)
        if (row.operands[0]?.method === 'D' && rm >= 0)
          this.load(rm, random.pick([0x400, 0x400, 0x401, 0x30401, DATA + 0x100, random.next()]), true)
        if (row.operands[0]?.method === 'S' && rm >= 0) this.load(rm, random.pick(selectorsFor(around)))
        break
      case 'pop':
        if (row.operands[0]?.method === 'sreg' && random.chance(80) && bits !== 64)
          this.pushAs(random.pick(selectorsFor(around)), opSize)
        break
      case 'lldt':
        if (rm >= 0) this.load(rm, random.pick([0xa0, 0xa0, 0, random.pick(selectorsFor(around))]))
        break
      case 'ltr':
      case 'lar':
      case 'lsl':
      case 'verr':
      case 'verw':
      case 'arpl':
        if (rm >= 0) this.load(rm, random.pick(selectorsFor(around)))
        break
      case 'lmsw':
        if (rm >= 0) this.load(rm, random.pick([1, 0xf, 0x11, around.cr0 & 15]))
        break
      case 'ret':
        this.push(this.target())
        break
      case 'retf':
        this.push(random.chance(80) ? around.code : random.pick(selectorsFor(around)))
        this.push(this.target())
        break
      case 'iret': {
        if (bits === 64 || (random.chance(30) && around.bits !== 16)) {
          const down = !user && random.chance(40)
          this.push(down ? 0x23 : around.bits === 64 && !user ? random.pick([0, 0x38]) : user ? 0x23 : 0x10)
          this.push(stack)
          this.push(this.flagsValue())
          this.push(down ? (bits === 64 ? 0x2b : 0x1b) : around.code)
        } else {
          this.push(this.flagsValue())
          this.push(around.code)
        }
        this.push(this.target())
        break
      }
      case 'popf':
        this.push(this.flagsValue())
        break
      case 'leave':
        this.load(5, stack - 0x40 + random.below(16) * 4)
        break
      case 'call':
      case 'jmp':
        if (rm >= 0 && row.modrm) this.load(rm, this.target())
        break
      case 'xlat':
        this.load(3, this.displacement(DATA + random.below(0xd000), 3))
        break
      case 'sysexit':
        this.load(2, this.target(), true)
        this.load(1, stack, true)
        break
      case 'sysret':
        this.load(1, this.target(), true)
        break
      case 'wrfsbase':
      case 'wrgsbase':
        if (rm >= 0 && random.chance(80)) this.load(rm, random.pick([0, DATA, 0x100]))
        break
      case 'monitor':
      case 'mwait':
        this.load(1, 0, true)
        this.load(2, 0, true)
        this.load(0, DATA, true)
        break
      case 'sti':
      case 'hlt':
        break
      case 'bound':
        break
      case 'xsetbv':
        this.load(1, 0, true)
        break
      default:
        if (rm >= 0 && rm !== 4 && random.chance(12))
          this.load(rm, random.pick([0, 1, 0xffffffff, 0x80000000, random.next()]))
    }
  }

  private pushAs(value: number, opSize: number): void {
    if (this.around.bits !== 16 && opSize === 2) {
      this.u8(0x66, 0x68)
      this.number(value, 2)
    } else if (this.around.bits === 16 && opSize === 4) {
      this.u8(0x66, 0x68)
      this.number(value, 4)
    } else this.push(value)
  }

  private flagsValue(): number {
    const { random } = this
    let flags = random.next() & 0xcd5
    if (random.chance(80)) flags |= 0x200
    if (random.chance(12)) flags |= 0x100
    if (random.chance(5)) flags |= random.pick([0x4000, 0x10000, 0x20000, 0x200000, 0x180000])
    if (random.chance(10)) flags |= 0x40000
    if (this.around.mode === 'virtual-8086' || random.chance(30)) flags |= 0x3000
    return flags & (this.around.bits === 16 ? 0xffff : -1)
  }

  private controlValue(): number {
    const { random, around } = this
    return random.pick([
      around.cr0,
      around.cr0 ^ 0x10000,
      around.cr0 ^ 0x8,
      around.cr0 | 0x40000,
      around.cr3,
      around.cr3,
      around.cr3 + random.pick(CR3_VALUES),
      around.cr4,
      around.cr4 ^ 0x80,
      around.cr4 ^ 0x10,
      around.cr4 ^ 4,
      around.cr4 ^ 0x10000,
      around.cr4 ^ 0x200,
      around.cr4 ^ 0x400,
      around.cr0 ^ 0x20,
    ])
  }

  private strings(addressSize: number): void {
    const { random } = this
    const count = random.chance(85) ? random.below(24) : random.below(0x300)
    const wide = addressSize !== 2
    if (random.chance(85)) this.load(1, count, wide)
    if (random.chance(75))
      this.load(7, this.displacement(random.chance(85) ? DATA + random.below(0xd000) : this.linear(), 0), wide)
    if (random.chance(65) && this.out.length < 12)
      this.load(6, this.displacement(random.chance(85) ? DATA + random.below(0xd000) : this.linear(), 3), wide)
  }

  // --- pieces that belong together ----------------------------------------------------------------------------------

  private special(room: number, at: number): number[] {
    const { random, around } = this
    const { bits } = around
    this.out = []
    const kind = random.below(6)
    if (kind === 0 && !around.user && around.paging !== 'off' && bits !== 16) {
      // Edit a page table entry, then maybe drop it from the TLB.
      const page = 0x20 + random.below(16)
      const stride = around.paging === '32-bit' ? 4 : 8
      this.u8(0xc7)
      if (bits === 64) this.u8(0x04, 0x25)
      else this.u8(0x05)
      this.number(this.displacement(PAGE_TABLE + page * stride, 3), 4)
      this.number(
        (random.pick([page, page ^ 1, 0x10, 0xa0]) << 12) | random.pick([7, 7, 5, 3, 6, 0x67, 0x27, 0x107]),
        4,
      )
      if (random.chance(70)) {
        this.u8(0x0f, 0x01)
        if (bits === 64) this.u8(0x3c, 0x25)
        else this.u8(0x3d)
        this.number(this.displacement(page << 12, 3), 4)
      }
    } else if (kind === 1 && !around.user && around.mode !== 'real') {
      // MOV reg, CR3; MOV CR3, reg.
      this.u8(0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8)
    } else if (kind === 2 || kind === 3) {
      // Patch an instruction of this slot or the next ones.
      const to = at - this.ip + CODE + this.place + random.below(40)
      const value = random.pick([0x40, 0x48, 0x90, 0xf8, 0xf9, 0xcc, random.next() & 0xff])
      const byte = random.chance(50)
      if (bits === 16) {
        this.u8(byte ? 0xc6 : 0xc7, 0x06)
        this.number(this.displacement(to, 3), 2)
        if (byte) this.u8(value)
        else this.u8(value, random.next())
      } else {
        this.u8(byte ? 0xc6 : 0xc7)
        if (bits === 64) this.u8(0x04, 0x25)
        else this.u8(0x05)
        this.number(this.displacement(to, 3), 4)
        if (byte) this.u8(value)
        else this.u8(value, 0x90, random.next(), 0x90)
      }
    } else if (kind === 4) {
      // Bytes as they come.
      if (random.chance(30)) this.u8(0xd8 + random.below(8), 0xc0 + random.below(64))
      else for (let n = 1 + random.below(10); n > 0; n--) this.u8(random.next())
    } else {
      // A shadow before an instruction: STI, or MOV SS of what it holds.
      if (random.chance(50)) this.u8(0xfb)
      else this.u8(0x8c, 0xd0, 0x8e, 0xd0)
    }
    return this.out.length <= room ? this.out : [0x90]
  }
}
