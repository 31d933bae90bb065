/**
 * How micro-ops run: the reference engine and the threaded one.
 * @module
 */
import type { CpuCore, Executor } from '../cpu/index.js'
import { ReferenceEngine } from './reference.js'

/** Makes the reference engine's core, which every CPU needs for single instructions. */
export function referenceExecutor(cpu: CpuCore): Executor {
  return new ReferenceEngine(cpu)
}

export type { TranslationOptions, TranslationStatistics } from './regions.js'
export { hasTailCalls } from './threaded.js'
export { threadedEngine } from './threaded-engine.js'
export { translatedEngine, translatedEngineWith } from './translated.js'
