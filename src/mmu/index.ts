/**
 * Memory management: descriptors and segmentation, paging in all modes, the TLB. Works on any physical bus, without a CPU.
 * @module
 */
export * from './control-registers.js'
export * from './descriptors.js'
export * from './nested.js'
export * from './page-permissions.js'
export * from './paging.js'
export * from './segment-checks.js'
export * from './segmentation.js'
export * from './tlb.js'
export * from './translation.js'
export * from './walk.js'
export * from './walk-parameters.js'
