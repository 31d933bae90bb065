/**
 * The processor: state, modes, instruction semantics, exceptions, models.
 * @module
 */
export * from './cpu.js'
export * from './cpu-types.js'
export * from './engine-types.js'
export * from './exceptions.js'
export * from './layout.js'
export * from './models.js'
export * from './profiler.js'
export type { CpuConditions, CpuSavedState } from './saved-state.js'
export { CpuState } from './state.js'
export * from './uops.js'
