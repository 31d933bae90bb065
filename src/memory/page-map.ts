import { PAGE_SIZE, PHYSICAL_LIMIT } from './ranges.js'
import { type Direction, ENTRY_MIXED, ENTRY_UNMAPPED, type RegionMap } from './regions.js'

/** Pages below this one (4 GiB) have an entry each; above, where maps are sparse and huge, runs of pages are searched. */
const LOW_PAGES = 0x100000

/** A page that is shared by several regions: `entries[i]` holds up to the offset `ends[i]`. */
interface MixedPage {
  readonly ends: number[]
  readonly entries: number[]
}

/**
 * What one direction of access finds at every physical page: an array look-up below 4 GiB, above it a look at the run that
 * answered last and then a binary search. Nothing is allocated by a look-up.
 */
export class PageMap {
  readonly #direction: Direction
  /** Entries of pages from 0; grows at configuration up to the highest page used below 4 GiB. */
  #low: Int32Array = new Int32Array(0)
  #mixed: Map<number, MixedPage> = new Map()
  #runStart: number[] = []
  #runEnd: number[] = []
  #runEntry: number[] = []
  #runCounts: boolean[] = []
  #lastRun = 0

  constructor(direction: Direction) {
    this.#direction = direction
  }

  /** The entry of a page: a frame from 0, or one of the negative codes. Any number is a valid question. */
  entry(page: number): number {
    const low = this.#low
    if (page < low.length) {
      const entry = low[page]
      return entry === undefined ? ENTRY_UNMAPPED : entry
    }
    return page < LOW_PAGES ? ENTRY_UNMAPPED : this.#search(page)
  }

  /** For a page whose entry is `ENTRY_MIXED`: the entry that holds for all of `[offset, offset + size)`, or `ENTRY_MIXED` if they differ. */
  part(page: number, offset: number, size: number): number {
    const mixed = this.#mixed.get(page)
    if (mixed === undefined) return ENTRY_UNMAPPED
    const ends = mixed.ends
    let i = 0
    while (i < ends.length && offset >= ends[i]!) i++
    return offset + size <= ends[i]! ? mixed.entries[i]! : ENTRY_MIXED
  }

  /** Reads the regions again for the pages that `[from, to)` touches. */
  rebuild(regions: RegionMap, from: number, to: number): void {
    const first = Math.floor(from / PAGE_SIZE)
    const end = Math.ceil(Math.min(to, PHYSICAL_LIMIT) / PAGE_SIZE)
    if (first < LOW_PAGES) this.#rebuildLow(regions, first, Math.min(end, LOW_PAGES))
    if (end > LOW_PAGES) this.#rebuildHigh(regions)
  }

  #rebuildLow(regions: RegionMap, first: number, end: number): void {
    if (end > this.#low.length) {
      const grown = new Int32Array(end).fill(ENTRY_UNMAPPED)
      grown.set(this.#low)
      this.#low = grown
    }
    const low = this.#low
    this.#forget(first, end)
    this.#paint(regions, first, end, (start, stop, entry, counts) => {
      if (!counts) low.fill(entry, start, stop)
      else for (let page = start; page < stop; page++) low[page] = entry + page - start
    })
  }

  #rebuildHigh(regions: RegionMap): void {
    const end = PHYSICAL_LIMIT / PAGE_SIZE
    this.#forget(LOW_PAGES, end)
    this.#runStart = []
    this.#runEnd = []
    this.#runEntry = []
    this.#runCounts = []
    this.#lastRun = 0
    this.#paint(regions, LOW_PAGES, end, (start, stop, entry, counts) => {
      if (entry === ENTRY_UNMAPPED) return
      this.#runStart.push(start)
      this.#runEnd.push(stop)
      this.#runEntry.push(entry)
      this.#runCounts.push(counts)
    })
  }

  #forget(first: number, end: number): void {
    for (const page of this.#mixed.keys()) {
      if (page >= first && page < end) this.#mixed.delete(page)
    }
  }

  /** Calls `run` for stretches of whole pages in ascending order, and records the pages that are cut into pieces. */
  #paint(
    regions: RegionMap,
    first: number,
    end: number,
    run: (start: number, stop: number, entry: number, counts: boolean) => void,
  ): void {
    const pieces = regions.flatten(first * PAGE_SIZE, end * PAGE_SIZE, this.#direction)
    for (const { from, to, entry, counts } of pieces) {
      const headPage = Math.floor(from / PAGE_SIZE)
      const tailPage = Math.floor(to / PAGE_SIZE)
      const wholeFrom = Math.ceil(from / PAGE_SIZE)
      if (headPage < wholeFrom) this.#addPart(headPage, Math.min(to - headPage * PAGE_SIZE, PAGE_SIZE), entry, run)
      if (wholeFrom < tailPage) run(wholeFrom, tailPage, counts ? entry + wholeFrom - headPage : entry, counts)
      if (wholeFrom <= tailPage && to % PAGE_SIZE !== 0) {
        this.#addPart(tailPage, to - tailPage * PAGE_SIZE, counts ? entry + tailPage - headPage : entry, run)
      }
    }
  }

  #addPart(
    page: number,
    end: number,
    entry: number,
    run: (start: number, stop: number, entry: number, counts: boolean) => void,
  ): void {
    let mixed = this.#mixed.get(page)
    if (mixed === undefined) {
      mixed = { ends: [], entries: [] }
      this.#mixed.set(page, mixed)
      run(page, page + 1, ENTRY_MIXED, false)
    }
    mixed.ends.push(end)
    mixed.entries.push(entry)
  }

  #search(page: number): number {
    const starts = this.#runStart
    const ends = this.#runEnd
    let run = this.#lastRun
    if (run >= starts.length || !(page >= starts[run]! && page < ends[run]!)) {
      let low = 0
      let high = starts.length
      while (low < high) {
        const middle = (low + high) >>> 1
        if (ends[middle]! <= page) low = middle + 1
        else high = middle
      }
      // A page that is no number at all compares false with everything and ends here too.
      if (low >= starts.length || !(page >= starts[low]!)) return ENTRY_UNMAPPED
      run = low
      this.#lastRun = run
    }
    return this.#runCounts[run] ? this.#runEntry[run]! + page - starts[run]! : this.#runEntry[run]!
  }
}
