/** Sums over measurements. */

/** The middle of the values, of two middle ones the mean; NaN of none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const half = sorted.length >> 1
  if (sorted.length === 0) return Number.NaN
  return sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2
}

/** The geometric mean of positive values; NaN of none. */
export function geometricMean(values: readonly number[]): number {
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length)
}

/** The contestants in the order of a round: each comes first in turn. */
export function rotated<T>(list: readonly T[], round: number): T[] {
  const by = list.length === 0 ? 0 : round % list.length
  return [...list.slice(by), ...list.slice(0, by)]
}
