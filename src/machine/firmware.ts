/** What firmware would have done to the processors, for kernels that are started without any. Source: Intel SDM Vol. 3A, "Memory Cache Control". */

import type { Cpu } from '../cpu/index.js'
import { LOW_RAM_LIMIT } from './board.js'

const MTRR_PHYSBASE0 = 0x200
const MTRR_FIX64K = 0x250
const MTRR_FIX16K = 0x258
const MTRR_FIX4K = 0x268
const MTRR_DEF_TYPE = 0x2ff
const WRITE_BACK = 0x06n
const WRITE_PROTECTED = 0x05n
/** MTRRs and fixed-range MTRRs are enabled. */
const ENABLED = 0xc00n
/** The mask of a variable range is valid. */
const VALID = 0x800n

/** A memory type for each of the eight parts of a fixed range. */
function eight(type: bigint): bigint {
  return type * 0x0101_0101_0101_0101n
}

/**
 * Sets the memory types on every processor that has MTRRs: RAM write-back, the display's window and everything from 3 GiB to 4 GiB uncached,
 * ROM write-protected.
 */
export function initialiseProcessors(cpus: readonly Cpu[]): void {
  for (const cpu of cpus) {
    if (!cpu.model.features.has('mtrr')) continue
    cpu.writeMsr(MTRR_FIX64K, eight(WRITE_BACK))
    cpu.writeMsr(MTRR_FIX16K, eight(WRITE_BACK))
    for (let n = 0; n < 8; n++) cpu.writeMsr(MTRR_FIX4K + n, eight(WRITE_PROTECTED))
    const mask = (1n << BigInt(cpu.model.physicalBits)) - BigInt(0x1_0000_0000 - LOW_RAM_LIMIT)
    cpu.writeMsr(MTRR_PHYSBASE0, BigInt(LOW_RAM_LIMIT))
    cpu.writeMsr(MTRR_PHYSBASE0 + 1, mask | VALID)
    cpu.writeMsr(MTRR_DEF_TYPE, ENABLED | WRITE_BACK)
  }
}
