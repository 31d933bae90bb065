/** `tsx make-linux-states.ts KERNEL`: boots a kernel to its shell and saves it at the milestones of `linux-states.ts`. */
import { mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { encodeSnapshot } from '../../src/machine/index.js'
import {
  BOOT_LIMIT,
  KERNELS,
  type Kernel,
  type Milestone,
  makePc,
  startLinux,
  stateFile,
  statesFolder,
  WORKLOAD,
} from './linux-states.js'
import { SerialShell } from './real-guest.js'

const kernel = process.argv[2] as Kernel
if (!KERNELS.includes(kernel)) throw new Error(`one of ${KERNELS.join(', ')} was expected`)
const folder = statesFolder()
mkdirSync(folder, { recursive: true })
const started = Date.now()
const pc = makePc()
startLinux(pc, kernel)

const save = async (milestone: Milestone): Promise<void> => {
  const file = stateFile(folder, kernel, milestone)
  writeFileSync(`${file}.part`, await encodeSnapshot(pc.saveState()))
  renameSync(`${file}.part`, file)
  const seconds = ((Date.now() - started) / 1000).toFixed(0)
  console.log(`${kernel}: ${milestone} after ${(pc.instructions / 1e6).toFixed(0)} million instructions, ${seconds} s`)
}
const until = (text: string): Promise<void> => pc.waitForText(text, { in: 'serial', instructions: BOOT_LIMIT })

await until('Linux version')
await save('banner')
await until('Run /init as init process')
await save('first-process')
await new SerialShell(pc).ready(BOOT_LIMIT)
await save('shell')
pc.serial.write(WORKLOAD)
await pc.run({ instructions: 200_000_000 })
await save('workload')
