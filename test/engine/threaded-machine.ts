/** A CPU with RAM and nothing else, on an engine of choice, started in the mode of choice. */

import { CPU_MEMORY_SIZE, Cpu } from '../../src/cpu/cpu.js'
import { ReferenceEngine } from '../../src/engine/reference.js'
import { threadedEngine } from '../../src/engine/threaded-engine.js'
import { translatedEngineWith } from '../../src/engine/translated.js'
import { assemble } from '../../src/isa/assembler.js'
import { AddressSpace } from '../../src/memory/index.js'
import { EAGER, type EngineName } from './equality-board.js'

export type Bits = 16 | 32 | 64

/** RAM unless the caller wants another size. */
export const RAM_BYTES = 0x100000
const STORE_SIZE = 0x200000
const PAGE_TABLES = 0x10000

export interface Machine {
  readonly cpu: Cpu
  readonly space: AddressSpace
}

/** Real mode with CS = DS = ES = SS base 0 (limit 64 KiB); flat 32-bit protected mode without paging; 64-bit mode with identity-mapped 2 MiB pages. */
export function makeMachine(
  engine: EngineName,
  bits: Bits,
  code: Uint8Array,
  at = 0x8000,
  ram: number = RAM_BYTES,
): Machine {
  const reserved = Math.ceil((4096 + CPU_MEMORY_SIZE + STORE_SIZE) / 65536) * 65536
  const wasmMemory = new WebAssembly.Memory({
    initial: (reserved + ram) / 65536 + 1 + Math.ceil(ram / 2 ** 25),
    maximum: (reserved + ram) / 65536 + 1 + Math.ceil(ram / 2 ** 25),
  })
  const space = new AddressSpace({ buffer: wasmMemory.buffer, reserved, placeTable: engine !== 'reference' })
  space.addRam(0, ram)
  const cpu = new Cpu({
    space,
    offset: 4096,
    ports: { read: (_p, size) => (size === 4 ? 0xffffffff : size === 2 ? 0xffff : 0xff), write: () => {} },
    interrupts: { pending: false, acknowledge: () => 0 },
    executor: (core) => new ReferenceEngine(core),
    ...(engine === 'threaded' ? { engine: threadedEngine } : {}),
    ...(engine === 'translated' ? { engine: translatedEngineWith(EAGER) } : {}),
    storeSize: STORE_SIZE,
    wasmMemory,
  })
  const { s } = cpu
  for (let i = 0; i < code.length; i++) space.write8(at + i, code[i]!)
  const codeAttr = bits === 16 ? 0x009b : bits === 32 ? 0xc09b : 0xa09b
  const dataAttr = bits === 16 ? 0x0093 : 0xc093
  const limit = bits === 16 ? 0xffff : 0xffffffff
  for (const seg of [0, 1, 2, 3, 4, 5])
    s.setSegment(seg, bits === 16 ? 0 : seg === 1 ? 8 : 16, 0, limit, seg === 1 ? codeAttr : dataAttr)
  if (bits !== 16) s.cr0 |= 1
  if (bits === 64) {
    space.write32(PAGE_TABLES, (PAGE_TABLES + 0x1000) | 3)
    space.write32(PAGE_TABLES + 0x1000, (PAGE_TABLES + 0x2000) | 3)
    for (let i = 0; i < 2; i++) space.write32(PAGE_TABLES + 0x2000 + i * 8, (i * 0x200000) | 0x83)
    s.cr3 = PAGE_TABLES
    s.cr4 |= 0x20
    s.efer |= 0x500
    s.cr0 |= 0x80000000
  }
  s.rip = at
  s.setRegNumber(4, 0x7000)
  cpu.updateMode()
  cpu.mem.configurePaging()
  cpu.mem.flushAll()
  return { cpu, space }
}

export function assembled(bits: Bits, source: string, origin = 0x8000): Uint8Array {
  return assemble(`bits ${bits}\norg ${origin}\n${source}`).bytes
}
