import { describe, expect, it } from 'vitest'
import { geometricMean, median, rotated } from '../../bench/statistics.js'

describe('statistics of benchmarks', () => {
  it('takes the middle value, or the mean of two', () => {
    expect(median([3, 1, 2])).toBe(2)
    expect(median([10, 9, 2, 1])).toBe(5.5)
    expect(median([7])).toBe(7)
    expect(median([])).toBeNaN()
  })

  it('does not change what it is given', () => {
    const values = [3, 1, 2]
    median(values)
    expect(values).toEqual([3, 1, 2])
  })

  it('takes the geometric mean', () => {
    expect(geometricMean([0.5, 2])).toBeCloseTo(1, 12)
    expect(geometricMean([1, 2, 4])).toBeCloseTo(2, 12)
    expect(geometricMean([])).toBeNaN()
  })

  it('lets each contestant begin in turn', () => {
    const list = ['a', 'b', 'c']
    expect([0, 1, 2, 3].map((round) => rotated(list, round).join(''))).toEqual(['abc', 'bca', 'cab', 'abc'])
    expect(rotated([], 5)).toEqual([])
  })
})
