/**
 * Every reason for which the library refuses what the host program asked of it. Guest faults are never errors: they
 * are values of type {@link GuestFault}.
 */
export const ERROR_CODES = [
  'bad-argument', // a value outside the documented range or shape
  'bad-range', // an empty address or port range, or one beyond the address space
  'overlap', // a range that is already taken
  'bad-image', // an image that is truncated, malformed or of the wrong kind
  'unreadable', // a file or blob that could not be read
  'bad-state', // saved state of another version, of another part, or damaged
  'bad-syntax', // assembly text that does not assemble
  'disposed', // the machine was already disposed of
  'aborted', // the caller's AbortSignal fired
  'busy', // run() was called while the machine runs
  'device-failed', // a device supplied by the user threw; the CPU stands at an instruction boundary
  'timeout', // a condition was not met within the limit the caller gave
  'unsupported', // a combination that this version does not offer
] as const

/** One of {@link ERROR_CODES}. */
export type ErrorCode = (typeof ERROR_CODES)[number]

/** The one error class the library throws: misuse by the host program, never an event inside the guest. */
export class VirtkitError extends Error {
  readonly code: ErrorCode

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = 'VirtkitError'
    this.code = code
  }
}
