/** Exit statuses of the command. All of ours are even: odd ones come from the guest through isa-debug-exit. */

/** The guest switched the machine off, or what `--until` or `--no-reboot` waits for came about. */
export const EXIT_POWER_OFF = 0
/** Wrong usage. */
export const EXIT_USAGE = 2
/** A file that cannot be read or written, or is malformed. */
export const EXIT_IMAGE = 4
/** A device failed during the run: a disk image that vanished, for instance. */
export const EXIT_DEVICE = 6
/** A fault of virtkit itself. */
export const EXIT_INTERNAL = 8
export const EXIT_TRIPLE_FAULT = 70
/** HLT with interrupts off. */
export const EXIT_HALTED = 72
export const EXIT_TIMEOUT = 124
/** Ctrl-C. */
export const EXIT_INTERRUPTED = 130

/** Ends the command with one line on stderr. */
export class CommandError extends Error {
  readonly status: number

  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}
