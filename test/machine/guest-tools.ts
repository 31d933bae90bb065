/** Runs the embedded guest and sums up what it left behind. */
import { buildKernel, type EngineName, KERNEL_LOAD_ADDRESS, Pc, type RunResult } from '../../src/machine/index.js'

const IMAGE: Uint8Array = buildKernel()

/** A machine with the guest loaded. */
export function guestMachine(engine: EngineName, entry: 'boot' | 'multiboot' = 'boot'): Pc {
  const pc = new Pc({ engine, memory: 0x200000 })
  if (entry === 'boot') pc.loadFlat(IMAGE, KERNEL_LOAD_ADDRESS)
  else pc.loadMultiboot(IMAGE)
  return pc
}

/** What a run of the guest gave. */
export interface GuestRun {
  readonly pc: Pc
  readonly result: RunResult
  readonly serial: string
  /** Lines that report a passed stage. */
  readonly passed: readonly string[]
}

export function runGuest(pc: Pc, instructions = 3_000_000): GuestRun {
  const result = pc.runSync(instructions)
  const serial = pc.serial.text
  return { pc, result, serial, passed: serial.split('\n').filter((line) => line.startsWith('[ok] ')) }
}

function fnv(hash: number, value: number): number {
  return Math.imul(hash ^ value, 0x01000193)
}

/** A hash of what the guest can see: RAM, registers, control registers, segments, and the state of the devices. */
export function stateHash(pc: Pc, memory = 0x200000): number {
  const { s } = pc.cpu
  let hash = 0x811c9dc5 | 0
  const ram = new Uint8Array(memory)
  pc.space.readBytes(0, ram)
  const words = new Int32Array(ram.buffer)
  for (const word of words) hash = fnv(hash, word)
  for (let reg = 0; reg < 16; reg++) hash = fnv(fnv(hash, s.reg32(reg) | 0), s.regHi(reg))
  for (const value of [s.rip, s.flags, s.cr0, s.cr2, s.cr3, s.cr4, s.gdtrBase, s.idtrBase, pc.cpu.cpl])
    hash = fnv(hash, value | 0)
  for (let seg = 0; seg < 8; seg++) {
    for (const value of [s.selector(seg), s.segAttr(seg), s.segBase(seg), s.segLimit(seg)]) hash = fnv(hash, value | 0)
  }
  const { pic, pit, dma, rtc, uart, ps2, pm } = pc.board
  const devices = JSON.stringify([pic, pit, dma, rtc, uart, ps2, pm].map((device) => device.saveState()))
  for (let i = 0; i < devices.length; i++) hash = fnv(hash, devices.charCodeAt(i))
  return fnv(hash, pc.instructions) >>> 0
}
