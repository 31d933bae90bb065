/** Exit statuses of the command. All of ours are even: odd ones come from the guest through isa-debug-exit. */
export const EXIT_POWER_OFF = 0
export const EXIT_USAGE = 2
export const EXIT_IMAGE = 4
export const EXIT_DEVICE = 6
export const EXIT_TRIPLE_FAULT = 70
export const EXIT_HALTED = 72
export const EXIT_TIMEOUT = 124

/** Ends the command with one line on stderr. */
export class CommandError extends Error {
  readonly status: number

  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}
