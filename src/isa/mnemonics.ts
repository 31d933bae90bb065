/**
 * The mnemonics of the instruction table and their numbers. A test holds this list against the table.
 */

/** Every mnemonic; the position is its number. Number 0 is the invalid instruction. */
// biome-ignore format: a dense list reads better
export const MNEMONICS = [
  'invalid', 'aaa', 'aad', 'aam', 'aas', 'adc', 'add', 'addpd', 'addps', 'addsd', 'addss', 'addsubpd', 'addsubps',
  'aesdec', 'aesdeclast', 'aesenc', 'aesenclast', 'aesimc', 'aeskeygenassist', 'and', 'andnpd', 'andnps', 'andpd',
  'andps', 'arpl', 'blendpd', 'blendps', 'blendvpd', 'blendvps', 'bound', 'bsf', 'bsr', 'bswap', 'bt', 'btc', 'btr',
  'bts', 'call', 'callf', 'cbw', 'clac', 'clc', 'cld', 'clflush', 'cli', 'clts', 'cmc', 'cmov', 'cmp', 'cmppd',
  'cmpps', 'cmps', 'cmpsd', 'cmpss', 'cmpxchg', 'cmpxchg16b', 'cmpxchg8b', 'comisd', 'comiss', 'cpuid', 'crc32',
  'cvtdq2pd', 'cvtdq2ps', 'cvtpd2dq', 'cvtpd2pi', 'cvtpd2ps', 'cvtpi2pd', 'cvtpi2ps', 'cvtps2dq', 'cvtps2pd',
  'cvtps2pi', 'cvtsd2si', 'cvtsd2ss', 'cvtsi2sd', 'cvtsi2ss', 'cvtss2sd', 'cvtss2si', 'cvttpd2dq', 'cvttpd2pi',
  'cvttps2dq', 'cvttps2pi', 'cvttsd2si', 'cvttss2si', 'cwd', 'daa', 'das', 'dec', 'div', 'divpd', 'divps', 'divsd',
  'divss', 'dppd', 'dpps', 'emms', 'endbr32', 'endbr64', 'enter', 'extractps', 'f2xm1', 'fabs', 'fadd', 'faddp',
  'fbld', 'fbstp', 'fchs', 'fcmovb', 'fcmovbe', 'fcmove', 'fcmovnb', 'fcmovnbe', 'fcmovne', 'fcmovnu', 'fcmovu',
  'fcom', 'fcomi', 'fcomip', 'fcomp', 'fcompp', 'fcos', 'fdecstp', 'fdiv', 'fdivp', 'fdivr', 'fdivrp', 'ffree',
  'ffreep', 'fiadd', 'ficom', 'ficomp', 'fidiv', 'fidivr', 'fild', 'fimul', 'fincstp', 'fist', 'fistp', 'fisttp',
  'fisub', 'fisubr', 'fld', 'fld1', 'fldcw', 'fldenv', 'fldl2e', 'fldl2t', 'fldlg2', 'fldln2', 'fldpi', 'fldz',
  'fmul', 'fmulp', 'fnclex', 'fndisi', 'fneni', 'fninit', 'fnop', 'fnsave', 'fnsetpm', 'fnstcw', 'fnstenv', 'fnstsw',
  'fpatan', 'fprem', 'fprem1', 'fptan', 'frndint', 'frstor', 'fscale', 'fsin', 'fsincos', 'fsqrt', 'fst', 'fstp',
  'fstpnce', 'fsub', 'fsubp', 'fsubr', 'fsubrp', 'ftst', 'fucom', 'fucomi', 'fucomip', 'fucomp', 'fucompp', 'fxam',
  'fxch', 'fxrstor', 'fxsave', 'fxtract', 'fyl2x', 'fyl2xp1', 'haddpd', 'haddps', 'hlt', 'hsubpd', 'hsubps', 'idiv',
  'imul', 'in', 'inc', 'ins', 'insertps', 'int', 'int1', 'int3', 'into', 'invd', 'invept', 'invlpg', 'invpcid',
  'invvpid', 'iret', 'j', 'jcxz', 'jmp', 'jmpf', 'lahf', 'lar', 'lddqu', 'ldmxcsr', 'lds', 'lea', 'leave', 'les',
  'lfence', 'lfs', 'lgdt', 'lgs', 'lidt', 'lldt', 'lmsw', 'lods', 'loop', 'loope', 'loopne', 'lsl', 'lss', 'ltr',
  'lzcnt', 'maskmovdqu', 'maskmovq', 'maxpd', 'maxps', 'maxsd', 'maxss', 'mfence', 'minpd', 'minps', 'minsd', 'minss',
  'monitor', 'mov', 'movapd', 'movaps', 'movbe', 'movd', 'movddup', 'movdq2q', 'movdqa', 'movdqu', 'movhlps',
  'movhpd', 'movhps', 'movlhps', 'movlpd', 'movlps', 'movmskpd', 'movmskps', 'movntdq', 'movntdqa', 'movnti',
  'movntpd', 'movntps', 'movntq', 'movq', 'movq2dq', 'movs', 'movsd', 'movshdup', 'movsldup', 'movss', 'movsx',
  'movsxd', 'movupd', 'movups', 'movzx', 'mpsadbw', 'mul', 'mulpd', 'mulps', 'mulsd', 'mulss', 'mwait', 'neg', 'nop',
  'not', 'or', 'orpd', 'orps', 'out', 'outs', 'pabsb', 'pabsd', 'pabsw', 'packssdw', 'packsswb', 'packusdw',
  'packuswb', 'paddb', 'paddd', 'paddq', 'paddsb', 'paddsw', 'paddusb', 'paddusw', 'paddw', 'palignr', 'pand',
  'pandn', 'pause', 'pavgb', 'pavgw', 'pblendvb', 'pblendw', 'pclmulqdq', 'pcmpeqb', 'pcmpeqd', 'pcmpeqq', 'pcmpeqw',
  'pcmpestri', 'pcmpestrm', 'pcmpgtb', 'pcmpgtd', 'pcmpgtq', 'pcmpgtw', 'pcmpistri', 'pcmpistrm', 'pextrb', 'pextrd',
  'pextrq', 'pextrw', 'phaddd', 'phaddsw', 'phaddw', 'phminposuw', 'phsubd', 'phsubsw', 'phsubw', 'pinsrb', 'pinsrd',
  'pinsrq', 'pinsrw', 'pmaddubsw', 'pmaddwd', 'pmaxsb', 'pmaxsd', 'pmaxsw', 'pmaxub', 'pmaxud', 'pmaxuw', 'pminsb',
  'pminsd', 'pminsw', 'pminub', 'pminud', 'pminuw', 'pmovmskb', 'pmovsxbd', 'pmovsxbq', 'pmovsxbw', 'pmovsxdq',
  'pmovsxwd', 'pmovsxwq', 'pmovzxbd', 'pmovzxbq', 'pmovzxbw', 'pmovzxdq', 'pmovzxwd', 'pmovzxwq', 'pmuldq',
  'pmulhrsw', 'pmulhuw', 'pmulhw', 'pmulld', 'pmullw', 'pmuludq', 'pop', 'popa', 'popcnt', 'popf', 'por', 'prefetch',
  'prefetchnta', 'prefetcht0', 'prefetcht1', 'prefetcht2', 'prefetchw', 'psadbw', 'pshufb', 'pshufd', 'pshufhw',
  'pshuflw', 'pshufw', 'psignb', 'psignd', 'psignw', 'pslld', 'pslldq', 'psllq', 'psllw', 'psrad', 'psraw', 'psrld',
  'psrldq', 'psrlq', 'psrlw', 'psubb', 'psubd', 'psubq', 'psubsb', 'psubsw', 'psubusb', 'psubusw', 'psubw', 'ptest',
  'punpckhbw', 'punpckhdq', 'punpckhqdq', 'punpckhwd', 'punpcklbw', 'punpckldq', 'punpcklqdq', 'punpcklwd', 'push',
  'pusha', 'pushf', 'pxor', 'rcl', 'rcpps', 'rcpss', 'rcr', 'rdfsbase', 'rdgsbase', 'rdmsr', 'rdpid', 'rdpkru', 'rdpmc',
  'rdrand', 'rdseed', 'rdtsc', 'rdtscp', 'ret', 'retf', 'rol', 'ror', 'roundpd', 'roundps', 'roundsd', 'roundss',
  'rsm', 'rsqrtps', 'rsqrtss', 'sahf', 'salc', 'sar', 'sbb', 'scas', 'set', 'sfence', 'sgdt', 'shl', 'shld', 'shr',
  'shrd', 'shufpd', 'shufps', 'sidt', 'sldt', 'smsw', 'sqrtpd', 'sqrtps', 'sqrtsd', 'sqrtss', 'stac', 'stc', 'std',
  'sti', 'stmxcsr', 'stos', 'str', 'sub', 'subpd', 'subps', 'subsd', 'subss', 'swapgs', 'syscall', 'sysenter',
  'sysexit', 'sysret', 'test', 'tzcnt', 'ucomisd', 'ucomiss', 'ud0', 'ud1', 'ud2', 'unpckhpd', 'unpckhps', 'unpcklpd',
  'unpcklps', 'verr', 'verw', 'vmcall', 'vmclear', 'vmfunc', 'vmlaunch', 'vmptrld', 'vmptrst', 'vmread', 'vmresume',
  'vmwrite', 'vmxoff', 'vmxon', 'wait', 'wbinvd', 'wrfsbase', 'wrgsbase', 'wrmsr', 'wrpkru', 'xadd', 'xchg', 'xgetbv', 'xlat',
  'xor', 'xorpd', 'xorps', 'xrstor', 'xsave', 'xsaveopt', 'xsetbv',
] as const

/** Name of an instruction as the table spells it: `j`, `set` and `cmov` stand for all sixteen conditions, `movs` for all widths. */
export type Mnemonic = (typeof MNEMONICS)[number]

/** Number of each mnemonic: `MN.add`, `MN.cmpxchg8b`. Dense from 1; `MN.invalid` is 0. */
export const MN: { readonly [name in Mnemonic]: number } = /* @__PURE__ */ Object.fromEntries(
  MNEMONICS.map((name, id) => [name, id]),
) as { [name in Mnemonic]: number }

/** `Instruction.mnemonic` after a failed decode. */
export const MN_INVALID = 0
