/**
 * Records the golden file: `npx tsx test/xcheck/record.ts`. Needs qemu-system-x86_64 (7.2) and bochs (2.7, with the rfb display) of Debian, and
 * `/usr/share/seabios`; the tests need none of them.
 */
import type { XCase } from './case.js'
import { CASES, VERDICTS } from './cases.js'
import { type Golden, type Judge, writeGolden } from './golden.js'
import { buildImage, chunks } from './image.js'
import { runBochs, runQemu } from './judges.js'

/** Lines of QEMU; where it hangs (it misses some limit checks and runs into the void) the case is skipped. */
async function askQemu(cases: readonly XCase[]): Promise<(string | undefined)[]> {
  const result: (string | undefined)[] = []
  while (result.length < cases.length) {
    const lines = await runQemu(buildImage(cases.slice(result.length)), 10)
    const done = lines.at(-1) === 'E'
    result.push(...(done ? lines.slice(0, -1) : lines))
    if (done) break
    result.push(undefined)
  }
  return result
}

/** Equal but for bit 16 of some word: RF. */
function agree(a: string, b: string): boolean {
  const x = a.split(' ')
  const y = b.split(' ')
  return (
    x.length === y.length &&
    x.every((word, n) => {
      if (word === y[n]) return true
      return (Number.parseInt(word, 16) ^ Number.parseInt(y[n]!, 16)) >>> 0 === 0x10000 && word.length >= 8
    })
  )
}

const golden = new Map<string, Golden>()
const counts: Record<Judge, number> = { both: 0, bochs: 0, qemu: 0, manual: 0 }
for (const cases of chunks(CASES)) {
  const [qemu, bochs] = await Promise.all([askQemu(cases), runBochs(buildImage(cases))])
  if (bochs.length !== cases.length + 1) throw new Error(`Bochs stopped in '${cases[bochs.length]?.name}'`)
  cases.forEach((c, n) => {
    if (golden.has(c.name)) throw new Error(`two cases are called '${c.name}'`)
    const verdict = VERDICTS[c.name]
    let judge: Judge = 'bochs'
    let line = bochs[n]!
    if (verdict?.judge === 'manual') {
      judge = 'manual'
      line = line.replace(verdict.change![0], verdict.change![1])
      if (line === bochs[n]) throw new Error(`'${c.name}': nothing to change in ${line}`)
    } else if (verdict?.judge === 'qemu') {
      judge = 'qemu'
      line = qemu[n]!
    } else if (qemu[n] !== undefined && agree(line, qemu[n])) judge = 'both'
    counts[judge]++
    golden.set(c.name, { judge, line })
  })
}
writeGolden(golden)
console.log(`${golden.size} cases`, counts)
