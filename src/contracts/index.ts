/**
 * The small interfaces that every part shares. Apart from the error class and the reader of saved state nothing in this folder runs.
 * @module
 */
export * from './bus.js'
export * from './clock.js'
export * from './errors.js'
export * from './events.js'
export * from './fault.js'
export * from './state.js'
export { StateReader } from './state-reader.js'
