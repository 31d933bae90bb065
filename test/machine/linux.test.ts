import { describe, expect, it } from 'vitest'
import {
  isLinux,
  type LinuxMemory,
  type LinuxOptions,
  loadLinux,
  type MemoryMapEntry,
  Pc,
  parseLinux,
} from '../../src/machine/index.js'
import { SparseMemory } from './sparse-memory.js'

const MIB = 0x100000
const MAP: readonly MemoryMapEntry[] = [
  { base: 0, size: 0x9fc00, type: 1 },
  { base: 0x9fc00, size: 0x400, type: 2 },
  { base: 0xf0000, size: 0x10000, type: 2 },
  { base: MIB, size: 63 * MIB, type: 1 },
]

interface Fields {
  setupSects: number
  bootFlag: number
  jump: number
  magic: string
  protocol: number
  loadflags: number
  code32: number
  initrdMax: number
  alignment: number
  relocatable: number
  xloadflags: number
  commandLineSize: number
  preferred: bigint
  initSize: number
  syssize: number
  body: Uint8Array
}

const BODY = Uint8Array.from({ length: 4096 }, (_, n) => (n * 7) & 0xff)

/** An image as the boot protocol's table of the real-mode header describes it, version 2.15. */
function bzImage(given: Partial<Fields> = {}): Uint8Array {
  const f: Fields = {
    setupSects: 2,
    bootFlag: 0xaa55,
    jump: 0x6a,
    magic: 'HdrS',
    protocol: 0x020f,
    loadflags: 1,
    code32: MIB,
    initrdMax: 0x7fffffff,
    alignment: 0x200000,
    relocatable: 1,
    xloadflags: 0x3f,
    commandLineSize: 2047,
    preferred: 0x1000000n,
    initSize: 0x800000,
    syssize: Math.ceil((given.body ?? BODY).length / 16),
    body: BODY,
    ...given,
  }
  const setup = ((f.setupSects || 4) + 1) * 512
  const image = new Uint8Array(setup + f.body.length)
  const view = new DataView(image.buffer)
  image[0x1f1] = f.setupSects
  view.setUint32(0x1f4, f.syssize, true)
  view.setUint16(0x1fe, f.bootFlag, true)
  image[0x200] = 0xeb
  image[0x201] = f.jump
  image.set(new TextEncoder().encode(f.magic), 0x202)
  view.setUint16(0x206, f.protocol, true)
  view.setUint16(0x20e, 0x100, true)
  image.set(new TextEncoder().encode('6.1.0-test (me@here)\0'), 0x300)
  image[0x211] = f.loadflags
  view.setUint32(0x214, f.code32, true)
  view.setUint32(0x22c, f.initrdMax, true)
  view.setUint32(0x230, f.alignment, true)
  image[0x234] = f.relocatable
  view.setUint16(0x236, f.xloadflags, true)
  view.setUint32(0x238, f.commandLineSize, true)
  view.setBigUint64(0x258, f.preferred, true)
  view.setUint32(0x260, f.initSize, true)
  image.set(f.body, setup)
  return image
}

function load(fields: Partial<Fields> = {}, options: Partial<LinuxOptions> = {}) {
  const memory = new SparseMemory()
  const result = loadLinux(memory satisfies LinuxMemory, bzImage(fields), { memoryMap: MAP, ...options })
  return { memory, ...result }
}

function refused(fields: Partial<Fields>, options: Partial<LinuxOptions> = {}): { code: string; message: string } {
  try {
    load(fields, options)
  } catch (error) {
    return error as { code: string; message: string }
  }
  throw new Error('nothing was refused')
}

describe('the header of a bzImage', () => {
  it('is read as the boot protocol lays it out', () => {
    expect(parseLinux(bzImage())).toEqual({
      protocol: 0x020f,
      version: '6.1.0-test (me@here)',
      setupSize: 1536,
      relocatable: true,
      alignment: 0x200000,
      preferred: 0x1000000,
      initSize: 0x800000,
      commandLineSize: 2047,
      initrdMax: 0x7fffffff,
      has64: true,
    })
  })

  it('counts four setup sectors when it says none', () => {
    expect(parseLinux(bzImage({ setupSects: 0 })).setupSize).toBe(5 * 512)
  })

  it('has defaults where old protocols had no field', () => {
    const old = parseLinux(bzImage({ protocol: 0x0202 }))
    expect(old).toMatchObject({
      preferred: MIB,
      commandLineSize: 255,
      initrdMax: 0x37ffffff,
      relocatable: false,
      has64: false,
    })
  })

  it('is recognised by both of its marks', () => {
    expect(isLinux(bzImage())).toBe(true)
    expect(isLinux(bzImage({ magic: 'HdrX' }))).toBe(false)
    expect(isLinux(bzImage({ bootFlag: 0 }))).toBe(false)
    expect(isLinux(new Uint8Array(100))).toBe(false)
  })

  it.each<[string, Partial<Fields>, RegExp]>([
    ['no magic number', { magic: 'XXXX' }, /HdrS/],
    ['an ancient protocol', { protocol: 0x0201 }, /2\.01 is older than 2\.02/],
    ['a zImage', { loadflags: 0 }, /zImage/],
    ['less code than it promises', { syssize: 10_000 }, /truncated: 161536 bytes/],
    ['no code', { body: new Uint8Array(0), syssize: 0 }, /truncated/],
    ['a header shorter than its protocol', { jump: 0x20 }, /setup header ends/],
    ['an impossible alignment', { alignment: 0x30000 }, /no power of two/],
    ['an alignment of 0', { alignment: 0 }, /no power of two/],
  ])('with %s is refused', (_, fields, message) => {
    const error = refused(fields)
    expect(error.code).toBe('bad-image')
    expect(error.message).toMatch(message)
  })

  it('is refused at every length that cuts it', () => {
    const image = bzImage()
    for (let length = 0; length < 1536; length += 7) {
      expect(() => parseLinux(image.subarray(0, length))).toThrow(/Linux kernel: /)
    }
    expect(() => parseLinux(image.subarray(0, image.length - 16))).toThrow(/truncated/)
  })
})

describe('loading a kernel', () => {
  it('puts the protected-mode code at the preferred address', () => {
    const { memory, kernelAt, entry } = load()
    expect([kernelAt, entry]).toEqual([0x1000000, 0x1000000])
    expect(memory.bytes(0x1000000, BODY.length)).toEqual(BODY)
  })

  it('enters 64-bit code 200h bytes further', () => {
    expect(load({}, { entry: '64' }).entry).toBe(0x1000200)
  })

  it('puts a relocatable kernel lower when its code does not fit there, as long as it can run there', () => {
    const map = [MAP[0]!, { base: MIB, size: 20 * MIB, type: 1 }, { base: 64 * MIB, size: 32 * MIB, type: 1 }]
    expect(load({ initSize: 16 * MIB }, { memoryMap: map }).kernelAt).toBe(64 * MIB)
  })

  it('refuses a machine that is too small', () => {
    const map = [MAP[0]!, { base: MIB, size: 15 * MIB, type: 1 }]
    for (const relocatable of [0, 1]) {
      const error = refused({ relocatable }, { memoryMap: map })
      expect(error.code).toBe('bad-image')
      expect(error.message).toMatch(/0x1000000–0x17fffff.*more memory/)
    }
    expect(refused({}, { memoryMap: [] }).message).toMatch(/RAM at address 0/)
  })

  it('describes the machine in boot_params', () => {
    const { memory, bootParams } = load({}, { acpiRsdp: 0xf5a40, commandLine: 'console=ttyS0 ü' })
    const u8 = (at: number): number => memory.read8(bootParams + at)
    const u32 = (at: number): number => memory.read32(bootParams + at)
    // screen_info: mode 3, 80 columns, 25 lines, VGA.
    expect([u8(6), u8(7), u8(0x0e), u8(0x0f)]).toEqual([3, 80, 25, 1])
    expect(u32(0x70)).toBe(0xf5a40)
    expect(u8(0x1ef), 'sentinel: clean structure').toBe(0)
    expect(memory.read16(bootParams + 0x1fe)).toBe(0xaa55)
    expect(u32(0x202)).toBe(0x53726448)
    expect(u8(0x210)).toBe(0xff)
    expect(u32(0x214)).toBe(0x1000000)
    expect(u8(0x1e8)).toBe(4)
    const e820 = Array.from({ length: 4 }, (_, n) => [
      u32(0x2d0 + 20 * n),
      u32(0x2d0 + 20 * n + 4),
      u32(0x2d0 + 20 * n + 8),
      u32(0x2d0 + 20 * n + 12),
      u32(0x2d0 + 20 * n + 16),
    ])
    expect(e820).toEqual(MAP.map(({ base, size, type }) => [base, 0, size, 0, type]))
    const text = new TextEncoder().encode('console=ttyS0 ü\0')
    expect(memory.bytes(u32(0x228), text.length)).toEqual(text)
    // What lies behind the header in the file must not leak into the structure.
    expect(u32(0x290)).toBe(0)
  })

  it('writes ranges above 4 GiB whole', () => {
    const map = [...MAP, { base: 0x1_0000_0000, size: 0x2_4000_0000, type: 1 }]
    const { memory, bootParams } = load({}, { memoryMap: map })
    const at = bootParams + 0x2d0 + 80
    expect([0, 4, 8, 12].map((n) => memory.read32(at + n))).toEqual([0, 1, 0x4000_0000, 2])
  })

  it('makes flat segments at 10h and 18h', () => {
    for (const [entry, code] of [
      ['32', 0x00cf9b00],
      ['64', 0x00af9b00],
    ] as const) {
      const { memory, gdtBase, gdtLimit } = load({}, { entry })
      expect(gdtLimit).toBe(31)
      expect([0, 4, 16, 20, 24, 28].map((n) => memory.read32(gdtBase + n))).toEqual([
        0,
        0,
        0xffff,
        code,
        0xffff,
        0x00cf9300,
      ])
    }
  })

  it('maps the first 4 GiB to themselves for a 64-bit entry', () => {
    const { memory, cr3 } = load({}, { entry: '64' })
    for (const address of [0, 0x1ff000, 0x10000, 0x1000200, 0x3fe00000, 0x40000000, 0xc0123456, 0xffffffff]) {
      const pml4e = memory.read32(cr3!)
      const pdpte = memory.read32((pml4e & ~0xfff) + 8 * Math.floor(address / 0x40000000))
      const pde = memory.read32((pdpte & ~0xfff) + 8 * (Math.floor(address / 0x200000) % 512))
      expect(pml4e & pdpte & pde & 3).toBe(3)
      expect(pde & 0x80).toBe(0x80)
      expect((pde & ~0x1fffff) >>> 0).toBe(Math.floor(address / 0x200000) * 0x200000)
    }
  })
})

describe('an initial RAM disk', () => {
  const initrd = Uint8Array.from({ length: 10_000 }, (_, n) => n & 0xff)

  it('lies as high as RAM allows, on a page', () => {
    const { memory, initrdAt, bootParams } = load({}, { initrd })
    expect(initrdAt).toBe(64 * MIB - 12288)
    expect(memory.bytes(initrdAt!, initrd.length)).toEqual(initrd)
    expect([memory.read32(bootParams + 0x218), memory.read32(bootParams + 0x21c)]).toEqual([initrdAt, 10_000])
  })

  it('lies no higher than the kernel can reach', () => {
    expect(load({ initrdMax: 0x2ffffff }, { initrd }).initrdAt).toBe(0x3000000 - 12288)
  })

  it('goes below the kernel when there is no room above', () => {
    expect(load({ initSize: 48 * MIB }, { initrd }).initrdAt).toBe(16 * MIB - 12288)
  })

  it('that is empty is none', () => {
    const { memory, initrdAt, bootParams } = load({}, { initrd: new Uint8Array(0) })
    expect(initrdAt).toBeUndefined()
    expect([memory.read32(bootParams + 0x218), memory.read32(bootParams + 0x21c)]).toEqual([0, 0])
  })

  it('that does not fit is refused', () => {
    const error = refused({ initSize: 48 * MIB }, { initrd: new Uint8Array(16 * MIB) })
    expect(error.code).toBe('bad-image')
    expect(error.message).toMatch(/initial RAM disk: its 16777216 bytes .* 15728640 are free/)
  })
})

describe('a command line', () => {
  it('may be as long as the kernel says, in bytes', () => {
    load({ commandLineSize: 10 }, { commandLine: 'x'.repeat(10) })
    const error = refused({ commandLineSize: 10 }, { commandLine: `${'x'.repeat(9)}ü` })
    expect(error.code).toBe('bad-argument')
    expect(error.message).toMatch(/has 11 bytes; this kernel takes at most 10/)
  })

  it('cannot hold a zero', () => {
    expect(refused({}, { commandLine: 'a\0b' }).code).toBe('bad-argument')
  })
})

describe('a PC with a Linux kernel', () => {
  /** Writes what a kernel may rely on to the debug port, then exits with 2 * 0x10 + 1. */
  const probe = Uint8Array.of(
    ...[0x66, 0x8c, 0xc8, 0xe6, 0xe9], // mov ax, cs; out 0xe9, al
    ...[0x66, 0x8c, 0xd8, 0xe6, 0xe9], // mov ax, ds
    ...[0x66, 0x8c, 0xd0, 0xe6, 0xe9], // mov ax, ss
    ...[0x8a, 0x86, 0x10, 0x02, 0x00, 0x00, 0xe6, 0xe9], // mov al, [esi+0x210]
    ...[0x0f, 0x20, 0xc0, 0xc1, 0xe8, 0x18, 0xe6, 0xe9], // mov eax, cr0; shr eax, 24
    ...[0xb0, 0x10, 0xe6, 0xf4], // out 0xf4, 0x10
  )

  const probed = (options: { cpu?: 'pentium'; entry?: '32' | '64' }): number[] => {
    const body = new Uint8Array(0x1000)
    body.set(probe, options.entry === '64' ? 0x200 : 0)
    const pc = new Pc({ engine: 'reference', memory: 64 * MIB, ...(options.cpu ? { cpu: options.cpu } : {}) })
    const seen: number[] = []
    pc.debugPort.onByte = (byte) => seen.push(byte)
    pc.loadLinux(bzImage({ body }), { entry: options.entry ?? '32' })
    expect(pc.cpu.s.reg32(4), 'the pointer to boot_params is in ESI alone').toBe(0)
    expect(pc.runSync(100)).toMatchObject({ reason: 'exit', status: 0x21 })
    return seen
  }

  it('starts it in protected mode without paging', () => {
    expect(probed({})).toEqual([0x10, 0x18, 0x18, 0xff, 0x60])
  })

  it('starts it in 64-bit mode with paging', () => {
    expect(probed({ entry: '64' })).toEqual([0x10, 0x18, 0x18, 0xff, 0xe0])
  })

  it('refuses 64-bit entries that kernel or processor lack', () => {
    const pc = new Pc({ engine: 'reference', memory: 64 * MIB })
    expect(() => pc.loadLinux(bzImage({ xloadflags: 0 }), { entry: '64' })).toThrow(/no 64-bit entry/)
    expect(() => pc.loadLinux(bzImage(), { entry: '16' as '32' })).toThrow(/no entry '16'/)
    const old = new Pc({ engine: 'reference', memory: 64 * MIB, cpu: 'pentium' })
    expect(() => old.loadLinux(bzImage(), { entry: '64' })).toThrow(/long mode/)
  })
})
