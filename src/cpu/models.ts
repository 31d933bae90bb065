/**
 * CPU models: what each processor has, how it identifies itself, and where generations differ in documented ways.
 * Sources: Intel SDM Vol. 1, "Identification of Earlier IA-32 Processors"; SDM Vol. 3, "Architecture Compatibility";
 * 8086 Family User's Manual; 80286 and 80386 Programmer's Reference Manuals.
 */

/** Names of the models, oldest first. */
export const MODEL_NAMES = ['8086', '80286', '80386', '80486', 'pentium', 'core2', 'x86-64-v2'] as const

/** One of {@link MODEL_NAMES}. */
export type ModelName = (typeof MODEL_NAMES)[number]

// biome-ignore format: a dense list reads better
/**
 * Capabilities that software can find out about: CPUID bits under the manual's names in lower case, and the generations
 * (`186`, `286`, … `p6`) that the instruction table refers to.
 */
export type Feature =
  | '8086' | '186' | '286' | '386' | '486' | 'pentium' | 'p6'
  // leaf 1 EDX
  | 'fpu' | 'vme' | 'de' | 'pse' | 'tsc' | 'msr' | 'pae' | 'mce' | 'cx8' | 'apic' | 'sep' | 'mtrr' | 'pge' | 'mca' |
  'cmov' | 'pat' | 'pse36' | 'clfsh' | 'mmx' | 'fxsr' | 'sse' | 'sse2'
  // leaf 1 ECX
  | 'sse3' | 'pclmulqdq' | 'monitor' | 'vmx' | 'ssse3' | 'cx16' | 'pcid' | 'sse4.1' | 'sse4.2' | 'x2apic' | 'movbe' | 'tsc-deadline'
  | 'popcnt' | 'aes' | 'xsave' | 'xsaveopt' | 'avx' | 'rdrand' | 'hypervisor'
  // leaf 7
  | 'fsgsbase' | 'bmi1' | 'smep' | 'bmi2' | 'erms' | 'invpcid' | 'rdseed' | 'adx' | 'smap' | 'umip' | 'pku' |
  'rdpid' | 'cet' | 'fdp-excptn-only' | 'zero-fcs-fds' | 'arch-capabilities' | 'spec-ctrl'
  // extended leaves
  | 'lahf64' | 'lzcnt' | 'prefetchw' | 'syscall' | 'nx' | 'pdpe1gb' | 'rdtscp' | 'lm' | 'invtsc'
  // without a CPUID bit
  | 'cpuid' | 'smm' | 'rdpmc' | 'flag-ac' | 'flag-id'

/** What distinguishes one processor from another. Immutable. */
export interface CpuModel {
  readonly name: ModelName
  /** CPUID leaf 0, 12 characters. */
  readonly vendor: string
  /** CPUID leaves 80000002h–4h, at most 47 characters. */
  readonly brand: string
  /** Display family, model and stepping as CPUID leaf 1 encodes them. */
  readonly family: number
  readonly model: number
  readonly stepping: number
  readonly features: ReadonlySet<Feature>
  /** Highest basic and extended CPUID leaf (the latter 0 when there are none). */
  readonly maxLeaf: number
  readonly maxExtendedLeaf: number
  /** Width of a physical address in bits: 20, 24, 32, 36 or 40. */
  readonly physicalBits: number
  /** Width of a linear address in bits: 20, 24, 32 or 48. */
  readonly linearBits: number

  /** FLAGS bits that always read as one (besides those the instruction writes). */
  readonly flagsOnes: number
  /** FLAGS bits that exist at all. */
  readonly flagsMask: number
  /** PUSH SP stores the decremented value (8086, 80186). */
  readonly pushSpDecremented: boolean
  /** Bits of a shift count that are used: 0xff on the 8086, else 0x1f. */
  readonly shiftCountMask: number
  /** Undefined opcodes raise #UD; the 8086 runs on with whatever its microcode makes of them. */
  readonly undefinedOpcodeFaults: boolean
  /** A word at offset 0xFFFF wraps to offset 0 of the segment (8086) instead of faulting. */
  readonly offsetWraps: boolean
  /** #DE is reported as a fault (points at the DIV); on the 8086 the saved IP is that of the next instruction. */
  readonly divideErrorIsFault: boolean
  /** The longest instruction in bytes; 0 = no limit. 10 on the 80286, 15 from the 80386 on. */
  readonly maxInstructionLength: number
  /** Bits of CR0 that can be set by MOV CR0, and those that always read as one. */
  readonly cr0Writable: number
  readonly cr0Ones: number
  /** Bits of CR4 that exist; 0 = there is no CR4. */
  readonly cr4Mask: number
  /** Bits of EFER that exist; 0 = there is no EFER. */
  readonly eferMask: number
  /**
   * The x87 notes opcode and data pointer of instructions with an unmasked exception only, and no selectors (CPUID FDP_EXCPTN_ONLY and the
   * deprecation of FCS and FDS).
   */
  readonly x87PointersOnException: boolean
  /** Revision identifier in the SMM state save map. */
  readonly smmRevision: number
}

const I8086: readonly Feature[] = ['8086']
const I286: readonly Feature[] = [...I8086, '186', '286']
const I386: readonly Feature[] = [...I286, '386']
const I486: readonly Feature[] = [...I386, '486', 'fpu', 'flag-ac', 'flag-id', 'cpuid']
/** As its signature says, a P54C: MMX came with the P55C. */
const PENTIUM: readonly Feature[] = [...I486, 'pentium', 'vme', 'de', 'pse', 'tsc', 'msr', 'mce', 'cx8', 'smm']
// biome-ignore format: a dense list reads better
const CORE2: readonly Feature[] = [
  ...PENTIUM, 'p6', 'pae', 'sep', 'mtrr', 'pge', 'mca', 'cmov', 'pat', 'pse36', 'clfsh', 'rdpmc', 'monitor', 'cx16',
  'lahf64', 'syscall', 'nx', 'lm', 'prefetchw', 'apic',
  'mmx', 'fxsr', 'sse', 'sse2', 'sse3', 'ssse3',
]
// biome-ignore format: a dense list reads better
const V2: readonly Feature[] = [
  ...CORE2, 'sse4.1', 'sse4.2', 'aes', 'pclmulqdq', 'movbe', 'xsave', 'xsaveopt', 'x2apic', 'tsc-deadline', 'popcnt', 'pcid', 'rdrand', 'rdseed', 'rdpid', 'fsgsbase', 'smep', 'smap', 'umip', 'pku', 'invpcid',
  'erms', 'pdpe1gb', 'rdtscp', 'invtsc', 'hypervisor', 'fdp-excptn-only', 'zero-fcs-fds', 'arch-capabilities', 'spec-ctrl',
]

const CR0_BITS_286 = 0x0000_000f
const CR0_BITS_386 = 0x8000_000f
const CR0_BITS_486 = 0xe005_002f
const CR0_ET = 0x10

const CR4_BY_FEATURE: readonly (readonly [Feature, number])[] = [
  ['vme', 0x0003], // VME, PVI
  ['tsc', 0x0004], // TSD
  ['de', 0x0008], // DE
  ['pse', 0x0010], // PSE
  ['pae', 0x0020], // PAE
  ['mce', 0x0040], // MCE
  ['pge', 0x0080], // PGE
  ['rdpmc', 0x0100], // PCE
  ['fxsr', 0x0200], // OSFXSR
  ['sse', 0x0400], // OSXMMEXCPT
  ['umip', 0x0800], // UMIP
  ['vmx', 0x2000], // VMXE
  ['fsgsbase', 0x1_0000], // FSGSBASE
  ['pcid', 0x2_0000], // PCIDE
  ['xsave', 0x4_0000], // OSXSAVE
  ['smep', 0x10_0000], // SMEP
  ['smap', 0x20_0000], // SMAP
  ['pku', 0x40_0000], // PKE
]

const FLAGS_8086 = 0x0fd7
const FLAGS_286 = 0x7fd7
const FLAGS_386 = 0x0003_7fd7

interface Given {
  readonly name: ModelName
  readonly brand: string
  readonly family: number
  readonly model: number
  readonly stepping: number
  readonly features: readonly Feature[]
  readonly maxLeaf: number
  readonly maxExtendedLeaf: number
  readonly physicalBits: number
  readonly linearBits: number
}

function make(given: Given): CpuModel {
  const features = new Set(given.features)
  const has = (feature: Feature): boolean => features.has(feature)
  const i386 = has('386')
  const i486 = has('486')
  let cr4Mask = 0
  for (const [feature, bits] of CR4_BY_FEATURE) if (has(feature)) cr4Mask |= bits
  return {
    ...given,
    vendor: 'GenuineIntel',
    features,
    flagsOnes: has('286') ? 0x0002 : 0xf002,
    flagsMask:
      (i386 ? FLAGS_386 : has('286') ? FLAGS_286 : FLAGS_8086) |
      (has('flag-ac') ? 0x4_0000 : 0) |
      (has('vme') ? 0x18_0000 : 0) |
      (has('flag-id') ? 0x20_0000 : 0),
    pushSpDecremented: !has('286'),
    shiftCountMask: has('186') ? 0x1f : 0xff,
    undefinedOpcodeFaults: has('186'),
    offsetWraps: !has('286'),
    divideErrorIsFault: has('186'),
    maxInstructionLength: i386 ? 15 : has('286') ? 10 : 0,
    cr0Writable: (i486 ? CR0_BITS_486 : i386 ? CR0_BITS_386 : has('286') ? CR0_BITS_286 : 0) | 0,
    cr0Ones: i486 ? CR0_ET : has('286') && !i386 ? 0xfff0 : 0,
    cr4Mask,
    eferMask: (has('syscall') ? 0x001 : 0) | (has('lm') ? 0x500 : 0) | (has('nx') ? 0x800 : 0),
    x87PointersOnException: has('fdp-excptn-only'),
    smmRevision: has('lm') ? 0x2_0064 : 0x2_0000,
  }
}

/** Every model, by name. */
export const MODELS: Readonly<Record<ModelName, CpuModel>> = /* @__PURE__ */ (() => ({
  '8086': make({
    name: '8086',
    brand: 'virtkit 8086',
    family: 0,
    model: 0,
    stepping: 0,
    features: I8086,
    maxLeaf: 0,
    maxExtendedLeaf: 0,
    physicalBits: 20,
    linearBits: 20,
  }),
  '80286': make({
    name: '80286',
    brand: 'virtkit 80286',
    family: 2,
    model: 0,
    stepping: 0,
    features: I286,
    maxLeaf: 0,
    maxExtendedLeaf: 0,
    physicalBits: 24,
    linearBits: 24,
  }),
  '80386': make({
    name: '80386',
    brand: 'virtkit 80386',
    family: 3,
    model: 0,
    stepping: 8,
    features: I386,
    maxLeaf: 0,
    maxExtendedLeaf: 0,
    physicalBits: 32,
    linearBits: 32,
  }),
  '80486': make({
    name: '80486',
    brand: 'virtkit 80486',
    family: 4,
    model: 8,
    stepping: 0,
    features: I486,
    maxLeaf: 1,
    maxExtendedLeaf: 0,
    physicalBits: 32,
    linearBits: 32,
  }),
  pentium: make({
    name: 'pentium',
    brand: 'virtkit Pentium',
    family: 5,
    model: 2,
    stepping: 12,
    features: PENTIUM,
    maxLeaf: 1,
    maxExtendedLeaf: 0,
    physicalBits: 32,
    linearBits: 32,
  }),
  core2: make({
    name: 'core2',
    brand: 'virtkit core2 virtual CPU',
    family: 6,
    model: 15,
    stepping: 11,
    features: CORE2,
    maxLeaf: 0xa,
    maxExtendedLeaf: 0x8000_0008,
    physicalBits: 36,
    linearBits: 48,
  }),
  'x86-64-v2': make({
    name: 'x86-64-v2',
    brand: 'virtkit x86-64-v2 virtual CPU',
    family: 6,
    model: 26,
    stepping: 3,
    features: V2,
    maxLeaf: 0xd,
    maxExtendedLeaf: 0x8000_0008,
    physicalBits: 40,
    linearBits: 48,
  }),
}))()

/** CPUID leaf 1 EAX, and DX (EDX) after reset. */
export function cpuSignature(model: CpuModel): number {
  const family = Math.min(model.family, 15)
  const extendedFamily = model.family >= 15 ? model.family - 15 : 0
  const extendedModel = family === 6 || family === 15 ? model.model >> 4 : 0
  return (
    (extendedFamily << 20) | (extendedModel << 16) | (family << 8) | ((model.model & 15) << 4) | (model.stepping & 15)
  )
}
