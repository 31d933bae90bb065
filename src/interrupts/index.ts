/**
 * Interrupt controllers: the 8259A alone and as the cascaded pair of a PC.
 * @module
 */

export * from './pic-pair.js'
export * from './pic-registers.js'
export * from './pic8259.js'
