#!/usr/bin/env node
/** The `virtkit` command. */
import { VirtkitError } from '../contracts/index.js'
import { CommandError, EXIT_DEVICE, EXIT_IMAGE, EXIT_USAGE } from './exit-status.js'

const USAGE = `Usage: virtkit <command> [options]

  run       run a machine: virtkit run --kernel FILE | --bios FILE --drive FILE …
  demo      boot the built-in teaching kernel and say what happened
  explain   show how the hardware does one thing, step by step
  help      this text; 'virtkit help run' and so on for one command`

async function main(argv: readonly string[]): Promise<number> {
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
      console.log(rest[0] === 'run' ? (await import('./run.js')).RUN_USAGE : USAGE)
      return 0
    default:
      throw new CommandError(EXIT_USAGE, `there is no command '${command}': run, demo, explain or help was expected`)
  }
}

/** One clear line, and the status that goes with it. */
function report(error: unknown): number {
  if (error instanceof CommandError) {
    console.error(`virtkit: ${error.message}`)
    return error.status
  }
  if (error instanceof VirtkitError) {
    console.error(`virtkit: ${error.message}`)
    if (error.code === 'bad-image' || error.code === 'unreadable') return EXIT_IMAGE
    return error.code === 'device-failed' ? EXIT_DEVICE : EXIT_USAGE
  }
  throw error
}

try {
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  process.exitCode = report(error)
}
