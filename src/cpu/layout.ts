/**
 * Where a CPU's state lives. Every CPU owns one block of the machine's linear memory; offsets below are bytes from the
 * start of that block, so the same translated code serves several CPUs. All fields are little-endian.
 *
 * A *slot* is the byte offset of an operand inside this block, as micro-ops name it: `SLOT_GPR + 8 * reg` is a general
 * register, one byte further its bits 15–8 (AH–BH), and so on. Slots fit 16 bits.
 */

/** Bytes per CPU block. */
export const CPU_BLOCK_SIZE = 0x40000

/** RAX RCX RDX RBX RSP RBP RSI RDI R8–R15, 8 bytes each. */
export const SLOT_GPR = 0x000
/** Eight 8-byte temporaries that live for one instruction. */
export const SLOT_TEMP = 0x080
/** Eight bytes that always read zero: the base or index of an address that has none. */
export const SLOT_ZERO = 0x0c0

/** i64: the last flag-setting result, sign-extended from its width. See cpu/flags.ts. */
export const OFF_FLAG_RESULT = 0x0c8
/** i32: carries and deltas of the last flag-setting operation. See cpu/flags.ts. */
export const OFF_FLAG_AUX = 0x0d0
/** i32: the bits of RFLAGS other than OF SF ZF AF PF CF (bit 1 included). */
export const OFF_FLAGS_REST = 0x0d4
/** i32: MODE_ bits that instructions are lifted for. */
export const OFF_MODE = 0x0d8
/** i32: byte offset inside a TLB entry of the tag for a data read at the current privilege: 0 (supervisor) or 16 (user). The write tag follows 8 bytes later. */
export const OFF_TAG_SELECT = 0x0dc
/** i64: RIP of the instruction that runs, or of the block that runs while compiled code is inside one. */
export const OFF_RIP = 0x0e0
/** i32: instructions left until the engine must return to the dispatcher. */
export const OFF_REMAINING = 0x0e8

/** Eight segment caches (ES CS SS DS FS GS LDTR TR), {@link SEG_STRIDE} bytes each. */
export const OFF_SEG = 0x100
export const SEG_STRIDE = 0x40
/** u32: the visible selector. */
export const SEG_SELECTOR = 0x00
/** u32: access rights, `(descriptorHigh >>> 8) & 0xf0ff`; {@link SEG_UNUSABLE} marks a null selector in protected mode. */
export const SEG_ATTR = 0x04
/** i64: base. */
export const SEG_BASE = 0x08
/** u32: limit in bytes, expanded. */
export const SEG_LIMIT = 0x10
/** i64: highest offset that may be read without looking at the attributes (expand-up, readable); -1 = look. */
export const SEG_READ_LIMIT = 0x18
/** i64: highest offset that may be written without looking at the attributes; -1 = look. */
export const SEG_WRITE_LIMIT = 0x20
/** In `attr`: the register holds a null selector and must not be used. */
export const SEG_UNUSABLE = 0x10000

export const SEG_LDTR = 6
export const SEG_TR = 7

/** i64 base, then u32 limit at +8. */
export const OFF_GDTR = 0x300
export const OFF_IDTR = 0x310
/** u32. */
export const OFF_CR0 = 0x320
export const OFF_CR4 = 0x324
export const OFF_EFER = 0x328
export const OFF_PKRU = 0x32c
/** i64 each. */
export const OFF_CR2 = 0x330
export const OFF_CR3 = 0x338
/** u32: task-priority bits 3–0. */
export const OFF_CR8 = 0x340
/** u8 by segment register: base 0, limit 4 GiB, present, expand-up, and (ES SS DS FS GS) writable data. */
export const OFF_FLAT = 0x348
/** DR0–DR7, 8 bytes each. */
export const OFF_DR = 0x360

/**
 * The *physical* x87 registers R0–R7, 16 bytes each: the 64-bit significand, then sign and exponent in 2 bytes; ST(i) is R((TOP + i) mod 8). MM0–MM7 are
 * the significands of R0–R7.
 */
export const OFF_X87 = 0x400
/** XMM0–XMM15, 16 bytes each. */
export const OFF_XMM = 0x500
/** u16: x87 control word. */
export const OFF_FCW = 0x600
/** u16: x87 status word, with TOP left 0: it lives in {@link OFF_TOP}. Bits B and ES are kept true. */
export const OFF_FSW = 0x604
/** u8: one bit per physical register, set when it is not empty (the abridged tag of FXSAVE). */
export const OFF_FTAG = 0x608
/** u8: number of the physical register that is ST(0). */
export const OFF_TOP = 0x60c
/** u16: opcode of the last x87 instruction that FSTENV reports, 11 bits. */
export const OFF_FOP = 0x610
/** u16 each: selectors of the last x87 instruction and of its memory operand. */
export const OFF_FCS = 0x614
export const OFF_FDS = 0x616
/** i64 each: offsets of the last x87 instruction and of its memory operand. */
export const OFF_FIP = 0x618
export const OFF_FDP = 0x620
/** u32: SSE control and status. */
export const OFF_MXCSR = 0x628
/** u32: XCR0 (its upper half is always 0). */
export const OFF_XCR0 = 0x62c
/** Four 16-byte temporaries that live for one instruction, for MMX and SSE. */
export const SLOT_VTEMP = 0x640

/** Number of data-TLB entries (power of two). The TLB is direct-mapped and indexed by the low bits of the linear page number. */
export const DTLB_ENTRIES = 1024
/** Number of instruction-TLB entries (power of two). */
export const ITLB_ENTRIES = 512
/** Bytes per TLB entry. */
export const TLB_ENTRY_SHIFT = 6
export const TLB_ENTRY_SIZE = 64
/** i64 tags: the page's linear address when that access may go straight to memory, else a value with bit 0 set. */
export const TLB_TAG_SUPER_READ = 0
export const TLB_TAG_SUPER_WRITE = 8
export const TLB_TAG_USER_READ = 16
export const TLB_TAG_USER_WRITE = 24
/** The instruction TLB uses the same two read tags for fetches. */
/** i32: what to add to the low 32 bits of a linear address to get the byte's place in linear memory. */
export const TLB_ADDEND = 32
/** u32: the ATTR_ bits of the translation (mmu/page-permissions) and TLBF_VALID. 0 = invalid. */
export const TLB_FLAGS = 36
/** f64: linear address of the page. */
export const TLB_LINEAR = 40
/** f64: physical address of the page. */
export const TLB_PHYSICAL = 48
/** u32: PCID. */
export const TLB_CONTEXT = 56
/** u32: 1 while the tags say all that they can say about the entry. Never visible to the guest, like the tags. */
export const TLB_TAGGED = 60

/** What page walks depend on: WALK_ of mmu/walk-parameters. */
export const OFF_WALK = 0xce00
/** What TLB fills depend on besides, for compiled code that does them: the FILL_ fields that follow, as offsets in the CPU block. */
/** u32: number of physical pages that the table of places knows; 0 leaves every fill to TypeScript. */
export const FILL_PAGES = 0xce80
/** u32: byte offsets in linear memory of the table of places and of the watch bits (memory/place-table). */
export const FILL_PLACES = 0xce84
export const FILL_WATCH = 0xce88
/** u32: mask for page numbers that stands for the A20 gate. */
export const FILL_A20 = 0xce8c
/** u32: current PCID. */
export const FILL_PCID = 0xce90
/**
 * u32: by the low three ATTR_ bits, four bits each: which tags a data access may set, in the order of the tags. Right for protection key 0, and with EFLAGS.AC
 * clear.
 */
export const FILL_RIGHTS = 0xce94
/** u32: the same for instruction fetches; the bits for writes are 0. */
export const FILL_FETCH_RIGHTS = 0xce98
/** u32: the ATTR_ bits of the protection key while keys apply, else 0. */
export const FILL_KEYS = 0xce9c
/** u32: how many elements of {@link OFF_FILLED} are in use. */
export const FILL_LISTED = 0xcea0
/** i64: fills of the data TLB and of the instruction TLB. */
export const FILL_COUNT = 0xcea8
export const FILL_FETCH_COUNT = 0xceb0
/**
 * What the time-stamp counter is made of while the engine runs: f64 start, f64 K and f64 ticks per instruction, i64 software's offset. While n more
 * instructions may run, it is floor(start + (K − n) × ticks) + offset.
 */
export const TSC_START = 0xcec0
export const TSC_COUNT = 0xcec8
export const TSC_RATE = 0xced0
export const TSC_OFFSET = 0xced8
/** u32: 1 while that is so. */
export const TSC_KNOWN = 0xcee0
/** u32: IA32_TSC_AUX, which RDTSCP reads besides. */
export const TSC_AUX = 0xcee4
/** u8 by number of the 1 GiB span modulo 256: entries of large pages may be in it. */
export const OFF_LARGE_SPANS = 0xcf00
/** u32: places of entries that may be valid, so that a flush need not look at all of them. */
export const OFF_FILLED = 0xd000
/** Elements of {@link OFF_FILLED}. */
export const FILLED_LENGTH: number = 2 * (DTLB_ENTRIES + ITLB_ENTRIES)

/** u32: 0 while certainly no external interrupt waits; never visible to the guest. */
export const OFF_INTERRUPT_WAITS = 0xcef0

export const OFF_DTLB = 0x10000
export const OFF_ITLB: number = OFF_DTLB + DTLB_ENTRIES * TLB_ENTRY_SIZE
/**
 * Data segments that were loaded from the GDT, by selector: what a load of that selector at that privilege from these descriptor bytes gives,
 * which depends on nothing else. Each entry starts like a segment cache; the rest follows.
 */
export const OFF_SEGMENT_MEMO = 0x3f000
export const SEGMENT_MEMO_ENTRIES = 64
/** i64: the descriptor. */
export const MEMO_RAW = 0x28
/** u32: selector, CPL from bit 16 on, bit 31 set. 0 = empty. */
export const MEMO_KEY = 0x30
/** u32: the value for {@link OFF_FLAT}. */
export const MEMO_FLAT = 0x34
/** Free for the engine that runs (jump caches). */
export const OFF_ENGINE: number = OFF_ITLB + ITLB_ENTRIES * TLB_ENTRY_SIZE

/** Bits of {@link OFF_MODE}: what the lifter depends on besides the bytes. */
export const MODE_CODE16 = 0
export const MODE_CODE32 = 1
export const MODE_CODE64 = 2
export const MODE_CODE_MASK = 3
/** SS.B: the stack pointer is ESP, not SP. */
export const MODE_STACK32 = 4
/** CS has base 0 and limit 4 GiB, or the code is 64-bit. */
export const MODE_FLAT_CS = 8
/** DS, ES, SS: base 0, limit 4 GiB, writable, or the code is 64-bit. */
export const MODE_FLAT_DS = 16
export const MODE_FLAT_ES = 32
export const MODE_FLAT_SS = 64
/** CR0.PE with EFLAGS.VM clear; some encodings exist only there. */
export const MODE_PROTECTED = 128
/** x87 instructions run: CR0.EM and CR0.TS are clear. */
export const MODE_X87 = 256
/** SSE instructions run: CR0.EM and CR0.TS are clear, CR4.OSFXSR is set. MMX needs {@link MODE_X87} only. */
export const MODE_SSE = 512
/** Code of privilege level 3, whose accesses are user accesses: lifting does not depend on it, code that is made of what was lifted may. */
export const MODE_USER = 1024

/** Byte offset of general register `reg` (0–15), or of AH–BH for 16–19. */
export function gprSlot(reg: number): number {
  return reg < 16 ? SLOT_GPR + reg * 8 : SLOT_GPR + (reg - 16) * 8 + 1
}

/** Byte offset of temporary `n` (0–7). */
export function tempSlot(n: number): number {
  return SLOT_TEMP + n * 8
}
