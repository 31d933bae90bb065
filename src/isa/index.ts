/**
 * Registers and flags, the instruction table, the decoder, the disassembler and the assembler.
 * @module
 */
export * from './assembler.js'
export * from './decoder.js'
export * from './decoder-models.js'
export type { DecoderOptions } from './decoder-tables.js'
export * from './disassembler.js'
export * from './flags.js'
export * from './instruction.js'
export * from './mnemonics.js'
export * from './table.js'
