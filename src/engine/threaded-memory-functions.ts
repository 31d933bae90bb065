/**
 * What handlers and regions share in functions of their own: finding the place of an access that the TLB's tags did not settle, across two pages
 * too, and moving many elements of string instructions at once.
 *
 * An access across two pages works on a window of 32 bytes in the CPU block: the last 16 of the one page and the first 16 of the other. A
 * store there has to be committed.
 */

import {
  DTLB_ENTRIES,
  OFF_DTLB,
  OFF_FLAGS_REST,
  OFF_TAG_SELECT,
  TLB_ADDEND,
  TLB_ENTRY_SHIFT,
  TLB_TAG_USER_READ,
} from '../cpu/layout.js'
import { FLAG_AC } from '../isa/flags.js'
import { ACCESS_CROSS, ACCESS_WRITE, OFF_WINDOW, type SharedFunctions } from './threaded-builder.js'
import { COMPARE_STRINGS_PARAMS, compareStringsBody } from './threaded-compare-strings.js'
import {
  branchIf,
  type Code,
  call,
  getLocal,
  I32,
  I64,
  i32,
  i64,
  ifElse,
  type Load,
  type Locals,
  label,
  loop,
  type ModuleBuilder,
  memoryCopy,
  memoryFill,
  ret,
  type Store,
  select,
  setLocal,
  teeLocal,
  unreachable,
  type ValueType,
} from './wasm-emitter.js'

/** Bytes of each page in the window, and behind both of them i32 each: where the two parts are. */
const PART = 16
const WINDOW_FIRST = 2 * PART
const WINDOW_SECOND = 2 * PART + 4

/** Their parameters and results, by name. */
export const SHARED_TYPES: Readonly<
  Record<string, { readonly params: readonly ValueType[]; readonly results: readonly ValueType[] }>
> = {
  find: { params: [I32, I64, I32], results: [I32] },
  commit: { params: [I32, I32], results: [] },
  move: { params: [I32, I32, I32, I32], results: [] },
  fill: { params: [I32, I32, I64], results: [] },
  compareStrings: { params: COMPARE_STRINGS_PARAMS, results: [I32] },
}

/** Adds them to a module. `walk` is the function that fills the TLB: (CPU block, linear, access) → 1 when the entry is good. */
export function defineSharedFunctions(m: ModuleBuilder, walk: number, vectors: boolean): SharedFunctions {
  const add = (name: keyof SharedFunctions, build: (locals: Locals) => Code): number => {
    const { params, results } = SHARED_TYPES[name]!
    return m.addFunction(params, results, build)
  }
  const miss = m.addFunction([I32, I64, I32], [I32], () => missBody(walk))
  return {
    find: add('find', (locals) => findBody(miss, locals)),
    commit: add('commit', commitBody),
    move: add('move', moveBody),
    fill: add('fill', fillBody),
    compareStrings: add('compareStrings', vectors ? compareStringsBody : () => unreachable),
  }
}

const base = getLocal(0)
const linear = getLocal(1)
const access = getLocal(2)

/** (CPU block, linear, access) → 1 when the entry is good. */
function missBody(walk: number): Code {
  return [
    ifElse(
      i32.and(
        i32.eqz(i32.load(base, OFF_TAG_SELECT)),
        i32.ne(i32.and(i32.load(base, OFF_FLAGS_REST), i32.const(FLAG_AC)), i32.const(0)),
      ),
      [
        // A supervisor that may touch user pages has the rights of users there: between STAC and CLAC, kernels do little else.
        ifElse(userTagMatches(), ret(i32.const(1))),
        ifElse(call(walk, base, linear, access), ret(i32.const(1))),
        ret(userTagMatches()),
      ],
    ),
    call(walk, base, linear, access),
  ]
}

/** Address of the entry of a page, less the table's offset. */
function entryOf(address: Code): Code {
  return i32.add(
    base,
    i32.and(i32.shrU(i32.wrap(address), i32.const(6)), i32.const((DTLB_ENTRIES - 1) << TLB_ENTRY_SHIFT)),
  )
}

/** Where an address is that its entry is good for. */
function placeOf(address: Code): Code {
  return i32.add(i32.load(entryOf(address), OFF_DTLB + TLB_ADDEND), i32.wrap(address))
}

/** (base, linear, access) of {@link missBody}: a user access of this kind would find the entry good. */
function userTagMatches(): Code {
  // A write's tag follows that of a read.
  const tag = i64.load(
    i32.add(entryOf(linear), i32.shl(i32.and(access, i32.const(ACCESS_WRITE)), i32.const(3))),
    OFF_DTLB + TLB_TAG_USER_READ,
  )
  return i64.eq(tag, i64.and(linear, i64.const(-4096)))
}

function copyPart(to: Code, toOffset: number, from: Code, fromOffset: number): Code {
  return [0, 8].map((n) => i64.store(to, i64.load(from, fromOffset + n), toOffset + n))
}

/** (CPU block, linear, access) → the access's place, or 0 when the instruction needs more than that. */
function findBody(miss: number, locals: Locals): Code {
  const room = locals.add(I32)
  const size = locals.add(I32)
  const second = locals.add(I64)
  const first = locals.add(I32)
  const last = locals.add(I32)
  const part = (address: Code, bytes: Code): Code =>
    ifElse(
      i32.eqz(
        call(miss, base, address, i32.or(i32.and(access, i32.const(ACCESS_WRITE)), i32.shl(bytes, i32.const(1)))),
      ),
      ret(i32.const(0)),
    )
  return [
    setLocal(room, i32.sub(i32.const(4096), i32.and(i32.wrap(linear), i32.const(4095)))),
    setLocal(size, i32.and(i32.shrU(access, i32.const(1)), i32.const(0x1f))),
    ifElse(i32.gtU(getLocal(size), getLocal(room)), [
      ifElse(i32.eqz(i32.and(access, i32.const(ACCESS_CROSS))), ret(i32.const(0))),
      setLocal(second, i64.add(i64.and(linear, i64.const(-4096)), i64.const(4096))),
      // Where addresses wrap, or stop being canonical, is no matter for this.
      ifElse(i32.eqz(i32.wrap(getLocal(second))), ret(i32.const(0))),
      // Both pages, in this order, before anything is read or written. Neighbours do not evict each other.
      part(linear, getLocal(room)),
      part(getLocal(second), i32.sub(getLocal(size), getLocal(room))),
      i32.store(
        base,
        teeLocal(first, i32.sub(i32.add(placeOf(linear), getLocal(room)), i32.const(PART))),
        OFF_WINDOW + WINDOW_FIRST,
      ),
      i32.store(base, teeLocal(last, placeOf(getLocal(second))), OFF_WINDOW + WINDOW_SECOND),
      copyPart(base, OFF_WINDOW, getLocal(first), 0),
      copyPart(base, OFF_WINDOW + PART, getLocal(last), 0),
      ret(i32.sub(i32.add(base, i32.const(OFF_WINDOW + PART)), getLocal(room))),
    ]),
    ifElse(i32.eqz(call(miss, base, linear, access)), ret(i32.const(0))),
    placeOf(linear),
  ]
}

/** (CPU block, place of a store that was made). */
function commitBody(locals: Locals): Code {
  const window = locals.add(I32)
  return ifElse(
    i32.ltU(i32.sub(getLocal(1), teeLocal(window, i32.add(base, i32.const(OFF_WINDOW)))), i32.const(2 * PART)),
    [
      // What the access does not cover is written as it was.
      copyPart(i32.load(getLocal(window), WINDOW_FIRST), 0, getLocal(window), 0),
      copyPart(i32.load(getLocal(window), WINDOW_SECOND), 0, getLocal(window), PART),
    ],
  )
}

/**
 * (target, source, bytes, down): moves bytes upwards from two places, or downwards to before them, one element after the other where that shows: what
 * a target inside of the source takes over repeats itself. The distance is then at least that of an element.
 */
function moveBody(locals: Locals): Code {
  const [target, source, length, down] = [0, 1, 2, 3].map(getLocal) as [Code, Code, Code, Code]
  const chunk = locals.add(I32)
  const ahead = locals.add(I32)
  const again = label()
  const n = getLocal(chunk)
  return [
    setLocal(ahead, select(down, i32.sub(source, target), i32.sub(target, source))),
    ifElse(i32.geU(i32.sub(getLocal(ahead), i32.const(1)), i32.sub(length, i32.const(1))), [
      // A call costs the host more than a few words do.
      ifElse(i32.and(i32.leU(length, i32.const(FEW)), i32.eqz(down)), [
        inWords(length, (bytes, load, store) => [
          store(target, load(source)),
          setLocal(0, i32.add(target, i32.const(bytes))),
          setLocal(1, i32.add(source, i32.const(bytes))),
        ]),
        ret(),
      ]),
      setLocal(chunk, select(down, length, i32.const(0))),
      memoryCopy(i32.sub(target, n), i32.sub(source, n), length),
      ret(),
    ]),
    // From its start to what has been written so far the source repeats itself, so that the pieces become larger and larger.
    loop(again, [
      setLocal(chunk, select(i32.ltU(getLocal(ahead), length), getLocal(ahead), length)),
      ifElse(
        down,
        [setLocal(0, i32.sub(target, n)), memoryCopy(target, i32.sub(source, n), n)],
        [memoryCopy(target, source, n), setLocal(0, i32.add(target, n))],
      ),
      setLocal(ahead, i32.add(getLocal(ahead), n)),
      branchIf(again, teeLocal(2, i32.sub(length, n))),
    ]),
  ]
}

/** Bytes up to which words are faster than the host's functions for memory. */
const FEW = 64

/** `one` for eight bytes after the other, then for the rest, upwards. For at most {@link FEW} bytes. */
function inWords(length: Code, one: (bytes: number, load: Load, store: Store) => Code): Code {
  return [
    [8, 16, 24, 32, 40, 48, 56, 64].map((bytes) =>
      ifElse(i32.geU(length, i32.const(bytes)), one(8, i64.load, i64.store)),
    ),
    ifElse(i32.and(length, i32.const(4)), one(4, i32.load, i32.store)),
    ifElse(i32.and(length, i32.const(2)), one(2, i32.load16U, i32.store16)),
    ifElse(i32.and(length, i32.const(1)), one(1, i32.load8U, i32.store8)),
  ]
}

/** (target, bytes, eight bytes of the pattern). */
function fillBody(): Code {
  const target = getLocal(0)
  const length = getLocal(1)
  const pattern = getLocal(2)
  const again = label()
  const rest = (bytes: number, store: (address: Code, value: Code) => Code): Code =>
    ifElse(i32.and(length, i32.const(bytes)), [store(target, pattern), setLocal(0, i32.add(target, i32.const(bytes)))])
  return [
    ifElse(i32.and(i64.eq(i64.rotl(pattern, i64.const(8)), pattern), i32.gtU(length, i32.const(FEW))), [
      memoryFill(target, i32.wrap(pattern), length),
      ret(),
    ]),
    ifElse(i32.geU(length, i32.const(8)), [
      loop(again, [
        i64.store(target, pattern),
        setLocal(0, i32.add(target, i32.const(8))),
        branchIf(again, i32.geU(teeLocal(1, i32.sub(length, i32.const(8))), i32.const(8))),
      ]),
    ]),
    rest(4, (address, value) => i32.store(address, i32.wrap(value))),
    rest(2, (address, value) => i32.store16(address, i32.wrap(value))),
    rest(1, (address, value) => i32.store8(address, i32.wrap(value))),
  ]
}
