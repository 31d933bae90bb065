/**
 * Makes the cases: case `n` of a form is a function of the form's key and `n` alone. Registers, flags and memory are random with a bias; addresses
 * are steered so that accesses meet the mapped pages, their edges, the read-only page and, in 64-bit code, addresses that are not canonical.
 * The generator writes machine code by itself: it does not ask the library's assembler or decoder.
 */
import { OPTION_BREAKPOINT, OPTION_NO_TRAP, OPTION_REPEAT, OracleCase } from './case.js'
import type { Form } from './forms.js'
import {
  CODE_16,
  CODE_32,
  CODE_64,
  dataOffset,
  LDT_ABSENT,
  LDT_CODE,
  LDT_CODE16,
  LDT_DATA16,
  LDT_DOWN,
  LDT_DOWN16,
  LDT_EXECUTE,
  LDT_OFFSET,
  LDT_READ_ONLY,
  LDT_SMALL,
  PAGE,
  REGION_16,
  REGION_32,
  REGION_64,
  USER_CS,
  USER_DS,
  USER32_CS,
} from './layout.js'
import { hash, Random } from './random.js'

const RAX = 0
const RCX = 1
const RDX = 2
const RBX = 3
const RSP = 4
const RBP = 5
const RSI = 6
const RDI = 7

/** Segment bases as the instruction will see them; the first half of the code page is where instructions stand. */
const CODE_OFFSET = 0x800

/** Selectors worth loading: null, Linux' GDT, every LDT entry, beyond the limits, with all privileges. The TSS and per-CPU entries are left out. */
const SELECTORS: readonly number[] = [
  0,
  1,
  2,
  3,
  0x08,
  0x0b,
  0x10,
  0x13,
  0x18,
  0x1b,
  0x20,
  USER32_CS,
  0x28,
  0x29,
  0x2a,
  USER_DS,
  USER_DS,
  USER_DS,
  0x30,
  USER_CS,
  0x50,
  0x68,
  0x73,
  0x83,
  0xfff8,
  0x04,
  LDT_OFFSET,
  LDT_READ_ONLY,
  LDT_DOWN,
  LDT_SMALL,
  LDT_CODE,
  LDT_EXECUTE,
  LDT_ABSENT,
  LDT_CODE16,
  LDT_DATA16,
  LDT_DOWN16,
  0x44,
  0x57,
  0x107,
]

const STRINGS = new Set(['movs', 'cmps', 'stos', 'lods', 'scas', 'ins', 'outs'])
const BIT_TESTS = new Set(['bt', 'bts', 'btr', 'btc'])
const FAR_LOADS = new Set(['les', 'lds', 'lss', 'lfs', 'lgs'])
const OVERRIDES: readonly number[] = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65]

/** Where a memory operand's linear address lies, and whether it is worth writing something there. */
export interface Target {
  linear: bigint
  /** Offset in the region; meaningless when wild. */
  offset: number
  wild: boolean
}

export class Generator {
  readonly c: OracleCase = new OracleCase()
  protected readonly form: Form
  protected readonly r: Random
  protected readonly n: number
  /** Effective address size in bytes. */
  protected readonly addressSize: 2 | 4 | 8
  protected readonly region: number
  protected readonly stackRegion: number
  protected readonly codeBase: number
  protected prefixes: number[] = []
  protected rex = 0
  protected needRex = false
  /** Registers that must keep their value. */
  protected readonly pinned = new Set<number>()
  /** Segment whose base addresses of memory operands are relative to, from an override or the mode. */
  protected base = 0n
  protected stackBase = 0n
  /** Base of the stack segment's default for BP addressing in 16-bit code equals the data segment's. */
  protected stackPointerMask = 0xffff_ffff_ffff_ffffn

  constructor(form: Form, n: number) {
    this.form = form
    this.n = n
    const r = (this.r = new Random(hash(`${form.key}#${form.bits}`) + Math.imul(n, 0x85ebca6b)))
    for (let i = 0; i < 3; i++) r.next()
    const natural = form.bits === 64 ? 8 : form.bits === 32 ? 4 : 2
    const usual = form.memory ? 15 : this.isString ? 30 : /^(loop|jcxz|xlat)/.test(form.row.mnemonic) ? 30 : 3
    const other = r.chance(usual)
    this.addressSize = (other ? (natural === 4 ? 2 : 4) : natural) as 2 | 4 | 8
    const high = form.bits === 64 && !other && r.chance(50)
    this.region = this.addressSize === 2 ? REGION_16 : high ? REGION_64 : REGION_32
    this.stackRegion = high ? REGION_64 : REGION_32
    this.codeBase = form.bits === 16 ? CODE_16 : high ? CODE_64 : CODE_32
    if (other) this.prefixes.push(0x67)
  }

  protected get isString(): boolean {
    return STRINGS.has(this.form.row.mnemonic)
  }

  generate(): OracleCase {
    const { c, r, form } = this
    const { row, bits } = form
    for (let i = 0; i < 16; i++) c.reg[i] = bits !== 64 ? (i < 8 ? r.value() & 0xffff_ffffn : 0n) : r.value()
    this.segments()
    this.flags()
    this.sizePrefix()
    this.mandatoryPrefix()
    this.stack()
    this.implicit()
    this.encode()
    if (bits !== 64) for (let i = 0; i < 8; i++) c.reg[i] = c.reg[i]! & 0xffff_ffffn
    if (this.withoutTrap) c.options |= OPTION_NO_TRAP
    if (row.mnemonic === 'int3' || row.mnemonic === 'int') c.options |= OPTION_BREAKPOINT
    if (this.isString && form.repeat !== 0) c.options |= OPTION_REPEAT
    return c
  }

  /** TF would be suppressed (after a load of SS), or seen (by PUSHF). */
  protected get withoutTrap(): boolean {
    const { row } = this.form
    if (row.mnemonic === 'lss' || row.mnemonic === 'pushf' || row.mnemonic === 'int3') return true
    if (row.mnemonic === 'pop' && row.opcode === 0x17) return true
    return row.mnemonic === 'mov' && row.opcode === 0x8e
  }

  // --- state ------------------------------------------------------------------------------------------------------

  protected segments(): void {
    const { c, r, form } = this
    const sel = c.selectors
    if (form.bits === 64) {
      sel.set([0, USER_CS, USER_DS, 0, 0, 0])
      c.fsBase = r.chance(50) ? 0n : BigInt(r.below(0x7000_0000))
      c.gsBase = r.chance(50) ? 0n : BigInt.asUintN(64, -BigInt(r.below(0x7000_0000)))
      // Canonical, as WRGSBASE wants it.
      return
    }
    sel.fill(USER_DS)
    sel[1] = form.bits === 32 ? USER32_CS : LDT_CODE16
    if (form.bits === 16) {
      // A segment that turns 16-bit offsets into the usual addresses, or flat ones and the pages' view below 64 KiB.
      if (this.addressSize === 2 && r.chance(50)) {
        sel[0] = sel[3] = LDT_DATA16
        this.base = BigInt(REGION_32 - REGION_16)
      }
      if (r.chance(60)) {
        sel[2] = LDT_DATA16
        this.stackBase = BigInt(REGION_32 - REGION_16)
        this.stackPointerMask = 0xffffn
      }
    }
  }

  protected flags(): void {
    const { c, r, form } = this
    c.flags = 0x202 | (r.next() & 0x8d5)
    if (r.chance(this.isString ? 35 : 10)) c.flags |= 0x400
    if (form.memory && r.chance(5)) c.flags |= 0x40000
  }

  protected sizePrefix(): void {
    const { form, r } = this
    const { row, bits, opSize } = form
    if (bits === 64) {
      if (row.force64) return
      const normal = row.default64 ? 8 : 4
      if (opSize === 2) this.prefixes.push(0x66)
      if (opSize === 8 && normal !== 8) {
        this.rex |= 8
        this.needRex = true
        // REX.W wins over 66.
        if (row.prefix === 'any' && r.chance(5)) this.prefixes.push(0x66)
      }
      if (row.w === 1) {
        this.rex |= 8
        this.needRex = true
      }
      return
    }
    if ((opSize === 2) !== (bits === 16)) this.prefixes.push(0x66)
  }

  protected mandatoryPrefix(): void {
    const { row, lock, repeat } = this.form
    if (row.prefix === '66') this.prefixes.push(0x66)
    if (row.prefix === 'F2') this.prefixes.push(0xf2)
    if (row.prefix === 'F3') this.prefixes.push(0xf3)
    if (lock) this.prefixes.push(0xf0)
    if (repeat !== 0) this.prefixes.push(repeat)
  }

  /** rSP points into the data pages. */
  protected stack(): void {
    const { c, r, form } = this
    const region = this.stackPointerMask === 0xffffn ? REGION_16 : this.stackRegion
    const { linear } = this.target(r.chance(90) ? form.opSize : 16, region, form.row.mnemonic !== 'iret')
    let value = linear
    if (this.stackPointerMask === 0xffffn) value = (linear & 0xffffn) | (r.big() & 0xffff_0000n)
    c.reg[RSP] = value
    this.pinned.add(RSP)
  }

  /** Picks an address for an access of `size` bytes. */
  protected target(size: number, region: number, mayMiss: boolean): Target {
    const { r, form } = this
    const within = 2 * PAGE - size
    const kind = mayMiss ? r.below(100) : r.below(80)
    let offset: number
    if (kind < 62) offset = PAGE + Math.floor(r.below(within + 1) / size) * size
    else if (kind < 80) offset = PAGE + r.below(within + 1)
    else if (kind < 85) offset = 2 * PAGE - 1 - r.below(Math.max(1, size - 1))
    else if (kind < 88) offset = 3 * PAGE - 1 - r.below(Math.max(1, size - 1))
    else if (kind < 90) offset = PAGE - 1 - r.below(Math.max(1, size - 1))
    else if (kind < 93) offset = r.pick([0, 3 * PAGE, 5 * PAGE]) + r.below(PAGE)
    else if (kind < 97) offset = 4 * PAGE + r.below(PAGE - size)
    else if (kind < 98) offset = 4 * PAGE - 1 - r.below(Math.max(1, size - 1))
    else if (kind < 99 || form.bits !== 64 || region !== REGION_64) offset = PAGE + r.below(within + 1)
    else {
      // Away from the last canonical pages: Linux changes the error code of faults there.
      const edge = 0x8000_0010_0000n
      const wild = r.chance(50) ? edge : r.big() | edge
      return { linear: wild >> 47n === 0x1ffffn ? edge : wild, offset: 0, wild: true }
    }
    return { linear: BigInt(region + offset), offset, wild: false }
  }

  /** Puts bytes at a target, where there is memory to hold them. */
  protected poke(target: Target, bytes: Uint8Array): void {
    if (target.wild || this.c.pokes.length === 4) return
    let start = 0
    while (start < bytes.length && dataOffset(target.offset + start) < 0) start++
    let end = start
    while (end < bytes.length && dataOffset(target.offset + end) === dataOffset(target.offset + start) + end - start)
      end++
    if (end === start) return
    this.c.pokes.push({ offset: dataOffset(target.offset + start), bytes: bytes.slice(start, end) })
  }

  protected pokeNumbers(target: Target, ...values: readonly (readonly [value: bigint, size: number])[]): void {
    const bytes: number[] = []
    for (const [value, size] of values) {
      for (let i = 0; i < size; i++) bytes.push(Number((value >> BigInt(i * 8)) & 0xffn))
    }
    this.poke(target, Uint8Array.from(bytes.slice(0, 32)))
  }

  protected at(linear: bigint, region: number): Target {
    const offset = Number(linear - BigInt(region))
    return { linear, offset, wild: offset < 0 || offset >= 6 * PAGE }
  }

  /** The stack as a target, `distance` bytes above rSP. */
  protected stackTarget(distance = 0): Target {
    const region = this.stackPointerMask === 0xffffn ? REGION_16 : this.stackRegion
    return this.at((this.c.reg[RSP]! & this.stackPointerMask) + BigInt(distance), region)
  }

  protected garbage(value: bigint, size: number): bigint {
    if (size === 8) return value
    const mask = (1n << BigInt(size * 8)) - 1n
    return (value & mask) | (this.r.big() & ~mask & 0xffff_ffff_ffff_ffffn)
  }

  protected codeTarget(): bigint {
    const { r, form } = this
    if (r.chance(15)) return r.value() & (form.bits === 64 ? 0xffff_ffff_ffff_ffffn : 0xffff_ffffn)
    return BigInt(this.codeBase + r.below(PAGE))
  }

  protected farSelector(): number {
    const { r, form } = this
    const own = form.bits === 64 ? [USER_CS, USER_CS, USER32_CS] : form.bits === 32 ? [USER32_CS] : [LDT_CODE16]
    const selector = r.chance(60) ? r.pick(own) : r.pick([USER32_CS, USER_CS, LDT_CODE, LDT_EXECUTE, ...SELECTORS])
    // A 16-bit stack and 64-bit code at once: Linux cannot return a signal from there.
    return form.bits === 16 && (selector & ~3) === (USER_CS & ~3) ? USER32_CS : selector
  }

  /** Registers and memory that an instruction uses without naming them. */
  protected implicit(): void {
    const { c, r, form } = this
    const { row, opSize, bits } = form
    const { mnemonic } = row
    if (this.isString) this.strings()
    switch (mnemonic) {
      case 'xlat': {
        const { linear } = this.target(1, this.region, true)
        c.reg[RBX] = this.garbage(BigInt.asUintN(64, linear - this.base - (c.reg[RAX]! & 0xffn)), this.addressSize)
        break
      }
      case 'enter':
      case 'leave': {
        const wide = this.stackPointerMask === 0xffffn
        const { linear } = this.target(opSize, wide ? REGION_16 : this.stackRegion, r.chance(20))
        c.reg[RBP] = wide ? (linear & 0xffffn) | (r.big() & 0xffff_0000n) : linear
        break
      }
      case 'ret':
        this.pokeNumbers(this.stackTarget(), [this.codeTarget(), opSize])
        break
      case 'retf': {
        this.pokeNumbers(
          this.stackTarget(),
          [this.codeTarget(), opSize],
          [BigInt(this.farSelector()) | (r.big() << 16n), opSize],
        )
        break
      }
      case 'iret': {
        const values: (readonly [bigint, number])[] = [
          [this.codeTarget(), opSize],
          [BigInt(this.farSelector()) | (r.big() << 16n), opSize],
          [r.big() & ~0x100n, opSize],
        ]
        if (bits === 64) {
          values.push([BigInt(this.stackRegion + PAGE + r.below(PAGE)), opSize])
          values.push([BigInt(r.chance(70) ? USER_DS : r.pick(SELECTORS)), opSize])
        }
        const flat = values.flatMap(([value, size]) => bytesOf(value, size))
        this.poke(this.stackTarget(), Uint8Array.from(flat.slice(0, 32)))
        this.poke(this.stackTarget(32), Uint8Array.from(flat.slice(32)))
        break
      }
      case 'popf':
        this.pokeNumbers(this.stackTarget(), [r.big() & ~0x100n, opSize])
        break
      case 'pop':
        if (row.operands[0]!.method === 'sreg') {
          this.pokeNumbers(this.stackTarget(), [BigInt(r.pick(SELECTORS)) | (r.big() << 16n), opSize])
        } else this.pokeNumbers(this.stackTarget(), [r.value(), opSize])
        break
      case 'popa':
        for (let i = 0; i < 2; i++) this.pokeNumbers(this.stackTarget(i * 16), [r.value(), 8], [r.value(), 8])
        break
      case 'loop':
      case 'loope':
      case 'loopne':
      case 'jcxz':
        if (r.chance(70)) c.reg[RCX] = this.garbage(BigInt(r.below(3)), this.addressSize)
        break
      case 'daa':
      case 'das':
      case 'aaa':
      case 'aas':
        // Every value of AL and of CF, AF within a few runs of cases.
        if (r.chance(50)) c.reg[RAX] = (c.reg[RAX]! & ~0xffn) | BigInt(this.n % 256)
        break
      case 'cmpxchg8b':
      case 'cmpxchg16b':
        break
      default:
    }
    if (row.operands.some((o) => o.text === 'CL')) c.reg[RCX] = (c.reg[RCX]! & ~0xffn) | BigInt(this.shiftCount())
  }

  protected shiftCount(): number {
    const { r } = this
    return r.chance(80) ? r.below(71) : r.below(256)
  }

  protected strings(): void {
    const { c, r, form } = this
    const { row, repeat } = form
    const size = row.operands.some((o) => o.width === 'b') ? 1 : form.opSize
    const count = repeat === 0 ? 1 : r.chance(8) ? 0 : 1 + r.below(r.chance(80) ? 6 : 20)
    const down = (c.flags & 0x400) !== 0
    // Equal and unequal elements for the comparisons.
    const element = bytesOf(r.value(), size)
    const pattern = Uint8Array.from({ length: 32 }, (_, i) => element[i % size]!)
    const place = (register: number, base: bigint): void => {
      const target = this.target(size, this.region, true)
      c.reg[register] = this.garbage(BigInt.asUintN(64, target.linear - base), this.addressSize)
      if (r.chance(70)) {
        const bytes = pattern.slice()
        if (r.chance(60)) bytes[r.below(32)]! ^= 1 << r.below(8)
        const start = down ? target.offset - 32 + size : target.offset
        this.poke({ ...target, offset: Math.max(0, start) }, bytes)
      }
    }
    let sourceBase = this.base
    if (r.chance(15) && /^(movs|cmps|lods|outs)$/.test(row.mnemonic)) sourceBase = this.override()
    place(RSI, sourceBase)
    place(RDI, form.bits === 64 ? 0n : this.base)
    c.reg[RCX] = repeat === 0 ? c.reg[RCX]! : this.garbage(BigInt(count), this.addressSize)
    if (r.chance(70)) c.reg[RAX] = this.garbage(littleEndian(element), size)
  }

  /** Adds a segment override; returns the base that the overridden segment has. */
  protected override(): bigint {
    const { c, r, form } = this
    if (form.bits === 64) {
      const prefix = r.pick(OVERRIDES)
      this.prefixes.push(prefix)
      return prefix === 0x64 ? c.fsBase : prefix === 0x65 ? c.gsBase : 0n
    }
    if (r.chance(25)) {
      const prefix = r.pick(OVERRIDES)
      this.prefixes.push(prefix)
      if (form.bits === 32) return 0n
      // In 16-bit code the flat segments show the pages below 64 KiB; CS and SS may have their own base.
      if (prefix === 0x2e) return BigInt(CODE_32 - CODE_16)
      return prefix === 0x36 ? this.stackBase : prefix === 0x26 || prefix === 0x3e ? this.base : 0n
    }
    const gs = r.chance(50)
    this.prefixes.push(gs ? 0x65 : 0x64)
    const selector = r.pick([
      LDT_OFFSET,
      LDT_OFFSET,
      LDT_READ_ONLY,
      LDT_DOWN,
      LDT_DOWN,
      LDT_SMALL,
      LDT_SMALL,
      LDT_SMALL,
      LDT_CODE,
      LDT_DATA16,
      LDT_DOWN16,
      0,
    ])
    c.selectors[gs ? 5 : 4] = selector
    switch (selector) {
      case LDT_OFFSET:
        return 0x12340n
      case LDT_SMALL:
        return BigInt(REGION_32 + PAGE + 64)
      case LDT_DATA16:
      case LDT_DOWN16:
        return BigInt(REGION_32 - REGION_16)
      default:
        return 0n
    }
  }

  // --- machine code -------------------------------------------------------------------------------------------------

  protected encode(): void {
    const { c, r, form, n } = this
    const { row, bits, opSize } = form
    const { mnemonic } = row
    let opcode = row.opcode
    if (row.plus === 'cc') opcode += n % 16
    if (row.plus === 'r') {
      let register = r.below(8)
      if (row.opcode === 0x90 && mnemonic === 'xchg' && register === 0 && !row.only64) register = 1 + r.below(7)
      opcode += register
      if (bits === 64 && (row.b === 1 || r.chance(50))) this.setRex(1)
      c.opcodeOperand = register | (this.rex & 1 ? 8 : 0)
    } else if (row.b === 1) this.setRex(1)
    let modrm: number[] = []
    if (row.modrm) modrm = this.modrm()
    else if (form.memory) modrm = this.moffs()
    const immediate = this.immediates(opSize)
    // Prefixes in any order: all that matter are different groups, and of one group the last one counts.
    if (bits === 64 && !this.needRex && row.b < 0 && row.w < 0 && r.chance(15)) this.needRex = true
    if (form.special === '' && r.chance(4)) this.redundantPrefix()
    for (let i = this.prefixes.length - 1; i > 0; i--) {
      const j = r.below(i + 1)
      const swap = this.prefixes[i]!
      this.prefixes[i] = this.prefixes[j]!
      this.prefixes[j] = swap
    }
    const escapes = row.map === 0 ? [] : row.map === 1 ? [0x0f] : row.map === 2 ? [0x0f, 0x38] : [0x0f, 0x3a]
    const tail = [...(this.needRex ? [0x40 | this.rex] : []), ...escapes, opcode, ...modrm, ...immediate]
    if (form.special === 'long') {
      const filler = bits === 64 ? 0x2e : 0x3e
      const wanted = 14 + (n % 3)
      while (this.prefixes.length + tail.length < wanted) this.prefixes.unshift(filler)
    }
    c.code = [...this.prefixes, ...tail]
    if (c.code.length > 16) c.code.length = 16
    c.codeOffset = CODE_OFFSET
    if (form.special === 'edge') c.codeOffset = PAGE - c.code.length + (n % 4 === 0 ? 0 : r.below(c.code.length))
    // Without the trap flag, the instruction after it ends the case: there must be one.
    if (this.withoutTrap && c.codeOffset + c.code.length === PAGE) c.codeOffset -= c.code.length > 1 ? -1 : 1
    c.rip = BigInt(this.codeBase + c.codeOffset)
    this.fixRelative()
  }

  protected setRex(bit: number): void {
    this.rex |= bit
    this.needRex = true
  }

  protected redundantPrefix(): void {
    const { form, r } = this
    const last = this.prefixes.at(-1)
    if (last !== undefined && last !== 0x2e && r.chance(50)) this.prefixes.push(last)
    else if (!form.memory && !this.isString) this.prefixes.push(r.pick(form.bits === 64 ? OVERRIDES : [0x26, 0x3e]))
  }

  /** ModRM.reg names one of sixteen registers. */
  protected get wideReg(): boolean {
    return this.form.row.operands.find((o) => ['G', 'S', 'C', 'D', 'T'].includes(o.method))?.method === 'G'
  }

  /** ModRM of 0F 20–23 and register forms; memory forms are steered to a target. */
  protected modrm(): number[] {
    const { c, r, form } = this
    const { row, bits } = form
    const wide = bits === 64
    let reg = row.reg >= 0 ? row.reg : r.below(8)
    const regOperand = row.operands.find((o) => ['G', 'S', 'C', 'D', 'T'].includes(o.method))
    if (regOperand?.method === 'S' && r.chance(85)) reg = reg % 6
    if (regOperand?.method === 'C') reg = r.pick([0, 2, 3, 4, 4, reg])
    if (wide && row.reg < 0 && r.chance(this.wideReg ? 50 : 5)) this.setRex(4)
    const fullReg = reg | (this.rex & 4 ? 8 : 0)
    if (BIT_TESTS.has(row.mnemonic) && regOperand !== undefined && form.memory && regOperand.method === 'G') {
      // The offset of a bit string reaches beyond the operand: keep it inside the region.
      const bit = BigInt(r.below(2 * PAGE * 8) - PAGE * 8)
      c.reg[fullReg] = this.garbage(BigInt.asUintN(64, bit), Math.min(8, form.opSize))
      if (fullReg === RSP) {
        // Never the stack pointer: it is far away from a small number.
        return this.modrmWithReg(reg === 4 ? 3 : reg, true)
      }
      this.pinned.add(fullReg)
    }
    if (!form.memory) {
      const rm = row.rm >= 0 ? row.rm : r.below(8)
      if (wide && row.rm < 0 && r.chance(50)) this.setRex(1)
      this.operandValues(undefined, rm | (this.rex & 1 ? 8 : 0))
      c.regOperand = fullReg
      c.rmOperand = rm | (this.rex & 1 ? 8 : 0)
      const mod = row.mod === 'ignored' ? r.below(4) : 3
      return [(mod << 6) | (reg << 3) | rm]
    }
    c.regOperand = fullReg
    return this.memoryOperand(reg)
  }

  protected modrmWithReg(reg: number, bitString: boolean): number[] {
    const full = reg | (this.rex & 4 ? 8 : 0)
    if (bitString) {
      const bit = BigInt(this.r.below(2 * PAGE * 8) - PAGE * 8)
      this.c.reg[full] = this.garbage(BigInt.asUintN(64, bit), Math.min(8, this.form.opSize))
      this.pinned.add(full)
      // RSP got a small number above: point it back into the pages.
      this.stack()
    }
    return this.memoryOperand(reg)
  }

  /** Bytes that the memory operand has. */
  protected operandSize(): number {
    const { row, opSize } = this.form
    for (const o of row.operands) {
      if (!['E', 'M', 'O'].includes(o.method)) continue
      switch (o.memWidth) {
        case 'b':
          return 1
        case 'w':
          return 2
        case 'd':
          return 4
        case 'q':
          return 8
        case 'dq':
          return 16
        case 'z':
          return opSize === 2 ? 2 : 4
        case 'y':
          return opSize === 8 ? 8 : 4
        case 'm':
          return this.form.bits === 64 ? 8 : 4
        case 'p':
          return opSize + 2
        case 'a':
          return opSize * 2
        default:
          return opSize
      }
    }
    return opSize
  }

  /** Values for the operands where random ones would mostly miss the point: divisors, far pointers, bounds, comparands. */
  protected operandValues(target: Target | undefined, rm: number): void {
    const { c, r, form } = this
    const { row, opSize } = form
    const { mnemonic } = row
    const size = this.operandSize()
    const put = (value: bigint): void => {
      if (target !== undefined) this.pokeNumbers(target, [value, size])
      else if (rm !== RSP || !this.pinned.has(RSP))
        c.reg[rm] = size >= 4 && size < 8 ? this.garbage(value, 4) : this.garbage(value, size)
    }
    switch (mnemonic) {
      case 'div':
      case 'idiv': {
        if (r.chance(20)) break
        const width = size * 8
        const bits = 2 + r.below(width - 1)
        let divisor = (r.big() | (1n << 63n)) >> BigInt(64 - bits)
        let high = r.big() >> BigInt(64 - bits + (mnemonic === 'div' ? 1 : 2))
        if (mnemonic === 'idiv' && r.chance(50)) high = ~high
        if (mnemonic === 'idiv' && r.chance(50)) divisor = -divisor
        if (size === 1) c.reg[RAX] = (c.reg[RAX]! & ~0xff00n) | ((high & 0xffn) << 8n)
        else if (r.chance(25))
          c.reg[RDX] = this.garbage(
            (c.reg[RAX]! >> BigInt(width - 1)) & 1n && mnemonic === 'idiv' ? -1n & ((1n << BigInt(width)) - 1n) : 0n,
            size,
          )
        else c.reg[RDX] = this.garbage(BigInt.asUintN(64, high), size)
        put(BigInt.asUintN(64, divisor))
        return
      }
      case 'cmpxchg':
        if (r.chance(50)) put(c.reg[RAX]!)
        else if (target !== undefined) put(r.value())
        return
      case 'cmpxchg8b':
      case 'cmpxchg16b': {
        if (target === undefined) return
        const half = size / 2
        if (r.chance(60)) this.pokeNumbers(target, [c.reg[RAX]!, half], [c.reg[RDX]!, half])
        else this.pokeNumbers(target, [r.value(), half], [r.value(), half])
        return
      }
      case 'bound': {
        if (target === undefined) return
        const index = BigInt.asIntN(opSize * 8, r.value())
        const low = r.chance(50) ? index - BigInt(r.below(4) - 1) : BigInt.asIntN(opSize * 8, r.value())
        const high = r.chance(50) ? index + BigInt(r.below(4) - 1) : BigInt.asIntN(opSize * 8, r.value())
        this.boundIndex = BigInt.asUintN(opSize * 8, index)
        this.pokeNumbers(target, [BigInt.asUintN(64, low), opSize], [BigInt.asUintN(64, high), opSize])
        return
      }
      case 'callf':
      case 'jmpf':
        if (target !== undefined) this.pokeNumbers(target, [this.codeTarget(), opSize], [BigInt(this.farSelector()), 2])
        return
      case 'call':
      case 'jmp':
        put(this.codeTarget())
        return
      case 'mov':
        if (row.opcode === 0x8e) {
          put(BigInt(r.pick(SELECTORS)) | (r.big() & ~0xffffn))
          return
        }
        break
      case 'lar':
      case 'lsl':
      case 'verr':
      case 'verw':
      case 'arpl':
        put(BigInt(r.chance(85) ? r.pick(SELECTORS) : this.safeSelector()) | (r.big() & ~0xffffn))
        return
      default:
    }
    if (FAR_LOADS.has(mnemonic) && target !== undefined) {
      this.pokeNumbers(target, [r.value(), opSize], [BigInt(r.pick(SELECTORS)), 2])
      return
    }
    if (target !== undefined) this.pokeNumbers(target, [r.value(), 8], [r.value(), 8])
  }

  /** A random selector that names neither the TSS nor Linux' per-CPU or thread-local entries. */
  protected safeSelector(): number {
    const selector = this.r.below(65536)
    return (selector & 4) === 0 && selector >> 3 < 16 && selector >> 3 > 6 ? selector | 0x8000 : selector
  }

  /** With BOUND, what the index register has to hold. */
  protected boundIndex: bigint | undefined = undefined

  protected memoryOperand(reg: number): number[] {
    const { c, r, form } = this
    const { row } = form
    const { mnemonic } = row
    const plain = mnemonic === 'lea'
    let base = this.base
    const usesStack = (first: number): boolean => first === RSP || first === RBP
    let overridden = false
    if (!plain && r.chance(12)) {
      base = this.override()
      overridden = true
    }
    // A target's linear address; in 16-bit code the stack segment may have another base than the data segment.
    const target = this.target(this.operandSize(), this.regionFor(base), true)
    const linear = target.linear
    this.operandValues(plain ? undefined : target, -1)
    if (this.boundIndex !== undefined) {
      const full = reg | (this.rex & 4 ? 8 : 0)
      if (full !== RSP) {
        c.reg[full] = this.garbage(this.boundIndex, form.opSize)
        this.pinned.add(full)
      }
    }
    if (mnemonic === 'cmpxchg8b' || mnemonic === 'cmpxchg16b' || mnemonic === 'div' || mnemonic === 'idiv') {
      // What decides the outcome stays as it is.
      this.pinned.add(RAX).add(RDX)
    }
    if (mnemonic === 'cmpxchg') this.pinned.add(RAX)
    if (this.addressSize === 2) return this.memory16(reg, linear, base, overridden)
    const bits = BigInt(this.addressSize * 8)
    const mask = (1n << bits) - 1n
    for (;;) {
      const kind = r.below(20)
      const offsetFor = (first: number): bigint =>
        (linear - (!overridden && form.bits !== 64 && usesStack(first) ? this.stackBase : base)) & mask
      if (kind === 0) {
        // Displacement alone; in 64-bit code through a SIB byte.
        const offset = offsetFor(-1)
        const disp = BigInt.asIntN(32, offset)
        if ((disp & mask) !== offset) continue
        if (form.bits === 64) return [(reg << 3) | 4, (r.below(4) << 6) | 0x25, ...bytesOf(disp, 4)]
        return [(reg << 3) | 5, ...bytesOf(disp, 4)]
      }
      if (kind === 1) {
        if (form.bits !== 64 || overridden) continue
        this.relative = offsetFor(-1)
        return [(reg << 3) | 5, 0, 0, 0, 0]
      }
      const extended = form.bits === 64
      if (kind < 12) {
        const rm = r.below(8)
        const full = rm | (extended && r.chance(50) ? 8 : 0)
        if (rm === 4) continue
        const offset = offsetFor(full)
        const [mod, disp] = this.displacement(rm === 5)
        if (!this.setAddress(full, (offset - disp) & mask)) continue
        if (full > 7) this.setRex(1)
        return [(mod << 6) | (reg << 3) | rm, ...dispBytes(mod, disp)]
      }
      const scale = r.below(4)
      const indexFull = r.below(extended ? 16 : 8)
      const baseFull = r.below(extended ? 16 : 8)
      const finish = (mod: number, baseBits: number, disp: bigint, bytes: number): number[] => {
        if (indexFull > 7) this.setRex(2)
        if (baseBits > 7) this.setRex(1)
        const sib = (scale << 6) | ((indexFull & 7) << 3) | (baseBits & 7)
        return [(mod << 6) | (reg << 3) | 4, sib, ...bytesOf(disp, bytes)]
      }
      if (kind === 12 && indexFull !== 4) {
        // Index and displacement without a base.
        if (this.pinned.has(indexFull)) continue
        const offset = offsetFor(-1)
        let disp = BigInt(r.next() | 0)
        const factor = 1n << BigInt(scale)
        const rest = ((offset - disp) & mask) % factor
        disp += rest
        if (BigInt.asIntN(32, disp) !== disp) continue
        c.reg[indexFull] = this.garbage(((offset - disp) & mask) / factor, this.addressSize)
        return finish(0, 5, disp, 4)
      }
      const offset = offsetFor(baseFull)
      if (indexFull === 4) {
        // No index: the scale is ignored.
        const [mod, disp] = this.displacement((baseFull & 7) === 5)
        if (baseFull === RSP) {
          const far = BigInt.asIntN(Number(bits), (offset - (c.reg[RSP]! & mask)) & mask)
          if (this.addressSize !== 8 && form.bits === 64) continue
          if (BigInt.asIntN(32, far) !== far) continue
          return finish(2, RSP, far, 4)
        }
        if (!this.setAddress(baseFull, (offset - disp) & mask)) continue
        return finish(mod, baseFull, disp, mod === 0 ? 0 : mod === 1 ? 1 : 4)
      }
      if (indexFull === baseFull) {
        if (this.pinned.has(baseFull)) continue
        const times = (1n << BigInt(scale)) + 1n
        c.reg[baseFull] = this.garbage(offset / times, this.addressSize)
        return finish(2, baseFull, offset % times, 4)
      }
      if (this.pinned.has(baseFull)) continue
      const [mod, disp] = this.displacement((baseFull & 7) === 5)
      const index = (c.reg[indexFull]! & mask) << BigInt(scale)
      c.reg[baseFull] = this.garbage((offset - disp - index) & mask, this.addressSize)
      return finish(mod, baseFull, disp, mod === 0 ? 0 : mod === 1 ? 1 : 4)
    }
  }

  protected regionFor(base: bigint): number {
    // Through a base of its own, a 16-bit offset means the pages' place below 2 GiB.
    return this.addressSize === 2 && base !== 0n ? REGION_32 : this.region
  }

  protected displacement(needed: boolean): readonly [mod: number, disp: bigint] {
    const { r } = this
    const mod = needed ? 1 + r.below(2) : r.below(3)
    return [mod, mod === 0 ? 0n : mod === 1 ? BigInt(r.below(256) - 128) : BigInt(r.next() | 0)]
  }

  protected setAddress(register: number, value: bigint): boolean {
    if (this.pinned.has(register)) return false
    this.c.reg[register] = this.garbage(value, this.addressSize)
    return true
  }

  /** 16-bit addressing: BX, BP, SI, DI and their sums. */
  protected memory16(reg: number, linear: bigint, base: bigint, overridden: boolean): number[] {
    const { c, r } = this
    const pairs: readonly (readonly number[])[] = [
      [RBX, RSI],
      [RBX, RDI],
      [RBP, RSI],
      [RBP, RDI],
      [RSI],
      [RDI],
      [RBP],
      [RBX],
    ]
    for (;;) {
      const rm = r.below(8)
      const mod = r.below(3)
      if (rm === 6 && mod === 0) {
        const offset = Number((linear - base) & 0xffffn)
        return [(reg << 3) | 6, offset & 0xff, offset >> 8]
      }
      const registers = pairs[rm]!
      const stackBased = registers[0] === RBP
      // The other segment may not reach the page that was chosen.
      if (stackBased && !overridden && this.form.bits === 16 && this.stackBase !== base) continue
      if (this.pinned.has(registers[0]!)) continue
      const disp = mod === 0 ? 0n : mod === 1 ? BigInt(r.below(256) - 128) : BigInt(r.below(65536))
      const other = registers.length > 1 ? c.reg[registers[1]!]! : 0n
      c.reg[registers[0]!] = this.garbage((linear - base - disp - other) & 0xffffn, 2)
      return [(mod << 6) | (reg << 3) | rm, ...bytesOf(disp, mod)]
    }
  }

  protected moffs(): number[] {
    const { r } = this
    const base = r.chance(12) ? this.override() : this.base
    const target = this.target(this.operandSize(), this.regionFor(base), true)
    this.pokeNumbers(target, [r.value(), 8])
    return bytesOf(target.linear - base, this.addressSize)
  }

  /** Target of a RIP-relative operand; the displacement is filled in when the length is known. */
  protected relative: bigint | undefined = undefined

  protected fixRelative(): void {
    if (this.relative === undefined) return
    const { c } = this
    const disp = BigInt.asIntN(32, this.relative - (c.rip + BigInt(c.code.length)))
    const at =
      this.prefixes.length +
      (this.needRex ? 1 : 0) +
      (this.form.row.map === 0 ? 0 : this.form.row.map === 1 ? 1 : 2) +
      2
    if (at + 4 <= 16)
      for (const [i, byte] of bytesOf(disp, 4).entries()) if (at + i < c.code.length) c.code[at + i] = byte
  }

  protected immediates(opSize: number): number[] {
    const { r, form } = this
    const { row } = form
    const bytes: number[] = []
    for (const o of row.operands) {
      if (o.method === 'A') {
        bytes.push(...bytesOf(this.codeTarget(), opSize), ...bytesOf(BigInt(this.farSelector()), 2))
      } else if (o.method === 'J') {
        const size = o.width === 'b' ? 1 : opSize === 2 ? 2 : 4
        const near = BigInt(r.below(PAGE) - PAGE / 2)
        bytes.push(...bytesOf(r.chance(70) ? near : r.value(), size))
      } else if (o.method === 'I' || o.method === 'sI') {
        bytes.push(...this.immediate(o.width, opSize, bytes.length))
      }
    }
    return bytes
  }

  protected immediate(width: string, opSize: number, before: number): number[] {
    const { r, form } = this
    const { mnemonic } = form.row
    const size = width === 'b' ? 1 : width === 'w' ? 2 : width === 'v' ? opSize : opSize === 2 ? 2 : 4
    if (mnemonic === 'int') {
      let vector = r.chance(20) ? r.pick([3, 4]) : r.below(256)
      if (vector === 0x80) vector = 0x81
      return [vector]
    }
    if (mnemonic === 'enter') {
      if (before > 0) return [r.chance(70) ? r.below(4) : r.below(r.chance(70) ? 64 : 256)]
      return bytesOf(BigInt(r.chance(80) ? r.below(512) : r.below(65536)), 2)
    }
    if (mnemonic === 'ret' || mnemonic === 'retf')
      return bytesOf(BigInt(r.chance(80) ? r.below(64) : r.below(65536)), 2)
    if (/^(rol|ror|rcl|rcr|shl|shr|sar|shld|shrd)$/.test(mnemonic)) return [this.shiftCount()]
    if ((mnemonic === 'aam' || mnemonic === 'aad') && r.chance(50)) return [r.pick([10, 10, 0, 1, 16])]
    return bytesOf(r.value(), size)
  }
}

export function bytesOf(value: bigint, size: number): number[] {
  const bytes: number[] = []
  for (let i = 0; i < size; i++) bytes.push(Number((value >> BigInt(i * 8)) & 0xffn))
  return bytes
}

function littleEndian(bytes: readonly number[]): bigint {
  return bytes.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n)
}

function dispBytes(mod: number, disp: bigint): number[] {
  return mod === 0 ? [] : bytesOf(disp, mod === 1 ? 1 : 4)
}
