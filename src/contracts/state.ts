/** A value that saved state may consist of: plain data that structured clone and JSON (after typed arrays are encoded) can carry. */
export type Plain = null | boolean | number | string | Uint8Array | readonly Plain[] | { readonly [key: string]: Plain }

/**
 * A part whose state can be taken out and put back. `S` is plain data: numbers, strings (64-bit values as hex),
 * typed arrays for bulk, alarms as absolute deadlines. `loadState` validates everything before it changes anything, and throws a
 * `VirtkitError` with code `bad-state` when the data is of another version or damaged.
 */
export interface Stateful<S> {
  /** The state as plain data, with its `version`. */
  saveState(): S
  /** Takes a saved state over. Throws `bad-state`, and changes nothing, when it is not a valid one. */
  loadState(state: S): void
}
