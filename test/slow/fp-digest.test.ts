/**
 * x87, MMX, SSE to SSE4.2, AES, PCLMULQDQ and CRC32 inside Linux: `test/guests/fp-digest` runs every instruction over the edges of its operands and prints
 * digests, which must equal those that the same program printed on this machine's processor. Approximations are compared with the true value or with the
 * processor's to the accuracy that the manual promises. `npm run guests` makes the program.
 */
import { gzipSync } from 'node:zlib'
import { beforeAll, describe, expect, it } from 'vitest'
import type { Pc } from '../../src/machine/index.js'
import { KERNELS, type Kernel, linuxAt, linuxFiles } from './linux-states.js'
import { guestFile, needs, SerialShell } from './real-guest.js'

const programs = [32, 64].flatMap((bits) => [`fp-digest-${bits}`, `fp-digest-${bits}.native.txt`])
const { skip, why } = needs(...linuxFiles, ...programs)

/** Which programs each kernel runs: the 64-bit one runs both. */
const PROGRAMS: Readonly<Record<Kernel, readonly (32 | 64)[]>> = { '686': [32], amd64: [64, 32] }

/** Intel SDM Vol. 2, RCPSS: the relative error is at most 1.5 · 2^-12; the same for RSQRTSS. */
const APPROXIMATION = 1.5 * 2 ** -12

/** Characters in a line of what is typed: fewer than a terminal's line may have. */
const TYPED = 1000

interface Printed {
  /** Digests by instruction, and the counts of signals. */
  readonly digests: readonly string[]
  /** Lines of values that are judged one by one. */
  readonly values: readonly (readonly string[])[]
  /** What CPUID reports, what it does not report. */
  readonly yes: readonly string[]
  readonly no: readonly string[]
}

function parse(text: string): Printed {
  const all = text.split('\n')
  const lines = all.slice(all.findIndex((line) => line.endsWith('begin')) + 1, all.lastIndexOf('done'))
  expect(lines.length).toBeGreaterThan(1000)
  const names = (key: string): string[] =>
    lines
      .find((line) => line.startsWith(`${key} `))!
      .split(' ')
      .slice(1)
  return {
    digests: lines.filter((line) => !/^(~|cpuid-)/.test(line)),
    values: lines.filter((line) => line.startsWith('~')).map((line) => line.slice(1).split(' ')),
    yes: names('cpuid-yes'),
    no: names('cpuid-no'),
  }
}

const binary32 = (hex: string): number =>
  new DataView(new Uint32Array([Number.parseInt(hex, 16)]).buffer).getFloat32(0, true)

/** Extended precision in the order of its values: neighbours differ by one. */
function ordinal(hex: string): bigint {
  const bits = BigInt(`0x${hex}`)
  const exponent = (bits >> 64n) & 0x7fffn
  const magnitude = exponent * (1n << 63n) + (bits & ((1n << 63n) - 1n))
  return bits >> 79n ? -magnitude : magnitude
}

/** Whether the exponent says infinity or NaN. */
const special = (hex: string): boolean => ((BigInt(`0x${hex}`) >> 64n) & 0x7fffn) === 0x7fffn

/** What is wrong with a line of approximations, if anything. */
function judge([name, ...fields]: readonly string[], native: readonly string[]): string | undefined {
  const line = `${name} ${fields.join(' ')}: the processor gives ${native.slice(1).join(' ')}`
  if (name!.startsWith('r')) {
    const [operand, result, flags] = fields
    const x = binary32(operand!)
    const truth = name!.startsWith('rcp') ? 1 / x : 1 / Math.sqrt(x)
    const y = binary32(result!)
    if (flags !== native[3]) return line
    // Zeros, denormals, infinities, NaNs and results too small or too large to be normal are exact.
    const normal = (value: number): boolean => Math.abs(value) >= 2 ** -126 && Number.isFinite(value)
    if (!normal(x) || !normal(truth) || !normal(y)) return result === native[2] ? undefined : line
    return Math.abs(y / truth - 1) <= APPROXIMATION ? undefined : line
  }
  const [, , r0, r1, status] = fields
  for (const [mine, theirs] of [
    [r0!, native[3]!],
    [r1!, native[4]!],
  ] as const) {
    if (mine === theirs) continue
    if (special(mine) || special(theirs)) return line
    const distance = ordinal(mine) - ordinal(theirs)
    if (distance < -1n || distance > 1n) return line
  }
  // All but the inexact flag and C1, which say how a value was rounded, and the condition codes that mean nothing here.
  const defined = 0xbcdf
  return (Number.parseInt(status!, 16) ^ Number.parseInt(native[5]!, 16)) & defined ? line : undefined
}

/** Names that a kernel shows or hides whatever CPUID says: a 32-bit one has no use for PCIDs. */
// biome-ignore format: a dense list reads better
const KERNEL_DECIDES: Readonly<Record<Kernel, readonly string[]>> = { '686': ['pcid'], amd64: [] }

/** Types a program into a file: there is no other way in that either kernel has a driver for without modules. */
async function upload(pc: Pc, program: Uint8Array, path: string): Promise<void> {
  // Twice: what a first pass leaves of the repetitive code is repetitive as well.
  const archive = gzipSync(gzipSync(program, { level: 9 }), { level: 9 }).toString('base64')
  pc.serial.write(`stty -echo; base64 -d | gunzip | gunzip > ${path}\n`)
  await pc.run({ instructions: 30_000_000 })
  for (let at = 0; at < archive.length; at += TYPED) {
    pc.serial.write(`${archive.slice(at, at + TYPED)}\n`)
    await pc.run({ instructions: 100_000_000, until: () => pc.board.uart.queued === 0 })
  }
  // End of file, at the start of a line.
  pc.serial.write('\x04')
  await pc.run({ instructions: 30_000_000 })
  pc.serial.write(`stty echo; chmod +x ${path}\n`)
  await pc.run({ instructions: 30_000_000 })
}

describe.skipIf(skip)(`floating point inside Linux${why}`, () => {
  describe.each(KERNELS)('%s', (kernel) => {
    const outputs = new Map<number, string>()
    let cpuinfo: ReadonlySet<string>

    beforeAll(async () => {
      const pc = await linuxAt(kernel, 'shell')
      const shell = new SerialShell(pc)
      for (const bits of PROGRAMS[kernel]) {
        await upload(pc, guestFile(`fp-digest-${bits}`), `/tmp/fp-digest-${bits}`)
        outputs.set(bits, await shell.run(`/tmp/fp-digest-${bits}`, 5_000_000_000))
      }
      const [flags] = /^flags\s*:.*$/m.exec(await shell.run('grep -m 1 ^flags /proc/cpuinfo'))!
      cpuinfo = new Set(flags.split(':')[1]!.trim().split(' '))
    })

    describe.each(PROGRAMS[kernel])('%i-bit program', (bits) => {
      const both = (): readonly [Printed, Printed] => [
        parse(outputs.get(bits)!),
        parse(new TextDecoder().decode(guestFile(`fp-digest-${bits}.native.txt`))),
      ]

      it('prints the digests that this processor gives', () => {
        const [mine, native] = both()
        expect(mine.digests).toEqual(native.digests)
      })

      it('approximates as the manual promises', () => {
        const [mine, native] = both()
        const operands = (line: readonly string[]): string => line.slice(0, line[0]!.startsWith('r') ? 2 : 3).join(' ')
        expect(mine.values.map(operands)).toEqual(native.values.map(operands))
        expect(mine.values.map((line, n) => judge(line, native.values[n]!)).filter(Boolean)).toEqual([])
      })

      it('finds in CPUID what /proc/cpuinfo shows', () => {
        const [mine] = both()
        // In 32-bit code Intel's processors report no SYSCALL, which a 64-bit kernel does see.
        const decided = new Set([...KERNEL_DECIDES[kernel], ...(bits === 32 ? ['syscall'] : [])])
        expect(mine.yes.filter((name) => !cpuinfo.has(name) && !decided.has(name))).toEqual([])
        expect(mine.no.filter((name) => cpuinfo.has(name) && !decided.has(name))).toEqual([])
      })
    })
  })
})
