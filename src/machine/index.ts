/**
 * Whole machines: the PC board, its virtual clock, loaders and disks.
 * @module
 */
export * from './board.js'
export * from './cpio.js'
export * from './disks.js'
export * from './guest/kernel.js'
export * from './input.js'
export * from './linux.js'
export * from './multiboot.js'
export * from './pc.js'
export * from './screen.js'
export * from './serial-port.js'
export * from './virtual-clock.js'
