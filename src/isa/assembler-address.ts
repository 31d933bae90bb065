/**
 * Memory operands: from a sum of registers and a displacement to ModRM, SIB and displacement bytes in 16-, 32- and
 * 64-bit addressing. Where several encodings exist the choice is NASM's.
 * Source: Intel SDM Vol. 2, "ModR/M and SIB Bytes".
 */

import type { RegisterTerm, Value } from './assembler-expression.js'
import { AssemblyFault } from './assembler-lexer.js'
import type { MemoryOperand } from './assembler-operand.js'
import type { Register } from './assembler-registers.js'

/** An encoded address. `rm`, `sib` and `disp` go behind the opcode. */
export interface EncodedAddress {
  readonly addrSize: number
  readonly mod: number
  readonly rm: number
  /** SIB byte, or -1. */
  readonly sib: number
  readonly dispSize: 0 | 1 | 2 | 4
  /** Displacement; for `ripRelative` the target. */
  readonly disp: bigint
  readonly ripRelative: boolean
  readonly rexX: boolean
  readonly rexB: boolean
}

const BASE_BX = 3
const BASE_BP = 5
const INDEX_SI = 6
const INDEX_DI = 7
const REG_SP = 4

/** The rm field of 16-bit addressing for a set of registers, written as a bit mask of their numbers. */
const RM_16: ReadonlyMap<number, number> = new Map([
  [(1 << BASE_BX) | (1 << INDEX_SI), 0],
  [(1 << BASE_BX) | (1 << INDEX_DI), 1],
  [(1 << BASE_BP) | (1 << INDEX_SI), 2],
  [(1 << BASE_BP) | (1 << INDEX_DI), 3],
  [1 << INDEX_SI, 4],
  [1 << INDEX_DI, 5],
  [1 << BASE_BP, 6],
  [1 << BASE_BX, 7],
])

/** The address size that an operand uses: its registers', else the one asked for, else that of the code. */
export function addressSize(operand: MemoryOperand, value: Value, bits: number, prefix: number): number {
  let size = 0
  for (const { register } of value.terms ?? []) {
    if (size !== 0 && size !== register.size) throw new AssemblyFault('registers of different sizes in one address')
    size = register.size
  }
  if (size === 8 && bits !== 64) throw new AssemblyFault('64-bit registers exist only in 64-bit code')
  if (size === 2 && bits === 64) throw new AssemblyFault('16-bit addresses do not exist in 64-bit code')
  if (size !== 0 && prefix !== 0 && prefix !== size) {
    throw new AssemblyFault(`address-size prefix for ${prefix * 8} bits, but registers of ${size * 8} bits`)
  }
  // In 64-bit code [dword x] only insists on the 32-bit displacement that an absolute address has anyway.
  const sized = size === 0 && operand.dispSize > 1 && !(bits === 64 && operand.dispSize === 4)
  const asked = sized ? operand.dispSize : 0
  if (asked === 8 && bits !== 64) throw new AssemblyFault('64-bit addresses exist only in 64-bit code')
  return size || prefix || asked || bits / 8
}

/** Does the value fit into `size` bytes, read as signed or as unsigned? */
export function fits(n: bigint, size: number): boolean {
  if (size >= 8) return true
  const range = 1n << BigInt(size * 8)
  return n >= -(range >> 1n) && n < range
}

function dispBytes(operand: MemoryOperand, value: Value, full: 2 | 4, canOmit: boolean, wide: boolean): 0 | 1 | 2 | 4 {
  if (operand.dispSize === 1) return 1
  if (operand.dispSize > 1 || value.reloc !== 0 || value.unknown || wide) return full
  const n = BigInt.asIntN(full * 8, value.n)
  if (n === 0n && canOmit) return 0
  return n >= -128n && n <= 127n ? 1 : full
}

/** Encodes an address. `wide` forbids short displacements. Throws {@link AssemblyFault} if there is no encoding. */
export function encodeAddress(
  operand: MemoryOperand,
  value: Value,
  bits: number,
  addrPrefix: number,
  defaultRelative: boolean,
  wide: boolean,
): EncodedAddress {
  const size = addressSize(operand, value, bits, addrPrefix)
  const terms = value.terms ?? []
  const encoded =
    size === 2
      ? encode16(operand, value, terms, wide)
      : terms.length === 0
        ? encodeAbsolute(operand, value, bits, size, defaultRelative)
        : encodeRegisters(operand, value, terms, size, wide)
  const asSigned = encoded.dispSize === 1 ? BigInt.asIntN(size === 2 ? 16 : 32, value.n) : value.n
  if (encoded.dispSize === 1 && !value.unknown && (asSigned < -128n || asSigned > 127n)) {
    throw new AssemblyFault(`displacement ${value.n} does not fit in a signed byte`)
  }
  if (!encoded.ripRelative && !value.unknown && !dispFits(value.n, size)) {
    throw new AssemblyFault(
      size === 8
        ? `displacement ${value.n} does not fit in 32 signed bits`
        : `address ${value.n} does not fit in ${size * 8} bits`,
    )
  }
  return encoded
}

function dispFits(n: bigint, size: number): boolean {
  return size === 8 ? n >= -0x80000000n && n <= 0x7fffffffn : fits(n, size)
}

function encode16(operand: MemoryOperand, value: Value, terms: readonly RegisterTerm[], wide: boolean): EncodedAddress {
  const plain = { addrSize: 2, sib: -1, disp: value.n, ripRelative: false, rexX: false, rexB: false } as const
  if (terms.length === 0) return { ...plain, mod: 0, rm: 6, dispSize: 2 }
  let mask = 0
  for (const { register, factor } of terms) mask |= factor === 1 ? 1 << register.number : 1 << 16
  const rm = RM_16.get(mask)
  if (rm === undefined) {
    throw new AssemblyFault('no such 16-bit address: expected bx or bp, plus si or di, without factors')
  }
  const dispSize = dispBytes(operand, value, 2, rm !== 6, wide)
  return { ...plain, mod: dispSize === 0 ? 0 : dispSize === 1 ? 1 : 2, rm, dispSize }
}

function encodeAbsolute(
  operand: MemoryOperand,
  value: Value,
  bits: number,
  size: number,
  defaultRelative: boolean,
): EncodedAddress {
  const plain = { addrSize: size, mod: 0, dispSize: 4, disp: value.n, rexX: false, rexB: false } as const
  if (bits !== 64) return { ...plain, rm: 5, sib: -1, ripRelative: false }
  if (operand.dispSize === 8) throw new AssemblyFault('only mov with al, ax, eax or rax takes a 64-bit address')
  // As in NASM, `default rel` is about labels: a number stays an absolute address, and so does an FS or GS offset.
  const implied = defaultRelative && operand.segment < 4 && value.reloc !== 0
  const relative = operand.relative === 'rel' || (operand.relative === 'default' && implied)
  if (relative) return { ...plain, rm: 5, sib: -1, ripRelative: true }
  return { ...plain, rm: 4, sib: 0x25, ripRelative: false }
}

function encodeRegisters(
  operand: MemoryOperand,
  value: Value,
  terms: readonly RegisterTerm[],
  size: number,
  wide: boolean,
): EncodedAddress {
  if (operand.relative === 'rel') throw new AssemblyFault('an address with registers cannot be RIP-relative')
  const { base, index, scale } = chooseRegisters(terms, operand.noSplit)
  const plain = {
    addrSize: size,
    disp: value.n,
    ripRelative: false,
    rexX: (index?.number ?? 0) > 7,
    rexB: (base?.number ?? 0) > 7,
  } as const
  const scaleBits = scale === 8 ? 0xc0 : scale === 4 ? 0x80 : scale === 2 ? 0x40 : 0
  if (!base) return { ...plain, mod: 0, rm: 4, sib: scaleBits | ((index!.number & 7) << 3) | 5, dispSize: 4 }
  const low = base.number & 7
  const dispSize = dispBytes(operand, value, 4, low !== BASE_BP, wide)
  const mod = dispSize === 0 ? 0 : dispSize === 1 ? 1 : 2
  if (!index && low !== REG_SP) return { ...plain, mod, rm: low, sib: -1, dispSize }
  const indexBits = index ? (index.number & 7) << 3 : REG_SP << 3
  return { ...plain, mod, rm: 4, sib: scaleBits | indexBits | low, dispSize }
}

function isStackPointer(register: Register): boolean {
  return register.number === REG_SP
}

/** Which register is the base and which the index, as NASM decides it. */
function chooseRegisters(
  terms: readonly RegisterTerm[],
  noSplit: boolean,
): { base: Register | undefined; index: Register | undefined; scale: number } {
  const [a, b] = terms
  if (!a || terms.length > 2) throw new AssemblyFault('an address can hold at most two registers')
  if (!b) {
    const { register, factor } = a
    if (factor === 1 && !(noSplit && a.scaled)) return { base: register, index: undefined, scale: 1 }
    const split = factor === 3 || factor === 5 || factor === 9 || (factor === 2 && !noSplit)
    if (isStackPointer(register) || !(split || [1, 2, 4, 8].includes(factor))) throw badFactor(a)
    return split
      ? { base: register, index: register, scale: factor - 1 }
      : { base: undefined, index: register, scale: factor }
  }
  let [base, index] = a.factor === 1 && !(b.factor === 1 && a.scaled && !b.scaled) ? [a, b] : [b, a]
  if (index.factor === 1 && isStackPointer(index.register)) [base, index] = [index, base]
  if (base.factor !== 1) throw badFactor(base)
  if (isStackPointer(index.register) || ![1, 2, 4, 8].includes(index.factor)) throw badFactor(index)
  return { base: base.register, index: index.register, scale: index.factor }
}

function badFactor({ register, factor }: RegisterTerm): AssemblyFault {
  return new AssemblyFault(
    isStackPointer(register)
      ? `${register.name} cannot be the index of an address`
      : `no address has ${register.name} with the factor ${factor} here: expected 1, 2, 4 or 8, on one register only`,
  )
}
