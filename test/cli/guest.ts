/** Small multiboot guests for the tests of the command. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'
import { assemble } from '../../src/isa/index.js'
import { MULTIBOOT_AOUT_KLUDGE, MULTIBOOT_HEADER_MAGIC } from '../../src/machine/index.js'

/** A folder for the files of one test module, removed at its end. */
export function temporaryFolder(): {
  path: (name: string) => string
  write: (name: string, bytes: Uint8Array) => string
} {
  const folder = mkdtempSync(join(tmpdir(), 'virtkit-test-'))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  const path = (name: string): string => join(folder, name)
  return {
    path,
    write: (name, bytes) => {
      writeFileSync(path(name), bytes)
      return path(name)
    },
  }
}

/** A flat multiboot kernel at 1 MiB from 32-bit assembly text; `print` sends the string at ESI to the serial port. */
export function kernel(body: string): Uint8Array {
  return assemble(`
    bits 32
    org 0x100000
    header:
      dd ${MULTIBOOT_HEADER_MAGIC}, ${MULTIBOOT_AOUT_KLUDGE}, -(${MULTIBOOT_HEADER_MAGIC} + ${MULTIBOOT_AOUT_KLUDGE})
      dd header, header, 0, stack_top, start
    print:
      lodsb
      test al, al
      jz .end
      mov dx, 0x3f8
      out dx, al
      jmp print
    .end:
      ret
    power_off:
      mov dx, 0x604
      mov ax, 0x2000
      out dx, ax
      hlt
    start:
      mov esp, stack_top
      ${body}
    image_end:
    stack_top equ image_end + 4096
  `).bytes
}

/** An ELF32 executable with these segments. */
export function elf(entry: number, segments: { at: number; bytes: Uint8Array; memory?: number }[]): Uint8Array {
  const headers = 52 + 32 * segments.length
  const total = segments.reduce((sum, segment) => sum + segment.bytes.length, headers)
  const image = new Uint8Array(total)
  const view = new DataView(image.buffer)
  image.set([0x7f, 0x45, 0x4c, 0x46, 1, 1, 1])
  view.setUint16(16, 2, true)
  view.setUint16(18, 3, true)
  view.setUint32(20, 1, true)
  view.setUint32(24, entry, true)
  view.setUint32(28, 52, true)
  view.setUint16(40, 52, true)
  view.setUint16(42, 32, true)
  view.setUint16(44, segments.length, true)
  let offset = headers
  segments.forEach((segment, n) => {
    const fields = [
      1,
      offset,
      segment.at,
      segment.at,
      segment.bytes.length,
      segment.memory ?? segment.bytes.length,
      7,
      4,
    ]
    fields.forEach((field, i) => {
      view.setUint32(52 + 32 * n + 4 * i, field, true)
    })
    image.set(segment.bytes, offset)
    offset += segment.bytes.length
  })
  return image
}
