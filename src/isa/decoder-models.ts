/**
 * Which rows of the instruction table a processor model has. Models up to the Pentium Pro differ by generation, later ones by CPUID features.
 * Source: Intel SDM Vol. 3B, "Architecture Compatibility"; 80286 and 80386 Programmer's Reference Manuals.
 */
import type { DecoderOptions } from './decoder-tables.js'
import type { Row } from './table.js'

/** Processor generations in order. Everything after the Pentium Pro is `p6` plus features. */
export const CPU_LEVELS = ['8086', '186', '286', '386', '486', 'pentium', 'p6'] as const

/** One of {@link CPU_LEVELS}. */
export type CpuLevel = (typeof CPU_LEVELS)[number]

/** Every name that rows use for a CPUID feature: what `features` of {@link decoderOptionsFor} may contain. */
export const CPU_FEATURES = [
  'fpu',
  'fpu287',
  'fpu387',
  'fcmov',
  'cpuid',
  'tsc',
  'msr',
  'cx8',
  'sep',
  'cmov',
  'clfsh',
  'mmx',
  'fxsr',
  'sse',
  'sse2',
  'sse3',
  'ssse3',
  'sse4.1',
  'sse4.2',
  'popcnt',
  'pclmulqdq',
  'aes',
  'monitor',
  'vmx',
  'smm',
  'cx16',
  'movbe',
  'xsave',
  'xsaveopt',
  'rdrand',
  'rdseed',
  'rdpid',
  'rdpmc',
  'rdtscp',
  'syscall',
  'lm',
  'prefetchw',
  'lzcnt',
  'bmi1',
  'smap',
  'pku',
  'fsgsbase',
  'invpcid',
  'cet',
] as const

/** One of {@link CPU_FEATURES}. */
export type CpuFeature = (typeof CPU_FEATURES)[number]

/** Does a processor of this generation with these features have the row? */
export function hasRow(row: Row, level: CpuLevel, features: ReadonlySet<string>): boolean {
  const rank = CPU_LEVELS.indexOf(level)
  if (row.until !== '' && rank > CPU_LEVELS.indexOf(row.until as CpuLevel)) return false
  const first = CPU_LEVELS.indexOf(row.feature as CpuLevel)
  return first >= 0 ? rank >= first : features.has(row.feature)
}

/** What `createDecoder` needs to decode as a processor of this generation with these features does. */
export function decoderOptionsFor(level: CpuLevel, features: ReadonlySet<string> = new Set()): DecoderOptions {
  const rank = CPU_LEVELS.indexOf(level)
  return {
    accept: (row) => hasRow(row, level, features),
    prefixes386: rank >= CPU_LEVELS.indexOf('386'),
    lockAnywhere: rank < CPU_LEVELS.indexOf('386'),
    // The 8086 has no limit: it takes prefixes one at a time. Fifteen are more than any program has.
    maxLength: level === '286' ? 10 : 15,
  }
}
