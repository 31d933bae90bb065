/**
 * Buses and DMA: the port space, memory windows, and the 8237A alone and as the pair of a PC.
 * @module
 */

export * from './dma-pair.js'
export * from './dma-registers.js'
export * from './dma8237.js'
export * from './mmio-bus.js'
export * from './port-bus.js'
