/**
 * Which accesses of a region remember the page that they met last. Accesses through the same registers mostly meet the same page; a pair of locals
 * then answers with a comparison what else takes a look into the TLB. What a TLB entry said stays true until an entry is filled, and whoever fills one
 * inside of a region makes all pairs forget.
 */

import { OFF_RIP, SLOT_ZERO } from '../cpu/layout.js'
import { EXT_FLAT, EXT_FOR_WRITE, UOP, UOP_B, UOP_C, UOP_EXT, UOP_IMM, UOP_IP, UOP_OP, UOP_SIZE } from '../cpu/uops.js'
import type { RegionBlock } from './region-builder.js'
import { components } from './region-flow.js'
import { gpr } from './threaded-builder.js'

/** Pairs in a region: more would only move others out of the host's registers. */
const MOST_PAGES = 6
/** What an access in a loop weighs against one outside. */
const LOOP_WEIGHT = 6
/** A pair has to be worth it. */
const LEAST_WEIGHT = 3

/** The records of the machine's linear memory. */
export interface Records {
  readonly u16: Uint16Array
  readonly i32s: Int32Array
}

/** What accesses that are likely to meet the same page have in common; −1 for those that do not take part. `place`: where the block is, see `placeIn`. */
export function pageKey({ u16, i32s }: Records, record: number, place: number): number {
  const kind = u16[(record + UOP_OP) >> 1]! >> 2
  const ext = i32s[(record + UOP_EXT) >> 2]!
  if ((ext & EXT_FLAT) === 0) return -1
  let write = 0
  switch (kind) {
    case UOP.PUSH:
    case UOP.PUSH_IMM:
    case UOP.PUSH_RIP:
      return stackKey(1)
    case UOP.POP:
    case UOP.LOAD_STACK:
      return stackKey(0)
    case UOP.STORE:
    case UOP.STORE_IMM:
    case UOP.STORE_V:
      write = 1
      break
    case UOP.LOAD:
      write = ext & EXT_FOR_WRITE ? 1 : 0
      break
    case UOP.LOAD_ZX:
    case UOP.LOAD_SX32:
    case UOP.LOAD_SX64:
    case UOP.LOAD_V:
    case UOP.X87_MEM:
      break
    default:
      return -1
  }
  const base = u16[(record + UOP_B) >> 1]!
  const index = u16[(record + UOP_C) >> 1]!
  if (index === SLOT_ZERO) {
    const displacement = i32s[(record + UOP_IMM) >> 2]!
    if (base === SLOT_ZERO) return ABSOLUTE + (displacement >>> 12) * 2 + write
    if (base === OFF_RIP)
      return (
        RELATIVE + (Math.floor((place + u16[(record + UOP_IP) >> 1]! + displacement) / 4096) + 0x100000) * 2 + write
      )
  }
  return registerKey(base, index, write)
}

const ABSOLUTE = 2 ** 32
const RELATIVE = 2 ** 33

function registerKey(base: number, index: number, write: number): number {
  return (base * 0x1000 + index) * 2 + write
}

function stackKey(write: number): number {
  return registerKey(gpr(4), SLOT_ZERO, write)
}

/** The keys of accesses for which remembering pays, at most {@link MOST_PAGES}. */
export function planPages(
  blocks: readonly RegionBlock[],
  successors: readonly (readonly number[])[],
  records: Records,
): number[] {
  const weights = new Map<number, number>()
  const loops = new Set<number>()
  const all = blocks.map((_, n) => n)
  for (const part of components(all, successors, new Set()))
    if (part.length > 1 || successors[part[0]!]!.includes(part[0]!)) for (const n of part) loops.add(n)
  blocks.forEach((block, n) => {
    const weight = loops.has(n) ? LOOP_WEIGHT : 1
    for (let i = 0; i < block.records; i++) {
      const key = pageKey(records, block.lifted + i * UOP_SIZE, block.page + block.offset)
      if (key >= 0) weights.set(key, (weights.get(key) ?? 0) + weight)
    }
  })
  return [...weights]
    .filter(([, weight]) => weight >= LEAST_WEIGHT)
    .sort((a, b) => b[1] - a[1])
    .slice(0, MOST_PAGES)
    .map(([key]) => key)
}
