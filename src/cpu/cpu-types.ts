/**
 * What the CPU asks of its surroundings, and the shape in which its parts (memory access, system helpers, engines) see it.
 * Everything here is an interface: the implementation is in cpu.ts.
 */

import type { EventSink, InterruptSource, PortSpace } from '../contracts/index.js'
import type { CpuModel } from './models.js'
import type { MsrFile } from './msr.js'
import type { CpuState } from './state.js'

/** Data accesses of instructions and of the processor itself. All of them fault by throwing (see exceptions.ts). */
export interface CpuMemory {
  /** Low and high half of the last 64-bit read, signed 32-bit numbers. */
  lo: number
  hi: number

  // Through a segment (ES CS SS DS FS GS = 0–5), at the current privilege. `offset` is an unsigned number; in 64-bit code a signed double.
  /** A byte. */
  read8(seg: number, offset: number): number
  /** Two bytes. */
  read16(seg: number, offset: number): number
  /** Unsigned. */
  read32(seg: number, offset: number): number
  /** Into `lo`, `hi`. */
  read64(seg: number, offset: number): void
  /** A byte. */
  write8(seg: number, offset: number, value: number): void
  /** Two bytes. */
  write16(seg: number, offset: number, value: number): void
  /** Four bytes. */
  write32(seg: number, offset: number, value: number): void
  /** Eight bytes, as two halves. */
  write64(seg: number, offset: number, lo: number, hi: number): void
  /** Sixteen bytes to byte `to` of linear memory (a multiple of 4). `aligned`: #GP(0) unless the linear address is a multiple of 16. */
  read128(seg: number, offset: number, to: number, aligned: boolean): void
  /** Sixteen bytes from byte `from` of linear memory, all or none. */
  write128(seg: number, offset: number, from: number, aligned: boolean): void
  /** See LinearMemory. */
  run(linear: number, size: number, write: boolean, user: boolean): number
  /** See LinearMemory. */
  runAt(low: number, high: number, size: number, write: boolean, user: boolean): number
  /** See LinearMemory. */
  place(low: number, high: number, size: number, write: boolean, user: boolean): number
  /** Raises what a write of `size` bytes would raise, without writing. */
  probeWrite(seg: number, offset: number, size: number): void

  // Linear, implicit supervisor accesses: descriptor tables, TSS, stacks of a new privilege level (pass `user` = true for an access at CPL 3).
  /** A byte. */
  lin8(linear: number, user?: boolean): number
  /** Two bytes. */
  lin16(linear: number, user?: boolean): number
  /** Four bytes, unsigned. */
  lin32(linear: number, user?: boolean): number
  /** Eight bytes, into `lo` and `hi`. */
  lin64(linear: number, user?: boolean): void
  /** A byte. */
  setLin8(linear: number, value: number, user?: boolean): void
  /** Two bytes. */
  setLin16(linear: number, value: number, user?: boolean): void
  /** Four bytes. */
  setLin32(linear: number, value: number, user?: boolean): void
  /** Eight bytes, as two halves. */
  setLin64(linear: number, lo: number, hi: number, user?: boolean): void
  /** Raises what a write would raise, without writing. */
  probeLinWrite(linear: number, size: number, user?: boolean): void

  /** Physical accesses (SMRAM state save, VMCS): bypass paging, respect A20 and MMIO. */
  phys8(address: number): number
  /** Two bytes. */
  phys16(address: number): number
  /** Four bytes, unsigned. */
  phys32(address: number): number
  /** A byte. */
  setPhys8(address: number, value: number): void
  /** Two bytes. */
  setPhys16(address: number, value: number): void
  /** Four bytes. */
  setPhys32(address: number, value: number): void

  /** CR3 was written, or CR4.PGE / PCIDE changed: drops the entries that this flushes. */
  flushAll(): void
  /** Drops all entries but those of global pages. */
  flushNonGlobal(): void
  /** Entries of one PCID, global ones kept. */
  flushPcid(pcid: number): void
  /** INVLPG: drops what is cached for the page of `linear`. */
  flushPage(linear: number): void
  /** CR0, CR4, EFER, PKRU or CR3 changed: takes the new paging mode over (no architectural flush). */
  configurePaging(): void
  /** The same when CR3 alone changed. */
  cr3Changed(): void
  /** Loads the PAE PDPTE registers from CR3; false when a reserved bit is set (then #GP). */
  loadPdptes(cr3: number): boolean
}

/** The CPU as its own helpers see it. */
export interface CpuCore {
  readonly s: CpuState
  readonly mem: CpuMemory
  readonly model: CpuModel
  readonly ports: PortSpace
  readonly interrupts: InterruptSource
  readonly events: EventSink | undefined
  /** Current privilege level 0–3. Change it only through {@link setCpl}. */
  readonly cpl: number
  /** Changes the privilege level, for memory accesses as well. */
  setCpl(cpl: number): void
  /** RIP after the instruction in flight; a helper that jumps overwrites it. While a helper runs, `s.rip` is the instruction's own address. */
  nextRip: number
  /** Instructions retired since reset, exact also inside a helper. */
  readonly instructions: number
  /** Recomputes OFF_MODE and OFF_TAG_SELECT after segment caches, CR0, EFER, or EFLAGS.VM/AC changed. */
  updateMode(): void

  /** Interrupt shadow to apply after this instruction: {@link SHADOW_STI} or {@link SHADOW_SS}. */
  setShadow(kind: number): void
  /** HLT. */
  halted: boolean
  /** Shutdown (triple fault) until INIT or reset. */
  shutdown: boolean
  /** NMI is blocked until IRET. */
  nmiBlocked: boolean
  inSmm: boolean
  smbase: number
  /** A pending debug trap's DR6 bits (single step BS, task switch BT, data breakpoints): delivered as #DB after this instruction. */
  pendingDebug: number
  /** Called when something an engine caches must be looked at again (DR7 changed, TF, breakpoints). */
  interruptEngine(): void
  /** Time-stamp counter as two halves; WRMSR(TSC) sets it. */
  readTsc(): bigint
  /** The same as a number, without allocating; -1 where it would not be exact. */
  readTscNumber(): number
  /** WRMSR(TSC): the counter goes on from here. */
  writeTsc(value: bigint): void
  /** MSRs without a field of their own, by number. */
  readonly msr: MsrFile
  /** CR0.ET-like pins and platform hooks. */
  readonly platform: CpuPlatform
}

export const SHADOW_STI = 1
export const SHADOW_SS = 2

/** A time-stamp counter that counts with the instructions: floor(start + elapsed × perInstruction). */
export interface Timeline {
  readonly start: number
  /** Instructions since then, those of the current one's predecessors included. */
  readonly elapsed: number
  readonly perInstruction: number
}

/** Wires of the package besides the buses. Every member is optional for a CPU used alone. */
export interface CpuPlatform {
  /** The processor enters (true) or leaves SMM: SMRAM becomes visible. */
  smmChanged?(active: boolean): void
  /** FERR#: an unmasked x87 error waits and CR0.NE is clear (true), or waits no longer (false). Called at the instruction that finds it. */
  ferr?(asserted: boolean): void
  /** IGNNE#: with CR0.NE clear, x87 instructions go on although an error waits. Without it, or while it says false, they stop the processor until an interrupt. */
  ignne?(): boolean
  /** CR8 was written. */
  taskPriorityChanged?(priority: number): void
  /** What MOV from CR8 reads, where the local APIC keeps it. */
  taskPriority?(): number
  /** The processor's local APIC, as CPUID reports it. */
  readonly apic?: { readonly id: number; readonly enabled: boolean }
  /** The processor performs an INIT. */
  initialised?(): void
  /** Software wrote the time-stamp counter. */
  timestampWritten?(): void
  /** What the time-stamp counter counts: an integer below 2^53 that never decreases. Default: instructions. */
  timestamp?(): number
  /** How {@link timestamp} comes about, if it is floor(start + elapsed × perInstruction): lets compiled code read it. */
  readonly timeline?: Timeline
  /** PAUSE: a processor that spins may give its turn away. Decided once, when the processor is made. */
  spins?(): void
  /** An MSR that the platform owns (APIC base and x2APIC registers); undefined = #GP. */
  readMsr?(index: number): bigint | undefined
  /** False = #GP. */
  writeMsr?(index: number, value: bigint): boolean
  /** Seeded random bits for RDRAND/RDSEED. */
  random32?(): number
}
