/**
 * CPUID. Source: Intel SDM Vol. 2, "CPUID". Bits are derived from the model's feature set, so that what is claimed and what is gated
 * cannot differ.
 */

import { CR4_OSXSAVE, CR4_PKE } from '../mmu/index.js'
import type { CpuCore } from './cpu-types.js'
import { OFF_XCR0 } from './layout.js'
import { type CpuModel, cpuSignature, type Feature } from './models.js'
import { in64BitMode } from './system-common.js'
import { PKRU_COMPONENT, PKRU_OFFSET, PKRU_SIZE, XCR0_PKRU, XCR0_X87, xsaveComponents, xsaveSize } from './xsave.js'

type Bits = readonly (readonly [number, Feature])[]

const LEAF1_EDX: Bits = [
  [0, 'fpu'],
  [1, 'vme'],
  [2, 'de'],
  [3, 'pse'],
  [4, 'tsc'],
  [5, 'msr'],
  [6, 'pae'],
  [7, 'mce'],
  [8, 'cx8'],
  [9, 'apic'],
  [11, 'sep'],
  [12, 'mtrr'],
  [13, 'pge'],
  [14, 'mca'],
  [15, 'cmov'],
  [16, 'pat'],
  [17, 'pse36'],
  [19, 'clfsh'],
  [23, 'mmx'],
  [24, 'fxsr'],
  [25, 'sse'],
  [26, 'sse2'],
]
const LEAF1_ECX: Bits = [
  [0, 'sse3'],
  [1, 'pclmulqdq'],
  [3, 'monitor'],
  [5, 'vmx'],
  [9, 'ssse3'],
  [13, 'cx16'],
  [17, 'pcid'],
  [19, 'sse4.1'],
  [20, 'sse4.2'],
  [21, 'x2apic'],
  [22, 'movbe'],
  [23, 'popcnt'],
  [24, 'tsc-deadline'],
  [25, 'aes'],
  [26, 'xsave'],
  [28, 'avx'],
  [30, 'rdrand'],
  [31, 'hypervisor'],
]
const LEAF7_EBX: Bits = [
  [0, 'fsgsbase'],
  [3, 'bmi1'],
  [6, 'fdp-excptn-only'],
  [7, 'smep'],
  [8, 'bmi2'],
  [9, 'erms'],
  [10, 'invpcid'],
  [13, 'zero-fcs-fds'],
  [18, 'rdseed'],
  [19, 'adx'],
  [20, 'smap'],
]
const LEAF7_ECX: Bits = [
  [2, 'umip'],
  [3, 'pku'],
  [22, 'rdpid'],
]
const LEAF7_EDX: Bits = [
  [26, 'spec-ctrl'],
  [27, 'spec-ctrl'],
  [29, 'arch-capabilities'],
]
/** Of subleaf 2: BHI_CTRL. */
const LEAF7_2_EDX: Bits = [[4, 'spec-ctrl']]
const EXTENDED1_EDX: Bits = [
  [20, 'nx'],
  [26, 'pdpe1gb'],
  [27, 'rdtscp'],
  [29, 'lm'],
]
const EXTENDED1_ECX: Bits = [
  [0, 'lahf64'],
  [5, 'lzcnt'],
  [8, 'prefetchw'],
]

function collect(model: CpuModel, bits: Bits): number {
  let value = 0
  for (const [bit, feature] of bits) if (model.features.has(feature)) value |= 1 << bit
  return value
}

/** Four ASCII characters of `text` at `at` as a little-endian word; beyond the end zeros. */
function word(text: string, at: number): number {
  let value = 0
  for (let n = 3; n >= 0; n--) value = (value << 8) | (at + n < text.length ? text.charCodeAt(at + n) : 0)
  return value
}

/** Result registers of CPUID, signed 32-bit numbers. */
export interface CpuidResult {
  eax: number
  ebx: number
  ecx: number
  edx: number
}

const HYPERVISOR_LEAF = 0x4000_0000
const HYPERVISOR_NAME = 'virtkit'

/** Deterministic cache parameters (leaf 4): type, level, ways, sets; lines of 64 bytes. */
const CACHES: readonly (readonly [number, number, number, number])[] = [
  [1, 1, 8, 64], // 32 KiB data
  [2, 1, 8, 64], // 32 KiB instructions
  [3, 2, 8, 4096], // 2 MiB unified
]

/** What CPUID answers. `cr4` and `code64` matter for OSXSAVE, OSPKE and SYSCALL, which mirror the processor's state. */
export function cpuid(
  model: CpuModel,
  leaf: number,
  subleaf: number,
  cr4: number,
  code64: boolean,
  out: CpuidResult,
): void {
  out.eax = 0
  out.ebx = 0
  out.ecx = 0
  out.edx = 0
  let n = leaf >>> 0
  if (n >= 0x8000_0000) {
    if (n <= model.maxExtendedLeaf) {
      extendedLeaf(model, n, code64, out)
      return
    }
    // Beyond the last extended leaf Intel processors answer as for the last basic leaf.
    n = model.maxLeaf
  } else if (n >= HYPERVISOR_LEAF && n < HYPERVISOR_LEAF + 0x100 && model.features.has('hypervisor')) {
    if (n === HYPERVISOR_LEAF) {
      out.eax = HYPERVISOR_LEAF
      out.ebx = word(HYPERVISOR_NAME, 0)
      out.ecx = word(HYPERVISOR_NAME, 4)
      out.edx = word(HYPERVISOR_NAME, 8)
    }
    return
  } else if (n > model.maxLeaf) n = model.maxLeaf
  basicLeaf(model, n, subleaf, cr4, out)
}

function basicLeaf(model: CpuModel, leaf: number, subleaf: number, cr4: number, out: CpuidResult): void {
  switch (leaf) {
    case 0:
      out.eax = model.maxLeaf
      out.ebx = word(model.vendor, 0)
      out.edx = word(model.vendor, 4)
      out.ecx = word(model.vendor, 8)
      return
    case 1:
      out.eax = cpuSignature(model)
      // CLFLUSH line of 8 × 8 bytes, one logical processor, APIC id 0.
      out.ebx = model.features.has('clfsh') ? 0x0001_0800 : 0
      out.ecx = collect(model, LEAF1_ECX) | (cr4 & CR4_OSXSAVE ? 1 << 27 : 0)
      out.edx = collect(model, LEAF1_EDX)
      return
    case 2:
      // One descriptor: FFh, caches are described in leaf 4.
      out.eax = 0x0000_ff01
      return
    case 4: {
      const cache = CACHES[subleaf >>> 0]
      if (cache === undefined) return
      const [type, level, ways, sets] = cache
      // Self-initialising, one processor in the package.
      out.eax = type | (level << 5) | (1 << 8)
      out.ebx = ((ways - 1) << 22) | (64 - 1)
      out.ecx = sets - 1
      return
    }
    case 5:
      if (model.features.has('monitor')) {
        out.eax = 64
        out.ebx = 64
        out.ecx = 3
      }
      return
    case 7:
      if (subleaf === 2) out.edx = collect(model, LEAF7_2_EDX)
      if (subleaf !== 0) return
      out.eax = model.features.has('spec-ctrl') ? 2 : 0
      out.ebx = collect(model, LEAF7_EBX)
      out.ecx = collect(model, LEAF7_ECX) | (cr4 & CR4_PKE ? 1 << 4 : 0)
      out.edx = collect(model, LEAF7_EDX)
      return
    case 0x0d:
      if (model.features.has('xsave')) extendedState(model, subleaf >>> 0, out)
      return
    default:
      // 3 (serial number), 6 (power), 9, 0Ah (counters): nothing to report.
      return
  }
}

/** Leaf 0Dh: the components that XCR0 can enable. The size for those that it does enable is filled in by {@link cpuidHelper}. */
function extendedState(model: CpuModel, subleaf: number, out: CpuidResult): void {
  const components = xsaveComponents(model)
  if (subleaf === 0) {
    out.eax = components
    out.ebx = xsaveSize(XCR0_X87)
    out.ecx = xsaveSize(components)
  } else if (subleaf === 1) {
    out.eax = model.features.has('xsaveopt') ? 1 : 0
  } else if (subleaf === PKRU_COMPONENT && components & XCR0_PKRU) {
    out.eax = PKRU_SIZE
    out.ebx = PKRU_OFFSET
  }
}

function extendedLeaf(model: CpuModel, leaf: number, code64: boolean, out: CpuidResult): void {
  switch (leaf) {
    case 0x8000_0000:
      out.eax = model.maxExtendedLeaf | 0
      return
    case 0x8000_0001:
      out.ecx = collect(model, EXTENDED1_ECX)
      // SYSCALL is reported in 64-bit mode only, where alone it exists.
      out.edx = collect(model, EXTENDED1_EDX) | (code64 && model.features.has('syscall') ? 1 << 11 : 0)
      return
    case 0x8000_0002:
    case 0x8000_0003:
    case 0x8000_0004: {
      const at = (leaf - 0x8000_0002) * 16
      out.eax = word(model.brand, at)
      out.ebx = word(model.brand, at + 4)
      out.ecx = word(model.brand, at + 8)
      out.edx = word(model.brand, at + 12)
      return
    }
    case 0x8000_0006:
      // L2: 2 MiB, 8-way, 64-byte lines.
      out.ecx = (2048 << 16) | (6 << 12) | 64
      return
    case 0x8000_0007:
      out.edx = model.features.has('invtsc') ? 1 << 8 : 0
      return
    case 0x8000_0008:
      out.eax = model.physicalBits | (model.linearBits << 8)
      return
  }
}

/** Leaf 0Bh: every processor is a package with one core of one thread. */
function topology(subleaf: number, id: number, out: CpuidResult): void {
  const level = subleaf < 2 ? subleaf + 1 : 0
  out.eax = 0
  out.ebx = level === 0 ? 0 : 1
  out.ecx = (level << 8) | (subleaf & 0xff)
  out.edx = id
}

const result: CpuidResult = { eax: 0, ebx: 0, ecx: 0, edx: 0 }

/** Helper CPUID. */
export function cpuidHelper(cpu: CpuCore): void {
  const s = cpu.s
  const leaf = s.reg32(0)
  const subleaf = s.reg32(1)
  cpuid(cpu.model, leaf, subleaf, s.cr4, in64BitMode(cpu), result)
  const { apic } = cpu.platform
  if (leaf === 1) {
    if (apic === undefined || !apic.enabled) result.edx &= ~(1 << 9)
    if (apic === undefined) result.ecx &= ~((1 << 21) | (1 << 24))
    else result.ebx |= apic.id << 24
  } else if (leaf === 0x0b && apic !== undefined && cpu.model.maxLeaf >= leaf) {
    topology(subleaf, apic.id, result)
  } else if (leaf === 0x0d && subleaf === 0 && result.ebx !== 0) {
    result.ebx = xsaveSize(s.get32(OFF_XCR0))
  }
  s.setReg32(0, result.eax)
  s.setReg32(3, result.ebx)
  s.setReg32(1, result.ecx)
  s.setReg32(2, result.edx)
}
