/** A processor for tests of MMX and SSE: 64-bit or 32-bit flat mode, SSE enabled, registers as BigInt. */

import { OFF_FTAG, OFF_TOP, OFF_X87, OFF_XMM } from '../../../src/cpu/layout.js'
import { assemble } from '../../../src/isa/index.js'
import { CODE, HANDLER, Machine, SEL_CODE64 } from '../system/machine.js'

export const CR0_EM = 4
export const CR0_TS = 8
export const CR0_NE = 0x20
export const CR4_OSFXSR = 0x200
/** Memory that tests may use: 64 KiB below the page tables. */
export const DATA = 0x40000

export class SimdUnit {
  readonly machine: Machine = new Machine('x86-64-v2')
  private readonly bytes: Map<string, Uint8Array> = new Map()

  constructor() {
    this.restart()
  }

  /** 64-bit mode with a handler for every exception. */
  restart(): void {
    const { machine } = this
    machine.long('')
    for (let vector = 0; vector < 32; vector++) machine.handler64(vector, { selector: SEL_CODE64 })
    machine.cpu.s.cr0 |= CR0_NE
    machine.cpu.s.cr4 |= CR4_OSFXSR
    machine.cpu.updateMode()
  }

  /** Runs one instruction; the vector of the exception it raised, or −1. `patch` replaces its last byte (the immediate). */
  run(source: string, patch?: number): number {
    const { machine } = this
    let code = this.bytes.get(source)
    if (code === undefined) {
      code = assemble(source, { org: CODE, bits: 64 }).bytes
      this.bytes.set(source, code)
    }
    const copy = Uint8Array.from(code)
    if (patch !== undefined) copy[copy.length - 1] = patch
    machine.space.writeBytes(CODE, Uint8Array.from([...copy, 0x90, 0x90]))
    machine.cpu.s.rip = CODE
    machine.step()
    const { rip } = machine.cpu.s
    return rip >= HANDLER && rip < HANDLER + 0x200 ? (rip - HANDLER) / 16 : -1
  }

  xmm(reg: number): bigint {
    const { s } = this.machine.cpu
    return s.getBig(OFF_XMM + reg * 16) | (s.getBig(OFF_XMM + reg * 16 + 8) << 64n)
  }

  setXmm(reg: number, value: bigint): void {
    const { s } = this.machine.cpu
    s.setBig(OFF_XMM + reg * 16, BigInt.asUintN(64, value))
    s.setBig(OFF_XMM + reg * 16 + 8, value >> 64n)
  }

  mm(reg: number): bigint {
    return this.machine.cpu.s.getBig(OFF_X87 + reg * 16)
  }

  setMm(reg: number, value: bigint): void {
    this.machine.cpu.s.setBig(OFF_X87 + reg * 16, value)
  }

  /** Sign and exponent of the physical register that MM`reg` is part of. */
  exponent(reg: number): number {
    const { s } = this.machine.cpu
    return s.u16[(s.base + OFF_X87 + reg * 16 + 8) >> 1]!
  }

  get top(): number {
    const { s } = this.machine.cpu
    return s.u8[s.base + OFF_TOP]!
  }

  set top(value: number) {
    const { s } = this.machine.cpu
    s.u8[s.base + OFF_TOP] = value
  }

  get tags(): number {
    const { s } = this.machine.cpu
    return s.u8[s.base + OFF_FTAG]!
  }

  set tags(value: number) {
    const { s } = this.machine.cpu
    s.u8[s.base + OFF_FTAG] = value
  }

  /** `bytes` bytes at `address`. */
  peek(address: number, bytes: number): bigint {
    let value = 0n
    for (let n = bytes - 1; n >= 0; n--) value = (value << 8n) | BigInt(this.machine.space.read8(address + n))
    return value
  }

  poke(address: number, bytes: number, value: bigint): void {
    for (let n = 0; n < bytes; n++) {
      this.machine.space.write8(address + n, Number((value >> BigInt(8 * n)) & 0xffn))
    }
  }
}
