/**
 * The embedded guest: a small kernel that takes the machine through the course, from real mode to power off, and checks at every stage that the
 * hardware did what the manuals say. It reports each stage on screen and on the first serial port, ends by switching the machine
 * off through ACPI, and reports the first mismatch as `[FAIL] stage: what`, leaving through isa-debug-exit with status 3.
 *
 * Sources for what it expects: Intel 64 and IA-32 Architectures Software Developer's Manual; 8259A, 8254, 8237A data sheets;
 * IBM PC/AT Technical Reference.
 */

import { VirtkitError } from '../../contracts/index.js'
import { type AssemblyResult, assemble } from '../../isa/index.js'
import { ARITHMETIC } from './arithmetic.js'
import { BOOT } from './boot.js'
import { CONSOLE } from './console.js'
import { INTERRUPTS } from './interrupts.js'
import { LAYOUT } from './layout.js'
import { MEMORY } from './memory.js'
import { PERIPHERALS } from './peripherals.js'
import { PROCESSES } from './processes.js'
import { REAL_MODE } from './real-mode.js'
import { VIRTUAL_8086 } from './virtual-8086.js'

/** Address for `Pc.loadFlat`. */
export const KERNEL_LOAD_ADDRESS = 0x7c00

/** Stages that pass in a good run, the last one being the end. */
export const KERNEL_STAGES = 24

/** Settings of {@link buildKernel}. */
export interface KernelOptions {
  /**
   * How much to check, so that other machines can judge the kernel's own expectations:
   * - `strict` (the default): everything.
   * - `processor`: without 8237 memory-to-memory transfers and timers that are exact to the clock. Bochs passes it.
   * - `lenient`: also without segment limits and other checks of the processor that an emulator may trade for speed. QEMU passes it with
   *   `-icount shift=0,sleep=off -rtc clock=vm`.
   */
  readonly checks?: 'strict' | 'processor' | 'lenient'
}

const LEVELS: readonly string[] = ['strict', 'processor', 'lenient']

/** The whole assembly text, in the syntax of NASM. */
export function kernelSource(options: KernelOptions = {}): string {
  const { checks = 'strict' } = options
  if (!LEVELS.includes(checks)) {
    throw new VirtkitError('bad-argument', `checks: one of ${LEVELS.join(', ')} was expected, got '${String(checks)}'`)
  }
  const board = checks === 'strict'
  const settings = [
    '; what to check: all of the processor, all of the board; how many timer clocks two timers may differ',
    `EXACT equ ${checks === 'lenient' ? 0 : 1}`,
    `BOARD equ ${board ? 1 : 0}`,
    `TOLERANCE equ ${board ? 12 : 12000}`,
  ].join('\n')
  return [
    settings,
    LAYOUT,
    CONSOLE,
    BOOT,
    REAL_MODE,
    INTERRUPTS,
    ARITHMETIC,
    MEMORY,
    PROCESSES,
    VIRTUAL_8086,
    PERIPHERALS,
  ].join('\n')
}

/** Assembles the kernel, with symbols and listing. */
export function assembleKernel(options: KernelOptions = {}): AssemblyResult {
  const result = assemble(kernelSource(options))
  const end = result.origin + result.bytes.length
  // 16-bit code and the boot sector reach the image through segment 0.
  if (end > 0x10000)
    throw new VirtkitError('bad-image', `the guest kernel ends at 0x${end.toString(16)}, beyond 64 KiB`)
  return result
}

/**
 * The kernel as one image: a multiple of 512 bytes that is a bootable disk (a boot sector that reads the rest), flat code for
 * `Pc.loadFlat`, and a Multiboot 1 kernel for `Pc.loadMultiboot` or GRUB.
 */
export function buildKernel(options: KernelOptions = {}): Uint8Array {
  return assembleKernel(options).bytes
}
