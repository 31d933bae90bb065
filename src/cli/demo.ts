/** `virtkit demo`: boots the embedded guest, shows its screen and says what happened. */
import { parseArgs } from 'node:util'
import { formatRunSummary, RunStatistics } from '../debug/index.js'
import { buildKernel, type EngineName, KERNEL_LOAD_ADDRESS, KERNEL_STAGES, Pc } from '../machine/index.js'
import {
  CommandError,
  EXIT_HALTED,
  EXIT_POWER_OFF,
  EXIT_TIMEOUT,
  EXIT_TRIPLE_FAULT,
  EXIT_USAGE,
} from './exit-status.js'

export const DEMO_USAGE = `Usage: virtkit demo [options]

  --engine reference|threaded   how instructions run (default reference, which counts TLB hits too)
  --entry boot|multiboot        start as from a boot sector in real mode, or as a Multiboot kernel (default boot)
  --serial                      print the guest's serial port instead of its screen`

/** The guest needs about 230 000. */
const INSTRUCTION_LIMIT = 20_000_000

interface DemoFlags {
  readonly engine: EngineName
  readonly entry: 'boot' | 'multiboot'
  readonly serial: boolean
  readonly help: boolean
}

function parseFlags(args: readonly string[]): DemoFlags {
  let values: { engine?: string; entry?: string; serial?: boolean; help?: boolean }
  try {
    values = parseArgs({
      args: [...args],
      options: {
        engine: { type: 'string' },
        entry: { type: 'string' },
        serial: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    }).values
  } catch (error) {
    throw new CommandError(EXIT_USAGE, `demo: ${(error as Error).message.split('\n')[0]}`)
  }
  const { engine = 'reference', entry = 'boot', serial = false, help = false } = values
  if (engine !== 'reference' && engine !== 'threaded') {
    throw new CommandError(EXIT_USAGE, `demo: --engine: one of reference, threaded was expected, got '${engine}'`)
  }
  if (entry !== 'boot' && entry !== 'multiboot') {
    throw new CommandError(EXIT_USAGE, `demo: --entry: one of boot, multiboot was expected, got '${entry}'`)
  }
  return { engine, entry, serial, help }
}

/** The rows of a text screen in a box. */
function framed(rows: readonly string[], columns: number): string {
  const line = '─'.repeat(columns + 2)
  return [`┌${line}┐`, ...rows.map((row) => `│ ${row.padEnd(columns)} │`), `└${line}┘`].join('\n')
}

/** Runs the command; returns its exit status: 0 when the guest passed every stage and switched the machine off. */
export async function demo(args: readonly string[]): Promise<number> {
  const flags = parseFlags(args)
  if (flags.help) {
    console.log(DEMO_USAGE)
    return EXIT_POWER_OFF
  }
  const pc = new Pc({ engine: flags.engine, memory: 0x1000000 })
  const kernel = buildKernel()
  if (flags.entry === 'boot') pc.loadFlat(kernel, KERNEL_LOAD_ADDRESS)
  else pc.loadMultiboot(kernel)
  const started = performance.now()
  const result = await pc.run({ instructions: INSTRUCTION_LIMIT })
  const hostMs = performance.now() - started
  if (flags.serial) console.log(pc.serial.text)
  else console.log(framed(pc.screen.text(), 80))
  console.log(formatRunSummary(new RunStatistics(pc, { since: 'power-on' }).summary(), hostMs))
  const passed = pc.serial.text.split('\n').filter((line) => line.startsWith('[ok]')).length
  switch (result.reason) {
    case 'power-off':
      if (passed === KERNEL_STAGES) return EXIT_POWER_OFF
      console.error(`virtkit: the guest switched itself off after ${passed} of ${KERNEL_STAGES} stages`)
      return EXIT_HALTED
    case 'exit':
      console.error('virtkit: the guest reports a failure')
      return (result.status ?? 1) & 0xff
    case 'triple-fault':
      console.error('virtkit: the guest caused a triple fault')
      return EXIT_TRIPLE_FAULT
    case 'halted':
      console.error('virtkit: the guest halted for good (HLT with interrupts off)')
      return EXIT_HALTED
    default:
      console.error(`virtkit: the guest did not end within ${INSTRUCTION_LIMIT} instructions`)
      return EXIT_TIMEOUT
  }
}
