/**
 * Compares our decoder with iced-x86: validity, length, mnemonic and every operand. What is meant to differ is listed
 * below, each with its reason; anything else is a bug of ours.
 */
import {
  Code,
  CpuidFeature,
  Decoder,
  DecoderOptions,
  EncodingKind,
  Instruction as IcedInstruction,
  MemorySizeExt,
  Mnemonic,
  OpKind,
  Register,
} from 'iced-x86'
import { decode } from '../../src/isa/decoder.js'
import { DECODE, Instruction, OPERAND, REG_NONE, REG_RIP } from '../../src/isa/instruction.js'
import { MNEMONICS } from '../../src/isa/mnemonics.js'
import { ROWS } from '../../src/isa/table.js'

/** Bytes per case in a batch: enough that no case runs out of bytes. */
export const SLOT = 16

/** The feature sets whose instructions the table claims to have in full. */
const CLAIMED = new Set<CpuidFeature>([
  CpuidFeature.INTEL8086,
  CpuidFeature.INTEL186,
  CpuidFeature.INTEL286,
  CpuidFeature.INTEL386,
  CpuidFeature.INTEL486,
  CpuidFeature.X64,
  CpuidFeature.AES,
  CpuidFeature.BMI1,
  CpuidFeature.CET_IBT,
  CpuidFeature.CLFSH,
  CpuidFeature.CMOV,
  CpuidFeature.CMPXCHG16B,
  CpuidFeature.CPUID,
  CpuidFeature.CX8,
  CpuidFeature.FPU,
  CpuidFeature.FPU287,
  CpuidFeature.FPU387,
  CpuidFeature.FSGSBASE,
  CpuidFeature.FXSR,
  CpuidFeature.INVEPT,
  CpuidFeature.INVPCID,
  CpuidFeature.INVVPID,
  CpuidFeature.LZCNT,
  CpuidFeature.MMX,
  CpuidFeature.MONITOR,
  CpuidFeature.MOVBE,
  CpuidFeature.MSR,
  CpuidFeature.MULTIBYTENOP,
  CpuidFeature.PAUSE,
  CpuidFeature.PCLMULQDQ,
  CpuidFeature.POPCNT,
  CpuidFeature.PKU,
  CpuidFeature.PREFETCHW,
  CpuidFeature.RDPID,
  CpuidFeature.RDPMC,
  CpuidFeature.RDRAND,
  CpuidFeature.RDSEED,
  CpuidFeature.RDTSCP,
  CpuidFeature.SEP,
  CpuidFeature.SMAP,
  CpuidFeature.SMM,
  CpuidFeature.SSE,
  CpuidFeature.SSE2,
  CpuidFeature.SSE3,
  CpuidFeature.SSE4_1,
  CpuidFeature.SSE4_2,
  CpuidFeature.SSSE3,
  CpuidFeature.SYSCALL,
  CpuidFeature.TSC,
  CpuidFeature.VMX,
  CpuidFeature.XSAVE,
])

const CONDITIONS = 'o no b ae e ne be a s ns p np l ge le g'.split(' ')
const SIZED = { 1: 'b', 2: 'w', 4: 'd', 8: 'q' } as const

/** Our instruction's name in iced's spelling. */
function nameOf(insn: Instruction): string {
  const name = MNEMONICS[insn.mnemonic]!
  const row = ROWS[insn.row]!
  const bySize = (a: string, b: string, c: string): string => (insn.opSize === 2 ? a : insn.opSize === 4 ? b : c)
  switch (name) {
    case 'j':
    case 'set':
    case 'cmov':
      return name + CONDITIONS[insn.cond]!
    case 'movs':
    case 'cmps':
    case 'stos':
    case 'lods':
    case 'scas':
    case 'ins':
      return name + SIZED[insn.ops[0].size as 1 | 2 | 4 | 8]
    case 'outs':
      return name + SIZED[insn.ops[1].size as 1 | 2 | 4]
    case 'cbw':
      return bySize('cbw', 'cwde', 'cdqe')
    case 'cwd':
      return bySize('cwd', 'cdq', 'cqo')
    case 'iret':
    case 'pushf':
    case 'popf':
      return name + bySize('', 'd', 'q')
    case 'pusha':
    case 'popa':
      return name + bySize('', 'd', '')
    case 'callf':
      return 'call'
    case 'jmpf':
      return 'jmp'
    case 'jcxz':
      return insn.addrSize === 2 ? 'jcxz' : insn.addrSize === 4 ? 'jecxz' : 'jrcxz'
    case 'sysret':
    case 'sysexit':
      return name + bySize('', '', 'q')
    case 'fxsave':
    case 'fxrstor':
    case 'xsave':
    case 'xsaveopt':
    case 'xrstor':
      return name + bySize('', '', '64')
    case 'pcmpestrm':
    case 'pcmpestri':
      return name + bySize('', '', '64')
    case 'xlat':
      return 'xlatb'
    case 'shl':
      return row.alias ? 'sal' : 'shl'
    default:
      return name
  }
}

const GPR: readonly string[] = 'ax cx dx bx sp bp si di'.split(' ')

/** Register name in iced's spelling. */
function gpr(reg: number, size: number): string {
  if (reg >= 16) return 'ah ch dh bh'.split(' ')[reg - 16]!
  if (reg >= 8) return `r${reg}${{ 1: 'l', 2: 'w', 4: 'd', 8: '' }[size]}`
  if (size === 1) return 'al cl dl bl spl bpl sil dil'.split(' ')[reg]!
  return { 2: '', 4: 'e', 8: 'r' }[size] + GPR[reg]!
}

const SEGMENTS = 'es cs ss ds fs gs'.split(' ')

function mask(value: bigint, bytes: number): bigint {
  return BigInt.asUintN(bytes * 8, value)
}

/** The address every case is decoded at. */
const ADDRESS = 0x12340n

function wide(high: number, low: number): bigint {
  return (BigInt(high) << 32n) | BigInt(low >>> 0)
}

/** Our operand as text; `like` is iced's kind, which tells how wide an immediate is to be compared. */
function operandOf(insn: Instruction, i: number, like: OpKind): string {
  const op = insn.ops[i]!
  const imm = wide(insn.immHi, insn.imm)
  switch (op.kind) {
    case OPERAND.gpr:
      return gpr(op.reg, op.size)
    case OPERAND.seg:
      return SEGMENTS[op.reg]!
    case OPERAND.cr:
      return `cr${op.reg}`
    case OPERAND.dr:
      return `dr${op.reg}`
    case OPERAND.tr:
      return `tr${op.reg}`
    case OPERAND.st:
      return `st${op.reg}`
    case OPERAND.mm:
      return `mm${op.reg}`
    case OPERAND.xmm:
      return `xmm${op.reg}`
    case OPERAND.one:
      return '#1'
    case OPERAND.imm:
      return `#${mask(imm, immediateBytes(like))}`
    case OPERAND.imm2:
      return `#${mask(BigInt(insn.imm2), immediateBytes(like))}`
    case OPERAND.rel: {
      const bytes = insn.bits === 64 ? 8 : insn.opSize
      return `=>${mask(ADDRESS + BigInt(insn.length) + imm, bytes)}`
    }
    case OPERAND.far:
      return `${insn.imm2}:${mask(imm, insn.opSize)}`
    case OPERAND.strSrc:
      return `[${flat(SEGMENTS[insn.seg]!)}:${gpr(6, insn.addrSize)}]`
    case OPERAND.strDst:
      return `[es:${gpr(7, insn.addrSize)}]`
    case OPERAND.mem: {
      const disp = wide(insn.dispHi, insn.disp)
      const base = insn.base === REG_NONE ? 'none' : insn.base === REG_RIP ? 'ip' : gpr(insn.base, insn.addrSize)
      const index = insn.index === REG_NONE ? 'none' : gpr(insn.index, insn.addrSize)
      const total = insn.base === REG_RIP ? ADDRESS + BigInt(insn.length) + disp : disp
      return `[${flat(SEGMENTS[insn.seg]!)}:${base}+${index}*${insn.scale}+${mask(total, insn.addrSize)}]`
    }
    default:
      return '?'
  }
}

function immediateBytes(kind: OpKind): number {
  switch (kind) {
    case OpKind.Immediate16:
    case OpKind.Immediate8to16:
      return 2
    case OpKind.Immediate32:
    case OpKind.Immediate8to32:
      return 4
    case OpKind.Immediate64:
    case OpKind.Immediate8to64:
    case OpKind.Immediate32to64:
      return 8
    default:
      return 1
  }
}

const REGISTER_NAMES: readonly string[] = Object.keys(Register)
  .filter((key) => Number.isNaN(Number(key)))
  .reduce<string[]>((names, key) => {
    names[Register[key as keyof typeof Register] as number] = key.toLowerCase()
    return names
  }, [])

/** In 64-bit mode ES, CS, SS and DS are all the flat segment, and overrides by them are ignored; iced reports them as written. */
function flat(segment: string): string {
  return insn.bits === 64 && segment !== 'fs' && segment !== 'gs' ? 'flat' : segment
}

/** iced names the whole register where only 16 bits are read (ARPL, MOV to segment registers, LLDT ...). */
function as16(register: string): string {
  return register.replace(/^(r[0-9]+)d?$/, '$1w').replace(/^[er]([a-z]{2})$/, '$1')
}

function icedOperand(theirs: IcedInstruction, i: number): string {
  const kind = theirs.opKind(i)
  const segment = (): string => flat(REGISTER_NAMES[theirs.memorySegment]!)
  switch (kind) {
    case OpKind.Register:
      return REGISTER_NAMES[theirs.opRegister(i)]!
    case OpKind.NearBranch16:
    case OpKind.NearBranch32:
    case OpKind.NearBranch64:
      return `=>${theirs.nearBranchTarget}`
    case OpKind.FarBranch16:
      return `${theirs.farBranchSelector}:${theirs.farBranch16}`
    case OpKind.FarBranch32:
      return `${theirs.farBranchSelector}:${theirs.farBranch32}`
    case OpKind.MemorySegSI:
      return `[${segment()}:si]`
    case OpKind.MemorySegESI:
      return `[${segment()}:esi]`
    case OpKind.MemorySegRSI:
      return `[${segment()}:rsi]`
    case OpKind.MemorySegDI:
    case OpKind.MemorySegEDI:
    case OpKind.MemorySegRDI:
      return 'implicit'
    case OpKind.MemoryESDI:
      return '[es:di]'
    case OpKind.MemoryESEDI:
      return '[es:edi]'
    case OpKind.MemoryESRDI:
      return '[es:rdi]'
    case OpKind.Memory: {
      const baseRegister = theirs.memoryBase
      const relative = baseRegister === Register.RIP || baseRegister === Register.EIP
      const base = relative ? 'ip' : REGISTER_NAMES[baseRegister]!
      const index = REGISTER_NAMES[theirs.memoryIndex]!
      // iced reports the scale bits even where there is no index.
      const scale = theirs.memoryIndex === Register.None ? 1 : theirs.memoryIndexScale
      return `[${segment()}:${base}+${index}*${scale}+`
    }
    default:
      return `#${mask(theirs.immediate(i), immediateBytes(kind))}`
  }
}

/** Memory operands without a width: the address alone counts, or it is a state area, or a hint that reads nothing. */
function widthless(insn: Instruction, i: number): boolean {
  return insn.ops[i]!.size === 0 || MNEMONICS[insn.mnemonic] === 'nop'
}

/**
 * Forms that are valid for iced and that we refuse or read differently. Returns the reason, or `undefined` where the
 * two must agree. `ok` says whether ours decoded.
 */
function deliberate(theirs: IcedInstruction, ours: Instruction, ok: boolean): string | undefined {
  const mine = ok ? MNEMONICS[ours.mnemonic]! : ''
  if (theirs.cpuidFeatures().every((feature) => CLAIMED.has(feature))) {
    // With REX.B, 90 is XCHG R8, RAX, and F3 does not change that: an EPYC exchanges the registers.
    if (theirs.mnemonic === Mnemonic.Pause && mine === 'xchg' && ours.length === theirs.length) {
      return 'F3 REX.B 90 is XCHG, not PAUSE'
    }
    return undefined
  }
  if (!ok) {
    // VEX and EVEX are not decoded, but their lengths are known.
    if (theirs.encoding === EncodingKind.VEX || theirs.encoding === EncodingKind.EVEX) {
      return ours.length === theirs.length ? 'a VEX or EVEX instruction: invalid, of the same length' : undefined
    }
    return 'an instruction of a feature that the table does not have: invalid'
  }
  if (ours.length !== theirs.length) return undefined
  // 0F 0D and 0F 18-1F are hints: without the feature that gives one a meaning it is a NOP, never invalid.
  if (mine === 'nop' && ROWS[ours.row]!.map === 1) return 'a hint of a feature that the table does not have: NOP'
  if (mine === 'wbinvd' && theirs.mnemonic === Mnemonic.Wbnoinvd)
    return 'WBNOINVD is WBINVD where the feature is absent'
  return undefined
}

/** One difference, for the failure message. */
export interface Difference {
  readonly bits: number
  readonly bytes: string
  readonly ours: string
  readonly theirs: string
}

/** What a batch found. */
export interface Report {
  readonly differences: Difference[]
  /** How often each reason of {@link deliberate} applied. */
  readonly deliberate: Map<string, number>
  /** How often each row was decoded by both. */
  readonly rowHits: Uint32Array
  compared: number
}

export function newReport(): Report {
  return { differences: [], deliberate: new Map(), rowHits: new Uint32Array(ROWS.length), compared: 0 }
}

const insn = new Instruction()
const theirs = new IcedInstruction()

/** Decodes every {@link SLOT} of `cases` with both decoders. */
export function compareBatch(cases: Uint8Array, bits: 16 | 32 | 64, report: Report): void {
  const decoder = new Decoder(bits, cases, DecoderOptions.None)
  for (let at = 0; at + SLOT <= cases.length; at += SLOT) {
    decoder.position = at
    decoder.ip = ADDRESS
    decoder.decodeOut(theirs)
    const ok = decode(cases, at, SLOT, bits, insn) === DECODE.ok
    report.compared++
    const valid = theirs.code !== Code.INVALID
    if (!ok && !valid) continue
    const note = (ours: string, other: string): void => {
      const reason = valid ? deliberate(theirs, insn, ok) : undefined
      if (reason !== undefined) report.deliberate.set(reason, (report.deliberate.get(reason) ?? 0) + 1)
      else {
        const bytes = Array.from(cases.subarray(at, at + SLOT), (byte) => byte.toString(16).padStart(2, '0')).join(' ')
        report.differences.push({ bits, bytes, ours, theirs: other })
      }
    }
    if (ok !== valid) {
      note(ok ? nameOf(insn) : 'invalid', valid ? `${Code[theirs.code]} ${theirs}` : 'invalid')
      continue
    }
    // The manual's reserved NOPs (0F 0D, 0F 18-1F) have names of their own in iced.
    const hint = /^(Reservednop|Prefetchreserved)/.test(Code[theirs.code]!)
    const name = hint ? 'nop' : Mnemonic[theirs.mnemonic]!.toLowerCase()
    if (insn.length !== theirs.length || nameOf(insn) !== name) {
      note(`${nameOf(insn)} of ${insn.length} bytes`, `${Code[theirs.code]} of ${theirs.length} bytes`)
      continue
    }
    report.rowHits[insn.row]!++
    const problem = compareOperands()
    if (problem !== undefined) note(problem, `${Code[theirs.code]} ${theirs}`)
  }
  decoder.free()
}

function compareOperands(): string | undefined {
  let ours = 0
  const narrow = /r(32|64)m16/.test(Code[theirs.code]!)
  for (let i = 0; i < theirs.opCount; i++) {
    const text = icedOperand(theirs, i)
    // Operands that no ModRM bit or immediate names, and that the opcode map does not list: XLAT's table, MASKMOVQ's destination.
    if (text === 'implicit' || MNEMONICS[insn.mnemonic] === 'xlat') continue
    const mine = ours < insn.operands ? operandOf(insn, ours, theirs.opKind(i)) : 'nothing'
    let wanted = text
    if (narrow && ours < insn.operands && insn.ops[ours]!.size === 2) wanted = as16(wanted)
    // The register that ModRM.reg names takes no part in a reserved NOP.
    if (theirs.mnemonic === Mnemonic.Reservednop && i === 1) continue
    if (text.endsWith('+')) {
      wanted = `${text}${mask(theirs.memoryDisplacement, insn.addrSize)}]`
      const size = MemorySizeExt.size(theirs.memorySize)
      if (!widthless(insn, ours) && size !== insn.ops[ours]!.size)
        return `memory of ${insn.ops[ours]!.size} bytes, not ${size}`
    }
    if (mine !== wanted) return `operand ${i} is ${mine}, not ${wanted}`
    ours++
  }
  // The fixed XMM0 of the variable blends is no operand for iced.
  if (ours < insn.operands && ROWS[insn.row]!.operands[ours]!.method === 'xmm0') ours++
  return ours === insn.operands ? undefined : `${insn.operands} operands, not ${ours}`
}
