/** Before the slow tests: boots both kernels side by side and saves their states, if that was not done for these sources yet. */
import { spawn } from 'node:child_process'
import { existsSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { GUESTS, KERNELS, linuxNeeds, stateFile, statesFolder } from './linux-states.js'

const SCRIPT = fileURLToPath(new URL('make-linux-states.ts', import.meta.url))

export default async function setup(): Promise<void> {
  if (linuxNeeds.skip) return
  const folder = statesFolder()
  const states = join(GUESTS, 'states')
  // States of other versions of the sources are of no use any more.
  for (const other of existsSync(states) ? readdirSync(states) : []) {
    if (join(states, other) !== folder) rmSync(join(states, other), { recursive: true })
  }
  const wanted = KERNELS.filter((kernel) => !existsSync(stateFile(folder, kernel, 'workload')))
  await Promise.all(
    wanted.map(
      (kernel) =>
        new Promise<void>((resolve, reject) => {
          const child = spawn(process.execPath, ['--import', 'tsx', SCRIPT, kernel], { stdio: 'inherit' })
          child.on('error', reject)
          child.on('close', (code) =>
            code === 0 ? resolve() : reject(new Error(`booting ${kernel} ended with ${code}`)),
          )
        }),
    ),
  )
}
