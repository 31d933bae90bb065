// How the hit rate of a TLB depends on its geometry, for a program that walks a matrix by rows and by columns.
import { Tlb } from 'virtkit/mmu'

const ROWS = 64
const ROW_BYTES = 4096 + 256 // a row is a little longer than a page
const ELEMENT = 8

/** Addresses of one pass over the matrix. */
function* addresses(byColumns: boolean): Generator<number> {
  const columns = ROW_BYTES / ELEMENT
  for (let i = 0; i < ROWS * columns; i++) {
    const row = byColumns ? i % ROWS : Math.floor(i / columns)
    const column = byColumns ? Math.floor(i / ROWS) : i % columns
    yield row * ROW_BYTES + column * ELEMENT
  }
}

function hitRate(sets: number, ways: number, byColumns: boolean): number {
  const tlb = new Tlb({ sets, ways })
  for (const address of addresses(byColumns)) {
    const page = Math.floor(address / 4096)
    if (!tlb.lookup(page)) tlb.fill(page, page, 4096, 0)
  }
  return tlb.hits / (tlb.hits + tlb.misses)
}

for (const byColumns of [false, true]) {
  console.log(`by ${byColumns ? 'columns' : 'rows'}:`)
  for (const [sets, ways] of [
    [1, 4],
    [16, 1],
    [4, 4],
    [1, 16],
    [64, 1],
    [16, 4],
    [1, 64],
    [32, 4],
  ] as const) {
    const rate = hitRate(sets, ways, byColumns)
    const bar = '#'.repeat(Math.round(rate * 40))
    const geometry = `${String(sets).padStart(2)} sets x ${String(ways).padStart(2)} ways`
    console.log(`  ${geometry}  ${(rate * 100).toFixed(1).padStart(5)} %  ${bar}`.trimEnd())
  }
}
