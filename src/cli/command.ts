/** The `virtkit` command: which subcommand runs, and how errors are told. */
import { VirtkitError } from '../contracts/index.js'
import { CommandError, EXIT_DEVICE, EXIT_IMAGE, EXIT_INTERNAL, EXIT_POWER_OFF, EXIT_USAGE } from './exit-status.js'

const USAGE = `Usage: virtkit <command> [options]

  run       run a machine: virtkit run --kernel FILE | --bios FILE --drive FILE …
  demo      boot the built-in teaching kernel and say what happened
  explain   show how the hardware does one thing, step by step
  help      this text; 'virtkit help run' and so on for one command`

async function dispatch(argv: readonly string[]): Promise<number> {
  const [command, ...rest] = argv
  switch (command) {
    case 'run':
      return (await import('./run.js')).run(rest)
    case 'demo':
      return (await import('./demo.js')).demo(rest)
    case 'explain':
      return (await import('./explain.js')).explain(rest)
    case undefined:
    case 'help':
    case '--help':
    case '-h':
      if (rest[0] !== undefined && rest[0] !== 'help') return dispatch([rest[0], '--help'])
      console.log(USAGE)
      return EXIT_POWER_OFF
    default:
      throw new CommandError(EXIT_USAGE, `there is no command '${command}': run, demo, explain or help was expected`)
  }
}

/** One clear line, and the status that goes with it. */
function report(error: unknown): number {
  const message = (error instanceof Error ? error.message : String(error)).replace(/\s*\n\s*/g, ' ')
  if (error instanceof CommandError) {
    console.error(`virtkit: ${message}`)
    return error.status
  }
  if (error instanceof VirtkitError) {
    console.error(`virtkit: ${message}`)
    if (error.code === 'bad-image' || error.code === 'unreadable') return EXIT_IMAGE
    return error.code === 'device-failed' ? EXIT_DEVICE : EXIT_USAGE
  }
  console.error(`virtkit: this is a fault of virtkit itself: ${message}`)
  return EXIT_INTERNAL
}

/** Runs `virtkit` with these arguments and returns its exit status; never throws. */
export async function command(argv: readonly string[]): Promise<number> {
  try {
    return await dispatch(argv)
  } catch (error) {
    return report(error)
  }
}
