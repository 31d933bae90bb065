import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { PhysicalBus } from '../../src/contracts/index.js'
import { VirtkitError } from '../../src/contracts/index.js'
import {
  isMultiboot,
  loadMultiboot,
  MULTIBOOT_AOUT_KLUDGE,
  MULTIBOOT_BOOTLOADER_MAGIC,
  MULTIBOOT_HEADER_MAGIC,
  MULTIBOOT_MEMORY_INFO,
  MULTIBOOT_PAGE_ALIGN,
} from '../../src/machine/index.js'
import { elf } from '../cli/guest.js'
import { Memory } from '../devices/helpers.js'
import { runs } from '../runs.js'

const MIB = 1 << 20
const memoryMap = [
  { base: 0, size: 0x9fc00, type: 1 },
  { base: 0xf0000, size: 0x10000, type: 2 },
  { base: MIB, size: 3 * MIB, type: 1 },
]

/** A header with these flags and address fields, at the start of 64 bytes. */
function flat(flags: number, fields: number[], length = 64): Uint8Array {
  const image = new Uint8Array(length).fill(0xcc)
  const words = [MULTIBOOT_HEADER_MAGIC, flags, -(MULTIBOOT_HEADER_MAGIC + flags), ...fields]
  const view = new DataView(image.buffer)
  words.forEach((word, n) => {
    view.setUint32(4 * n, word >>> 0, true)
  })
  return image
}

/** An ELF file with a header behind it. */
function elfKernel(entry: number, segments: Parameters<typeof elf>[1], flags = 0): Uint8Array {
  const file = elf(entry, segments)
  const at = (file.length + 3) & ~3
  const image = new Uint8Array(at + 12)
  image.set(file)
  image.set(flat(flags, []).subarray(0, 12), at)
  return image
}

const load = (image: Uint8Array, options: Partial<Parameters<typeof loadMultiboot>[2]> = {}) => {
  const memory = new Memory(4 * MIB)
  return { memory, ...loadMultiboot(memory, image, { memoryMap, ...options }) }
}
const text = (memory: PhysicalBus, at: number): string => {
  let result = ''
  for (let byte = memory.read8(at); byte !== 0; byte = memory.read8(++at)) result += String.fromCharCode(byte)
  return result
}

describe('loadMultiboot', () => {
  it('loads flat kernels by their address fields', () => {
    const image = flat(MULTIBOOT_AOUT_KLUDGE, [MIB + 0x100, MIB + 0x100, MIB + 0x120, MIB + 0x140, MIB + 0x104])
    const { memory, entry, eax } = load(image)
    expect([entry, eax]).toEqual([MIB + 0x104, MULTIBOOT_BOOTLOADER_MAGIC])
    expect(memory.read32(MIB + 0x100)).toBe(MULTIBOOT_HEADER_MAGIC)
    // load_end_addr 0x120, then zeros to bss_end_addr.
    expect([memory.read8(MIB + 0x11f), memory.read8(MIB + 0x120), memory.read8(MIB + 0x13f)]).toEqual([0x00, 0, 0])
    const whole = load(flat(MULTIBOOT_AOUT_KLUDGE, [MIB, MIB, 0, 0, MIB]))
    expect(whole.memory.read8(MIB + 63)).toBe(0xcc)
  })

  it('loads ELF segments at their physical addresses, zeros behind them', () => {
    const bytes = Uint8Array.from([1, 2, 3, 4])
    const { memory, entry } = load(
      elfKernel(MIB + 2, [
        { at: MIB, bytes, memory: 16 },
        { at: 2 * MIB, bytes },
      ]),
    )
    expect(entry).toBe(MIB + 2)
    expect(memory.read32(MIB)).toBe(0x04030201)
    expect(memory.read32(MIB + 4)).toBe(0)
    expect(memory.read32(2 * MIB)).toBe(0x04030201)
  })

  it('describes the machine in the information structure', () => {
    const modules = [
      { bytes: Uint8Array.of(7, 8), commandLine: 'first' },
      { bytes: new Uint8Array(5000).fill(9), commandLine: '' },
    ]
    const image = flat(MULTIBOOT_AOUT_KLUDGE | MULTIBOOT_MEMORY_INFO | MULTIBOOT_PAGE_ALIGN, [MIB, MIB, 0, 0, MIB])
    const { memory, ebx } = load(image, { commandLine: 'a b', modules, loaderName: 'me' })
    const field = (offset: number): number => memory.read32(ebx + offset)
    // Memory, command line, modules, memory map, boot loader name.
    expect(field(0)).toBe(0x001 | 0x004 | 0x008 | 0x040 | 0x200)
    expect([field(4), field(8)]).toEqual([639, 3 * 1024])
    expect([text(memory, field(16)), text(memory, field(64))]).toEqual(['a b', 'me'])
    expect(field(20)).toBe(2)
    const list = field(24)
    const starts = [memory.read32(list), memory.read32(list + 16)]
    const ends = [memory.read32(list + 4), memory.read32(list + 20)]
    expect(ends.map((end, n) => end - starts[n]!)).toEqual([2, 5000])
    expect(starts.every((start) => start % 4096 === 0)).toBe(true)
    expect([memory.read8(starts[0]!), memory.read8(starts[1]! + 4999)]).toEqual([7, 9])
    expect(text(memory, memory.read32(list + 8))).toBe('first')
    // Each entry carries its size without the size field.
    const map = Array.from({ length: field(44) / 24 }, (_, n) => {
      const at = field(48) + 24 * n
      return [memory.read32(at), memory.read32(at + 4), memory.read32(at + 12), memory.read32(at + 20)]
    })
    expect(map).toEqual(memoryMap.map(({ base, size, type }) => [20, base, size, type]))
  })

  it.each<[string, Uint8Array, RegExp]>([
    ['no header', new Uint8Array(9000), /no Multiboot header in the first 8 KiB/],
    ['nothing at all', new Uint8Array(0), /no Multiboot header/],
    [
      'unknown requirements',
      flat(MULTIBOOT_AOUT_KLUDGE | 0x8000, [MIB, MIB, 0, 0, MIB]),
      /unknown features \(flags 0x8000\)/,
    ],
    ['neither ELF nor addresses', flat(0, []), /neither ELF nor does its header carry addresses/],
    [
      'load_addr above header_addr',
      flat(MULTIBOOT_AOUT_KLUDGE, [MIB, MIB + 4, 0, 0, MIB]),
      /load_addr lies above header_addr/,
    ],
    [
      'load_addr before the file',
      flat(MULTIBOOT_AOUT_KLUDGE, [MIB + 4, MIB, 0, 0, MIB]),
      /before the start of the file/,
    ],
    [
      'load_end_addr beyond the file',
      flat(MULTIBOOT_AOUT_KLUDGE, [MIB, MIB, MIB + 65, 0, MIB]),
      /shorter than load_end_addr says/,
    ],
    ['load_end_addr below load_addr', flat(MULTIBOOT_AOUT_KLUDGE, [MIB, MIB, MIB - 1, 0, MIB]), /below load_addr/],
    [
      'bss_end_addr inside the data',
      flat(MULTIBOOT_AOUT_KLUDGE, [MIB, MIB, 0, MIB + 1, MIB]),
      /bss_end_addr lies below/,
    ],
    [
      'a place that is ROM',
      flat(MULTIBOOT_AOUT_KLUDGE, [0xf0000, 0xf0000, 0, 0, 0]),
      /0xf0000–0xf003f, which are not RAM/,
    ],
    [
      'overlapping segments',
      elfKernel(MIB, [
        { at: MIB, bytes: new Uint8Array(8) },
        { at: MIB + 7, bytes: new Uint8Array(8) },
      ]),
      /segments 0 and 1 overlap/,
    ],
    ['an entry point outside', elfKernel(MIB + 8, [{ at: MIB, bytes: new Uint8Array(8) }]), /lies in no segment/],
  ])('refuses %s', (_, image, message) => {
    expect(() => load(image)).toThrow(message)
    expect(() => load(image)).toThrow(expect.objectContaining({ code: 'bad-image' }))
  })

  it('finds headers at any multiple of 4 in 8 KiB, and only with a right checksum', () => {
    const image = new Uint8Array(8192)
    image.set(flat(0, []).subarray(0, 12), 8180)
    expect(isMultiboot(image)).toBe(true)
    image[8184] = 1
    expect(isMultiboot(image)).toBe(false)
    const odd = new Uint8Array(64)
    odd.set(flat(0, []).subarray(0, 12), 2)
    expect(isMultiboot(odd)).toBe(false)
  })

  it('loads damaged kernels or refuses them, and throws nothing else', () => {
    const good = elfKernel(MIB, [
      { at: MIB, bytes: new Uint8Array(64) },
      { at: 2 * MIB, bytes: new Uint8Array(64) },
    ])
    const flatGood = flat(MULTIBOOT_AOUT_KLUDGE, [MIB, MIB, 0, 0, MIB])
    const damage = fc.array(fc.tuple(fc.nat(200), fc.nat(255)), { maxLength: 4 })
    fc.assert(
      fc.property(fc.boolean(), damage, fc.option(fc.nat(260)), (isElf, changes, cut) => {
        const image = Uint8Array.from(isElf ? good : flatGood)
        for (const [at, byte] of changes) if (at < image.length) image[at] = byte
        try {
          load(image.subarray(0, cut ?? image.length))
        } catch (error) {
          expect(error).toBeInstanceOf(VirtkitError)
          expect((error as VirtkitError).code).toBe('bad-image')
        }
      }),
      { numRuns: runs(150) },
    )
  })
})
