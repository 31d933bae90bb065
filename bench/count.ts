/**
 * Checks the instruction counts of the loops: runs a shortened image on the reference engine, and on QEMU where it is installed, and counts what was
 * executed between the marks. `npx tsx bench/count.ts [scale]`
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Pc } from '../src/machine/index.js'
import { benchImage, makeLoops } from './loops.js'

const loops = makeLoops(Number(process.argv[2] ?? 5000))
const image = benchImage(loops)
/** `OUT DX, AL` before the first mark. */
const OUTS_BEFORE = 4

function ownCounts(): number[] {
  const pc = new Pc({ memory: 32 << 20, engine: 'reference' })
  const at: number[] = []
  pc.serial.onByte = () => at.push(pc.cpu.instructions)
  pc.loadMultiboot(image)
  pc.runSync(2e9)
  return loops.map((_, n) => at[2 * n + 1]! - at[2 * n]!)
}

/** Counts executed instructions in QEMU's log of one-instruction translation blocks. */
function qemuCounts(): number[] | undefined {
  const folder = mkdtempSync(join(tmpdir(), 'virtkit-count-'))
  try {
    const kernel = join(folder, 'image')
    const log = join(folder, 'log')
    writeFileSync(kernel, image)
    spawnSync(
      'timeout',
      ['60', 'qemu-system-i386', '-m', '64', '-display', 'none', '-singlestep', '-d', 'exec,nochain', '-D', log].concat(
        ['-dfilter', `0x100000+0x${image.length.toString(16)}`, '-kernel', kernel, '-serial', 'null', '-no-reboot'],
      ),
      { timeout: 90_000 },
    )
    const counts: number[] = []
    let outs = 0
    let executed = 0
    for (const line of readFileSync(log, 'latin1').split('\n')) {
      const match = /\[[0-9a-f]+\/([0-9a-f]+)\//.exec(line)
      if (!match) continue
      executed++
      const at = Number.parseInt(match[1]!, 16) - 0x100000
      if (image[at] !== 0xee) continue
      outs++
      const mark = outs - OUTS_BEFORE
      if (mark > 0 && mark % 2 === 0) counts.push(executed)
      executed = 0
    }
    return counts
  } catch {
    return undefined
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const own = ownCounts()
const qemu = qemuCounts()
console.log('| loop | from the source | reference engine | QEMU |\n|---|---:|---:|---:|')
loops.forEach((loop, n) => {
  console.log(`| ${loop.name} | ${loop.instructions} | ${own[n]} | ${qemu?.[n] ?? '–'} |`)
})
process.exit(0)
