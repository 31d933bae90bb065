/**
 * Builds the ROM that runs a list of cases on any PC: the library's or an emulator's. The ROM is a firmware of its own (reset vector included), so
 * that nothing but the processor, RAM, port E9h and port F4h takes part. It prints one line per case on port E9h; see `monitor.ts`.
 */
import { assemble } from '../../src/isa/assembler.js'
import type { XCase } from './case.js'
import { ENTRIES, monitorSource, PRELUDE, ROM_RESET } from './monitor.js'

const assembled = new Map<string, Uint8Array>()

/** Assembles a case's source for the place where it will run. */
export function assembleCase(c: XCase): Uint8Array {
  const entry = ENTRIES[c.entry]
  const key = `bits ${entry.bits}\norg ${entry.org}\n${c.source}\n`
  const known = assembled.get(key)
  if (known) return known
  let bytes: Uint8Array
  try {
    bytes = assemble(`${PRELUDE}\n${key}`).bytes
  } catch (cause) {
    throw new Error(`case ${c.name}: ${cause instanceof Error ? cause.message : cause}`, { cause })
  }
  assembled.set(key, bytes)
  if (bytes.length > 0x1000) throw new Error(`case ${c.name}: ${bytes.length} bytes are more than a page`)
  return bytes
}

/** The ROM for these cases. */
export function buildImage(cases: readonly XCase[]): Uint8Array {
  const bodies = cases.map(assembleCase)
  const table: string[] = []
  const data: string[] = []
  cases.forEach((c, n) => {
    const e = ENTRIES[c.entry]
    const paging = { none: 0, '32': 1, pae: 2, '4level': 3 }[c.paging ?? (e.long ? '4level' : 'none')]
    const words = [bodies[n]!.length, e.number, paging, c.flags ?? 2, c.cr0 ?? 0, c.cr4 ?? 0, c.efer ?? 0]
    table.push(`dd body${n}, ${words.join(', ')}`)
    data.push(`body${n}: db ${[...bodies[n]!, 0].join(',')}`)
  })
  const source = monitorSource(cases.length, [...table, ...data].join('\n'))
  const monitor = assemble(source).bytes
  const size = Math.ceil((monitor.length + 0x200) / 0x10000) * 0x10000
  if (size > 0x30000) throw new Error(`${monitor.length} bytes of cases are too many for one image`)
  const rom = new Uint8Array(size)
  rom.set(monitor)
  rom.set(assemble(ROM_RESET(0x1_0000_0000 - size, monitor.length)).bytes, size - 0x200)
  return rom
}

/** Bytes of cases that one image takes besides the monitor, so that a ROM is 64 KiB. */
const CHUNK_BYTES = 0xd000

/** Splits a list of cases over images. */
export function chunks(cases: readonly XCase[]): XCase[][] {
  const result: XCase[][] = []
  let room = 0
  for (const c of cases) {
    const bytes = assembleCase(c).length + 33
    if (room < bytes) {
      result.push([])
      room = CHUNK_BYTES
    }
    room -= bytes
    result.at(-1)!.push(c)
  }
  return result
}
