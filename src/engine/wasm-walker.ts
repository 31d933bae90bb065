/**
 * The page walk and the TLB fill in WebAssembly, for what is ordinary: page tables and page in memory, present and permitted, A set in every upper
 * entry. It does to the TLB, to A and D of the last entry, and to the counters what `LinearMemory` does; everything else it leaves untouched, for `LinearMemory` to do from the
 * start. Source: Intel SDM Vol. 3A, "Paging".
 */

import {
  DTLB_ENTRIES,
  FILL_A20,
  FILL_COUNT,
  FILL_FETCH_COUNT,
  FILL_FETCH_RIGHTS,
  FILL_KEYS,
  FILL_LISTED,
  FILL_PAGES,
  FILL_PCID,
  FILL_PLACES,
  FILL_RIGHTS,
  FILL_WATCH,
  FILLED_LENGTH,
  ITLB_ENTRIES,
  OFF_DTLB,
  OFF_FILLED,
  OFF_ITLB,
  OFF_LARGE_SPANS,
  OFF_TAG_SELECT,
  OFF_WALK,
  TLB_ADDEND,
  TLB_CONTEXT,
  TLB_ENTRY_SHIFT,
  TLB_FLAGS,
  TLB_LINEAR,
  TLB_PHYSICAL,
  TLB_TAG_SUPER_READ,
  TLB_TAG_SUPER_WRITE,
  TLB_TAG_USER_READ,
  TLB_TAG_USER_WRITE,
  TLB_TAGGED,
} from '../cpu/layout.js'
import { TLBF_VALID } from '../cpu/linear-memory.js'
import { PLACE_WRITE } from '../memory/index.js'
import {
  ATTR_DIRTY,
  ATTR_GLOBAL,
  ATTR_LARGE,
  ATTR_USER,
  ATTR_WRITABLE,
  PAGING_MODES,
  PTE_A,
  PTE_D,
  PTE_P,
  PTE_PS,
  PTE_RW,
  PTE_US,
  WALK_GLOBAL,
  WALK_LARGE32,
  WALK_MODE,
  WALK_PDPTES,
  WALK_RESERVED,
  WALK_RESERVED_1G,
  WALK_RESERVED_4M,
  WALK_ROOT,
} from '../mmu/index.js'
import {
  block,
  branch,
  branchIf,
  type Code,
  getLocal,
  I32,
  I64,
  i32,
  i64,
  ifElse,
  type Label,
  type Locals,
  label,
  ret,
  select,
  setLocal,
} from './wasm-emitter.js'
import { f64 } from './wasm-floats.js'

/** What is missed: data, where bit 0 of the third parameter says that it is written, or instructions. */
type WalkKind = 'data' | 'fetch'

/** Bits 51–12 of an address, shifted down: a page number. */
const PAGE_NUMBER = 0xff_ffff_ffff

const base = getLocal(0)
const linear = getLocal(1)
const access = getLocal(2)

const toFloat = (a: Code): Code => [a, 0xb9] // f64.convert_i64_s
const fromFloat = (a: Code): Code => [a, 0xb1] // i64.trunc_f64_u

/**
 * Body of a function (CPU block: i32, linear address: i64[, access: i32]) → i32: returns 1 when the entry and its tags are good now; where it must not or cannot do
 * that, goes on to `slow`, which gives the result.
 */
export function walkBody(kind: WalkKind, locals: Locals, slow: Code): Code {
  return new Walk(kind, locals).body(slow)
}

/** Holds the locals while the body is put together. */
class Walk {
  private readonly fetch: boolean
  /** Leads to the slow way. Nothing has been changed before any branch to it. */
  private readonly slow: Label = label()
  /** `entry` is the one that maps the page. */
  private readonly leaf: Label = label()
  /** `attributes` and `frame` are known. */
  private readonly have: Label = label()
  /** Where the TLB entry is, less the offset of its half. */
  private readonly at: number
  /** Flags of the TLB entry that is there. */
  private readonly old: number
  /** Bit of the tag that must be set in the end, as in FILL_RIGHTS. */
  private readonly need: number
  /** The paging-structure entry just read, its place, and the word of its page in the table of places. */
  private readonly entry: number
  private readonly entryAt: number
  private readonly word: number
  /** Number of the physical page of the table to look into next, and finally of the page itself. */
  private readonly frame: number
  /** All entries together. */
  private readonly every: number
  private readonly any: number
  /** ATTR_LARGE or 0. */
  private readonly large: number
  private readonly attributes: number
  /** The low half of the last entry with A and D set; 0 if they were. */
  private readonly updated: number
  /** The walk was made, so the entry is to be written. */
  private readonly fresh: number
  private readonly rights: number
  private readonly page: number

  constructor(kind: WalkKind, locals: Locals) {
    this.fetch = kind === 'fetch'
    this.at = locals.add(I32)
    this.old = locals.add(I32)
    this.need = locals.add(I32)
    this.entryAt = locals.add(I32)
    this.word = locals.add(I32)
    this.large = locals.add(I32)
    this.attributes = locals.add(I32)
    this.updated = locals.add(I32)
    this.fresh = locals.add(I32)
    this.rights = locals.add(I32)
    this.entry = locals.add(I64)
    this.frame = locals.add(I64)
    this.every = locals.add(I64)
    this.any = locals.add(I64)
    this.page = locals.add(I64)
  }

  body(slow: Code): Code {
    const entries = this.fetch ? ITLB_ENTRIES : DTLB_ENTRIES
    const index = i32.and(i32.shrU(i32.wrap(linear), i32.const(12)), i32.const(entries - 1))
    const select = i32.shrU(i32.load(base, OFF_TAG_SELECT), i32.const(3))
    const bit = this.fetch ? select : i32.or(select, i32.and(access, i32.const(1)))
    return [
      block(this.slow, [
        setLocal(this.page, i64.and(linear, i64.const(-4096))),
        setLocal(this.at, i32.add(base, i32.shl(index, i32.const(TLB_ENTRY_SHIFT)))),
        setLocal(this.old, this.field(i32.load, TLB_FLAGS)),
        setLocal(this.need, i32.shl(i32.const(1), bit)),
        block(this.have, [this.hit(), block(this.leaf, this.walk()), this.finish()]),
        this.fill(),
        this.tags(),
        ret(i32.const(1)),
      ]),
      slow,
    ]
  }

  private field(load: (address: Code, offset?: number) => Code, offset: number): Code {
    return load(getLocal(this.at), (this.fetch ? OFF_ITLB : OFF_DTLB) + offset)
  }

  private setField(store: (address: Code, value: Code, offset?: number) => Code, offset: number, value: Code): Code {
    return store(getLocal(this.at), value, (this.fetch ? OFF_ITLB : OFF_DTLB) + offset)
  }

  private slowUnless(condition: Code): Code {
    return branchIf(this.slow, i32.eqz(condition))
  }

  /** What the tags may be for `attributes`. */
  private rightsOf(attributes: number): Code {
    const shift = i32.shl(i32.and(getLocal(attributes), i32.const(7)), i32.const(2))
    return i32.and(i32.shrU(i32.load(base, this.fetch ? FILL_FETCH_RIGHTS : FILL_RIGHTS), shift), i32.const(15))
  }

  /** Sets `word` for physical page `frame`, which must be memory. */
  private place(): Code {
    const masked = i32.and(i32.wrap(getLocal(this.frame)), i32.load(base, FILL_A20))
    return [
      branchIf(this.slow, i64.geU(getLocal(this.frame), i64.load32U(base, FILL_PAGES))),
      setLocal(this.word, i32.load(i32.add(i32.load(base, FILL_PLACES), i32.shl(masked, i32.const(2))))),
      this.slowUnless(getLocal(this.word)),
    ]
  }

  /** 1 if the page of `word` may be written without telling anybody. */
  private storable(): Code {
    const watch = i32.load8U(i32.add(i32.load(base, FILL_WATCH), i32.shrU(getLocal(this.word), i32.const(12))))
    return i32.and(i32.shrU(getLocal(this.word), i32.const(Math.log2(PLACE_WRITE))), i32.eqz(watch))
  }

  /** An entry that is good already lacks its tags only. */
  private hit(): Code {
    const walk = label()
    return block(walk, [
      this.branchUnless(walk, i32.and(getLocal(this.old), i32.const(TLBF_VALID))),
      this.branchUnless(walk, f64.eq(this.field(f64.load, TLB_LINEAR), toFloat(getLocal(this.page)))),
      ifElse(i32.eqz(i32.and(getLocal(this.old), i32.const(ATTR_GLOBAL))), [
        branchIf(walk, i32.ne(i32.and(this.field(i32.load, TLB_CONTEXT), i32.const(0xfff)), i32.load(base, FILL_PCID))),
      ]),
      this.fetch
        ? []
        : branchIf(
            walk,
            i32.and(i32.and(access, i32.const(1)), i32.eqz(i32.and(getLocal(this.old), i32.const(ATTR_DIRTY)))),
          ),
      this.branchUnless(walk, i32.and(this.rightsOf(this.old), getLocal(this.need))),
      setLocal(this.attributes, getLocal(this.old)),
      setLocal(this.frame, i64.shrU(fromFloat(this.field(f64.load, TLB_PHYSICAL)), i64.const(12))),
      branch(this.have),
    ])
  }

  private branchUnless(target: Label, condition: Code): Code {
    return branchIf(target, i32.eqz(condition))
  }

  /** Down to the entry that maps the page, then to `leaf`; without paging to `have`. */
  private walk(): Code {
    const mode = i32.load(base, OFF_WALK + WALK_MODE)
    return [
      setLocal(this.fresh, i32.const(1)),
      setLocal(this.every, i64.const(-1)),
      ifElse(
        i32.eq(mode, i32.const(PAGING_MODES.level4)),
        [
          branchIf(this.slow, i64.ne(i64.shrS(i64.shl(linear, i64.const(16)), i64.const(16)), linear)),
          setLocal(this.frame, i64.load32U(base, OFF_WALK + WALK_ROOT)),
          this.read(39),
          this.slowUnless(this.lowIs(PTE_P | PTE_A | PTE_PS, PTE_P | PTE_A)),
          this.descend(),
          this.read(30),
          this.table(0x3ffff, i32.load(base, OFF_WALK + WALK_RESERVED_1G)),
        ],
        [
          branchIf(this.slow, i32.wrap(i64.shrU(linear, i64.const(32)))),
          ifElse(i32.eq(mode, i32.const(PAGING_MODES.bits32)), this.walk32()),
          ifElse(i32.eqz(mode), [
            setLocal(this.attributes, i32.const(ATTR_USER | ATTR_WRITABLE | ATTR_DIRTY)),
            setLocal(this.frame, i64.shrU(linear, i64.const(12))),
            branch(this.have),
          ]),
          this.slowUnless(i32.eq(mode, i32.const(PAGING_MODES.pae))),
          setLocal(
            this.entry,
            i64.load(
              i32.add(base, i32.shl(i32.wrap(i64.shrU(linear, i64.const(30))), i32.const(3))),
              OFF_WALK + WALK_PDPTES,
            ),
          ),
          // It has neither rights nor A.
          this.slowUnless(this.low(PTE_P)),
          this.descend(false),
        ],
      ),
      this.read(21),
      this.table(0x1ff, i32.const(0x1fe000)),
      this.read(12),
      this.slowUnless(this.low(PTE_P)),
      setLocal(this.frame, this.number()),
    ]
  }

  private walk32(): Code {
    return [
      setLocal(this.frame, i64.load32U(base, OFF_WALK + WALK_ROOT)),
      this.read32(22),
      ifElse(i32.and(this.lowHalf(), i32.load(base, OFF_WALK + WALK_LARGE32)), [
        this.slowUnless(this.low(PTE_P)),
        branchIf(this.slow, i32.and(this.lowHalf(), i32.load(base, OFF_WALK + WALK_RESERVED_4M))),
        // Bits 20–13 are the address bits 39–32.
        setLocal(
          this.frame,
          i64.or(
            i64.or(
              i64.shl(i64.and(getLocal(this.entry), i64.const(0x1fe000)), i64.const(7)),
              i64.shl(i64.shrU(getLocal(this.entry), i64.const(22)), i64.const(10)),
            ),
            i64.and(i64.shrU(linear, i64.const(12)), i64.const(0x3ff)),
          ),
        ),
        setLocal(this.large, i32.const(ATTR_LARGE)),
        branch(this.leaf),
      ]),
      this.slowUnless(this.lowIs(PTE_P | PTE_A, PTE_P | PTE_A)),
      this.descend(),
      this.read32(12),
      this.slowUnless(this.low(PTE_P)),
      setLocal(this.frame, this.number()),
      branch(this.leaf),
    ]
  }

  private lowHalf(): Code {
    return i32.wrap(getLocal(this.entry))
  }

  private low(bits: number): Code {
    return i32.and(this.lowHalf(), i32.const(bits))
  }

  private lowIs(mask: number, value: number): Code {
    return i32.eq(this.low(mask), i32.const(value))
  }

  /** The page number in `entry`. */
  private number(): Code {
    return i64.and(i64.shrU(getLocal(this.entry), i64.const(12)), i64.const(PAGE_NUMBER))
  }

  /** Reads the 8-byte entry that bits `shift` on of the address choose in table `frame`. */
  private read(shift: number): Code {
    const index = i32.and(i32.wrap(i64.shrU(linear, i64.const(shift - 3))), i32.const(0xff8))
    return [
      this.place(),
      setLocal(this.entryAt, i32.or(i32.and(getLocal(this.word), i32.const(-4096)), index)),
      setLocal(this.entry, i64.load(getLocal(this.entryAt))),
    ]
  }

  private read32(shift: number): Code {
    const index = i32.and(i32.wrap(i64.shrU(linear, i64.const(shift - 2))), i32.const(0xffc))
    return [
      this.place(),
      setLocal(this.entryAt, i32.or(i32.and(getLocal(this.word), i32.const(-4096)), index)),
      setLocal(this.entry, i64.load32U(getLocal(this.entryAt))),
    ]
  }

  private collect(): Code {
    return [
      setLocal(this.every, i64.and(getLocal(this.every), getLocal(this.entry))),
      setLocal(this.any, i64.or(getLocal(this.any), getLocal(this.entry))),
    ]
  }

  /** On to the table that `entry` names. */
  private descend(collect = true): Code {
    return [collect ? this.collect() : [], setLocal(this.frame, this.number())]
  }

  /** `entry` names a table, or with PS a page whose number ends with the bits `rest` of the address's. `reserved`: bits that must be 0 then. */
  private table(rest: number, reserved: Code): Code {
    return [
      ifElse(i32.eqz(this.lowIs(PTE_P | PTE_A | PTE_PS, PTE_P | PTE_A)), [
        this.slowUnless(this.lowIs(PTE_P | PTE_PS, PTE_P | PTE_PS)),
        branchIf(this.slow, i32.and(this.lowHalf(), reserved)),
        setLocal(
          this.frame,
          i64.or(
            i64.and(this.number(), i64.const(PAGE_NUMBER - rest)),
            i64.and(i64.shrU(linear, i64.const(12)), i64.const(rest)),
          ),
        ),
        setLocal(this.large, i32.const(ATTR_LARGE)),
        branch(this.leaf),
      ]),
      this.descend(),
    ]
  }

  /** From the entries to `attributes` and `updated`. */
  private finish(): Code {
    const every = (bit: number, attribute: number): Code => moved(i32.wrap(getLocal(this.every)), bit, attribute)
    const written = this.fetch
      ? i32.const(PTE_A)
      : i32.or(i32.const(PTE_A), i32.shl(i32.and(access, i32.const(1)), i32.const(Math.log2(PTE_D))))
    return [
      this.collect(),
      branchIf(this.slow, i64.ne(i64.and(getLocal(this.any), i64.load(base, OFF_WALK + WALK_RESERVED)), i64.const(0))),
      setLocal(this.updated, i32.or(this.lowHalf(), written)),
      setLocal(
        this.attributes,
        i32.or(
          i32.or(
            i32.or(every(PTE_US, ATTR_USER), every(PTE_RW, ATTR_WRITABLE)),
            // XD is bit 63; ATTR_NO_EXECUTE is bit 2.
            i32.wrap(i64.and(i64.shrU(getLocal(this.any), i64.const(61)), i64.const(4))),
          ),
          i32.or(
            i32.or(moved(getLocal(this.updated), PTE_D, ATTR_DIRTY), getLocal(this.large)),
            i32.or(
              // G is bit 8, ATTR_GLOBAL bit 4.
              i32.shrU(i32.and(this.lowHalf(), i32.load(base, OFF_WALK + WALK_GLOBAL)), i32.const(4)),
              // The protection key is in bits 62–59; outside 4-level paging those are reserved or do not exist.
              i32.and(i32.wrap(i64.shrU(getLocal(this.entry), i64.const(51))), i32.const(0xf00)),
            ),
          ),
        ),
      ),
      ifElse(
        i32.eq(getLocal(this.updated), this.lowHalf()),
        setLocal(this.updated, i32.const(0)),
        this.slowUnless(this.storable()),
      ),
    ]
  }

  /** Works out the tags, and writes what a guest can see: A and D, and the entry. */
  private fill(): Code {
    const count = this.fetch ? FILL_FETCH_COUNT : FILL_COUNT
    const listed = i32.load(base, FILL_LISTED)
    const span = i32.and(i32.wrap(i64.shrU(linear, i64.const(30))), i32.const(0xff))
    return [
      setLocal(this.rights, this.rightsOf(this.attributes)),
      branchIf(this.slow, i32.and(getLocal(this.attributes), i32.load(base, FILL_KEYS))),
      this.place(),
      this.fetch
        ? setLocal(this.rights, i32.and(getLocal(this.rights), i32.const(5)))
        : ifElse(
            i32.eqz(i32.and(moved(getLocal(this.attributes), ATTR_DIRTY, 1), this.storable())),
            setLocal(this.rights, i32.and(getLocal(this.rights), i32.const(5))),
          ),
      this.slowUnless(i32.and(getLocal(this.rights), getLocal(this.need))),
      ifElse(getLocal(this.fresh), [
        ifElse(i32.eqz(getLocal(this.old)), [
          branchIf(this.slow, i32.eq(listed, i32.const(FILLED_LENGTH))),
          i32.store(
            i32.add(base, i32.shl(listed, i32.const(2))),
            i32.add(getLocal(this.at), i32.const(this.fetch ? OFF_ITLB : OFF_DTLB)),
            OFF_FILLED,
          ),
          i32.store(base, i32.add(listed, i32.const(1)), FILL_LISTED),
        ]),
        ifElse(getLocal(this.updated), i32.store(getLocal(this.entryAt), getLocal(this.updated))),
        ifElse(
          i32.and(getLocal(this.attributes), i32.const(ATTR_LARGE)),
          i32.store8(i32.add(base, span), i32.const(1), OFF_LARGE_SPANS),
        ),
        this.setField(i32.store, TLB_FLAGS, i32.or(getLocal(this.attributes), i32.const(TLBF_VALID))),
        this.setField(f64.store, TLB_LINEAR, toFloat(getLocal(this.page))),
        this.setField(f64.store, TLB_PHYSICAL, toFloat(i64.shl(getLocal(this.frame), i64.const(12)))),
        this.setField(i32.store, TLB_CONTEXT, i32.load(base, FILL_PCID)),
        i64.store(base, i64.add(i64.load(base, count), i64.const(1)), count),
      ]),
    ]
  }

  private tags(): Code {
    const tag = (offset: number, right: number): Code =>
      this.setField(
        i64.store,
        offset,
        select(i32.and(getLocal(this.rights), i32.const(right)), getLocal(this.page), i64.const(1)),
      )
    return [
      tag(TLB_TAG_SUPER_READ, 1),
      tag(TLB_TAG_SUPER_WRITE, 2),
      tag(TLB_TAG_USER_READ, 4),
      tag(TLB_TAG_USER_WRITE, 8),
      this.setField(
        i32.store,
        TLB_ADDEND,
        i32.sub(i32.and(getLocal(this.word), i32.const(-4096)), i32.wrap(getLocal(this.page))),
      ),
      this.setField(i32.store, TLB_TAGGED, i32.const(1)),
    ]
  }
}

/** Bit `from` of `value` (a mask of one bit) where `to` has its one. */
function moved(value: Code, from: number, to: number): Code {
  const down = Math.log2(from) - Math.log2(to)
  const shifted = down >= 0 ? i32.shrU(value, i32.const(down)) : i32.shl(value, i32.const(-down))
  return i32.and(shifted, i32.const(to))
}
