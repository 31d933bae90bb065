import { VirtkitError } from '../contracts/index.js'

/** Bytes in a page of guest-physical memory. */
export const PAGE_SIZE: number = 4096

/** First byte beyond the largest physical address space of the architecture (52 bits). */
export const PHYSICAL_LIMIT: number = 2 ** 52

/**
 * Rejects a range that is empty, not made of whole bytes, or reaches beyond 2^52.
 * @throws VirtkitError `bad-range`
 */
export function checkRange(what: string, base: number, size: number): void {
  if (!Number.isSafeInteger(base) || base < 0) {
    throw new VirtkitError('bad-range', `${what}: the base must be an integer from 0, got ${base}`)
  }
  if (!Number.isSafeInteger(size) || size <= 0) {
    throw new VirtkitError('bad-range', `${what}: the size must be an integer above 0, got ${size}`)
  }
  if (base + size > PHYSICAL_LIMIT) {
    throw new VirtkitError('bad-range', `${what}: ${hex(base)} + ${hex(size)} reaches beyond 2^52`)
  }
}

/**
 * Rejects a number that is not a multiple of the page size.
 * @throws VirtkitError `bad-range`
 */
export function checkPageAligned(what: string, value: number): void {
  if (value % PAGE_SIZE !== 0) {
    throw new VirtkitError('bad-range', `${what} must be a multiple of ${PAGE_SIZE}, got ${hex(value)}`)
  }
}

/** A number as 0x…, for messages. */
export function hex(value: number): string {
  return Number.isSafeInteger(value) && value >= 0 ? `0x${value.toString(16)}` : String(value)
}
