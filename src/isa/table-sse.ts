/**
 * MMX, SSE to SSE4.2, AES, PCLMULQDQ and the state-saving instructions that belong to them. The notation is described in `table.ts`.
 * Source: Intel SDM Vol. 2, "Instruction Set Reference" and "Opcode Map".
 */

/** Opcode, name, feature of the MMX form: integer operations that exist on MMX (NP) and on XMM registers (66). */
const PACKED: readonly (readonly [string, string, string])[] = [
  ['0F 63', 'packsswb', 'mmx'],
  ['0F 64', 'pcmpgtb', 'mmx'],
  ['0F 65', 'pcmpgtw', 'mmx'],
  ['0F 66', 'pcmpgtd', 'mmx'],
  ['0F 67', 'packuswb', 'mmx'],
  ['0F 68', 'punpckhbw', 'mmx'],
  ['0F 69', 'punpckhwd', 'mmx'],
  ['0F 6A', 'punpckhdq', 'mmx'],
  ['0F 6B', 'packssdw', 'mmx'],
  ['0F 74', 'pcmpeqb', 'mmx'],
  ['0F 75', 'pcmpeqw', 'mmx'],
  ['0F 76', 'pcmpeqd', 'mmx'],
  ['0F D1', 'psrlw', 'mmx'],
  ['0F D2', 'psrld', 'mmx'],
  ['0F D3', 'psrlq', 'mmx'],
  ['0F D4', 'paddq', 'sse2'],
  ['0F D5', 'pmullw', 'mmx'],
  ['0F D8', 'psubusb', 'mmx'],
  ['0F D9', 'psubusw', 'mmx'],
  ['0F DA', 'pminub', 'sse'],
  ['0F DB', 'pand', 'mmx'],
  ['0F DC', 'paddusb', 'mmx'],
  ['0F DD', 'paddusw', 'mmx'],
  ['0F DE', 'pmaxub', 'sse'],
  ['0F DF', 'pandn', 'mmx'],
  ['0F E0', 'pavgb', 'sse'],
  ['0F E1', 'psraw', 'mmx'],
  ['0F E2', 'psrad', 'mmx'],
  ['0F E3', 'pavgw', 'sse'],
  ['0F E4', 'pmulhuw', 'sse'],
  ['0F E5', 'pmulhw', 'mmx'],
  ['0F E8', 'psubsb', 'mmx'],
  ['0F E9', 'psubsw', 'mmx'],
  ['0F EA', 'pminsw', 'sse'],
  ['0F EB', 'por', 'mmx'],
  ['0F EC', 'paddsb', 'mmx'],
  ['0F ED', 'paddsw', 'mmx'],
  ['0F EE', 'pmaxsw', 'sse'],
  ['0F EF', 'pxor', 'mmx'],
  ['0F F1', 'psllw', 'mmx'],
  ['0F F2', 'pslld', 'mmx'],
  ['0F F3', 'psllq', 'mmx'],
  ['0F F4', 'pmuludq', 'sse2'],
  ['0F F5', 'pmaddwd', 'mmx'],
  ['0F F6', 'psadbw', 'sse'],
  ['0F F8', 'psubb', 'mmx'],
  ['0F F9', 'psubw', 'mmx'],
  ['0F FA', 'psubd', 'mmx'],
  ['0F FB', 'psubq', 'sse2'],
  ['0F FC', 'paddb', 'mmx'],
  ['0F FD', 'paddw', 'mmx'],
  ['0F FE', 'paddd', 'mmx'],
  ['0F 38 00', 'pshufb', 'ssse3'],
  ['0F 38 01', 'phaddw', 'ssse3'],
  ['0F 38 02', 'phaddd', 'ssse3'],
  ['0F 38 03', 'phaddsw', 'ssse3'],
  ['0F 38 04', 'pmaddubsw', 'ssse3'],
  ['0F 38 05', 'phsubw', 'ssse3'],
  ['0F 38 06', 'phsubd', 'ssse3'],
  ['0F 38 07', 'phsubsw', 'ssse3'],
  ['0F 38 08', 'psignb', 'ssse3'],
  ['0F 38 09', 'psignw', 'ssse3'],
  ['0F 38 0A', 'psignd', 'ssse3'],
  ['0F 38 0B', 'pmulhrsw', 'ssse3'],
  ['0F 38 1C', 'pabsb', 'ssse3'],
  ['0F 38 1D', 'pabsw', 'ssse3'],
  ['0F 38 1E', 'pabsd', 'ssse3'],
]

/** Opcode, name, feature: XMM operations with 66 and no other form. */
const XMM_ONLY: readonly (readonly [string, string, string])[] = [
  ['0F 6C', 'punpcklqdq', 'sse2'],
  ['0F 6D', 'punpckhqdq', 'sse2'],
  ['0F 38 17', 'ptest', 'sse4.1 w:oszapc'],
  ['0F 38 28', 'pmuldq', 'sse4.1'],
  ['0F 38 29', 'pcmpeqq', 'sse4.1'],
  ['0F 38 2B', 'packusdw', 'sse4.1'],
  ['0F 38 37', 'pcmpgtq', 'sse4.2'],
  ['0F 38 38', 'pminsb', 'sse4.1'],
  ['0F 38 39', 'pminsd', 'sse4.1'],
  ['0F 38 3A', 'pminuw', 'sse4.1'],
  ['0F 38 3B', 'pminud', 'sse4.1'],
  ['0F 38 3C', 'pmaxsb', 'sse4.1'],
  ['0F 38 3D', 'pmaxsd', 'sse4.1'],
  ['0F 38 3E', 'pmaxuw', 'sse4.1'],
  ['0F 38 3F', 'pmaxud', 'sse4.1'],
  ['0F 38 40', 'pmulld', 'sse4.1'],
  ['0F 38 41', 'phminposuw', 'sse4.1'],
  ['0F 38 DB', 'aesimc', 'aes'],
  ['0F 38 DC', 'aesenc', 'aes'],
  ['0F 38 DD', 'aesenclast', 'aes'],
  ['0F 38 DE', 'aesdec', 'aes'],
  ['0F 38 DF', 'aesdeclast', 'aes'],
]

/** The same with an immediate byte. */
const XMM_IMMEDIATE: readonly (readonly [string, string, string])[] = [
  ['0F 3A 08', 'roundps', 'sse4.1'],
  ['0F 3A 09', 'roundpd', 'sse4.1'],
  ['0F 3A 0C', 'blendps', 'sse4.1'],
  ['0F 3A 0D', 'blendpd', 'sse4.1'],
  ['0F 3A 0E', 'pblendw', 'sse4.1'],
  ['0F 3A 40', 'dpps', 'sse4.1'],
  ['0F 3A 41', 'dppd', 'sse4.1'],
  ['0F 3A 42', 'mpsadbw', 'sse4.1'],
  ['0F 3A 44', 'pclmulqdq', 'pclmulqdq'],
  ['0F 3A 60', 'pcmpestrm', 'sse4.2 w:oszapc'],
  ['0F 3A 61', 'pcmpestri', 'sse4.2 w:oszapc'],
  ['0F 3A 62', 'pcmpistrm', 'sse4.2 w:oszapc'],
  ['0F 3A 63', 'pcmpistri', 'sse4.2 w:oszapc'],
  ['0F 3A DF', 'aeskeygenassist', 'aes'],
]

/** Floating-point operations with all four forms PS, PD, SS, SD. */
const FLOAT: readonly (readonly [string, string])[] = [
  ['51', 'sqrt'],
  ['58', 'add'],
  ['59', 'mul'],
  ['5C', 'sub'],
  ['5D', 'min'],
  ['5E', 'div'],
  ['5F', 'max'],
]

/** Floating-point operations with the forms PS and PD. */
const FLOAT_PACKED: readonly (readonly [string, string])[] = [
  ['14', 'unpckl'],
  ['15', 'unpckh'],
  ['54', 'and'],
  ['55', 'andn'],
  ['56', 'or'],
  ['57', 'xor'],
]

/** Opcode, suffix of PMOVSX/PMOVZX, width of the source. */
const EXTENSIONS: readonly (readonly [number, string, string])[] = [
  [0, 'bw', 'q'],
  [1, 'bd', 'd'],
  [2, 'bq', 'w'],
  [3, 'wd', 'q'],
  [4, 'wq', 'd'],
  [5, 'dq', 'q'],
]

/** Opcode, ModRM.reg, name: shifts by an immediate. */
const IMMEDIATE_SHIFTS: readonly (readonly [string, number, string])[] = [
  ['71', 2, 'psrlw'],
  ['71', 4, 'psraw'],
  ['71', 6, 'psllw'],
  ['72', 2, 'psrld'],
  ['72', 4, 'psrad'],
  ['72', 6, 'pslld'],
  ['73', 2, 'psrlq'],
  ['73', 6, 'psllq'],
]

function generated(): string {
  const lines: string[] = []
  for (const [code, name, feature] of PACKED) {
    const wide = feature === 'ssse3' ? feature : 'sse2'
    lines.push(`NP ${code} | ${name} Pq,Qq | cpu=${feature}`, `66 ${code} | ${name} Vdq,Wdq | cpu=${wide}`)
  }
  for (const [code, name, feature] of XMM_ONLY) lines.push(`66 ${code} | ${name} Vdq,Wdq | cpu=${feature}`)
  for (const [code, name, feature] of XMM_IMMEDIATE) lines.push(`66 ${code} | ${name} Vdq,Wdq,Ib | cpu=${feature}`)
  for (const [code, name] of FLOAT) {
    lines.push(
      `NP 0F ${code} | ${name}ps Vdq,Wdq | cpu=sse`,
      `66 0F ${code} | ${name}pd Vdq,Wdq | cpu=sse2`,
      `F3 0F ${code} | ${name}ss Vd,Wd | cpu=sse`,
      `F2 0F ${code} | ${name}sd Vq,Wq | cpu=sse2`,
    )
  }
  for (const [code, name] of FLOAT_PACKED) {
    lines.push(`NP 0F ${code} | ${name}ps Vdq,Wdq | cpu=sse`, `66 0F ${code} | ${name}pd Vdq,Wdq | cpu=sse2`)
  }
  for (const [low, name, width] of EXTENSIONS) {
    lines.push(
      `66 0F 38 2${low} | pmovsx${name} Vdq,W${width} | cpu=sse4.1`,
      `66 0F 38 3${low} | pmovzx${name} Vdq,W${width} | cpu=sse4.1`,
    )
  }
  for (const [code, reg, name] of IMMEDIATE_SHIFTS) {
    lines.push(`NP 0F ${code} /${reg} | ${name} Nq,Ib | cpu=mmx`, `66 0F ${code} /${reg} | ${name} Udq,Ib | cpu=sse2`)
  }
  return lines.join('\n')
}

/** Table rows; see `table.ts` for the notation. */
export const SSE_ROWS: string = `
${generated()}
NP 0F 10 | movups Vdq,Wdq | cpu=sse
66 0F 10 | movupd Vdq,Wdq | cpu=sse2
F3 0F 10 | movss Vd,Wd | cpu=sse
F2 0F 10 | movsd Vq,Wq | cpu=sse2
NP 0F 11 | movups Wdq,Vdq | cpu=sse
66 0F 11 | movupd Wdq,Vdq | cpu=sse2
F3 0F 11 | movss Wd,Vd | cpu=sse
F2 0F 11 | movsd Wq,Vq | cpu=sse2
NP 0F 12 | movlps Vq,Mq | cpu=sse
NP 0F 12 | movhlps Vdq,Udq | cpu=sse
66 0F 12 | movlpd Vq,Mq | cpu=sse2
F3 0F 12 | movsldup Vdq,Wdq | cpu=sse3
F2 0F 12 | movddup Vdq,Wq | cpu=sse3
NP 0F 13 | movlps Mq,Vq | cpu=sse
66 0F 13 | movlpd Mq,Vq | cpu=sse2
NP 0F 16 | movhps Vq,Mq | cpu=sse
NP 0F 16 | movlhps Vdq,Udq | cpu=sse
66 0F 16 | movhpd Vq,Mq | cpu=sse2
F3 0F 16 | movshdup Vdq,Wdq | cpu=sse3
NP 0F 17 | movhps Mq,Vq | cpu=sse
66 0F 17 | movhpd Mq,Vq | cpu=sse2
NP 0F 28 | movaps Vdq,Wdq | cpu=sse
66 0F 28 | movapd Vdq,Wdq | cpu=sse2
NP 0F 29 | movaps Wdq,Vdq | cpu=sse
66 0F 29 | movapd Wdq,Vdq | cpu=sse2
NP 0F 2A | cvtpi2ps Vq,Qq | cpu=sse
66 0F 2A | cvtpi2pd Vdq,Qq | cpu=sse2
F3 0F 2A | cvtsi2ss Vd,Ey | cpu=sse
F2 0F 2A | cvtsi2sd Vq,Ey | cpu=sse2
NP 0F 2B | movntps Mdq,Vdq | cpu=sse
66 0F 2B | movntpd Mdq,Vdq | cpu=sse2
NP 0F 2C | cvttps2pi Pq,Wq | cpu=sse
66 0F 2C | cvttpd2pi Pq,Wdq | cpu=sse2
F3 0F 2C | cvttss2si Gy,Wd | cpu=sse
F2 0F 2C | cvttsd2si Gy,Wq | cpu=sse2
NP 0F 2D | cvtps2pi Pq,Wq | cpu=sse
66 0F 2D | cvtpd2pi Pq,Wdq | cpu=sse2
F3 0F 2D | cvtss2si Gy,Wd | cpu=sse
F2 0F 2D | cvtsd2si Gy,Wq | cpu=sse2
NP 0F 2E | ucomiss Vd,Wd | cpu=sse w:oszapc
66 0F 2E | ucomisd Vq,Wq | cpu=sse2 w:oszapc
NP 0F 2F | comiss Vd,Wd | cpu=sse w:oszapc
66 0F 2F | comisd Vq,Wq | cpu=sse2 w:oszapc
NP 0F 50 | movmskps Gy,Udq | cpu=sse
66 0F 50 | movmskpd Gy,Udq | cpu=sse2
NP 0F 52 | rsqrtps Vdq,Wdq | cpu=sse
F3 0F 52 | rsqrtss Vd,Wd | cpu=sse
NP 0F 53 | rcpps Vdq,Wdq | cpu=sse
F3 0F 53 | rcpss Vd,Wd | cpu=sse
NP 0F 5A | cvtps2pd Vdq,Wq | cpu=sse2
66 0F 5A | cvtpd2ps Vdq,Wdq | cpu=sse2
F3 0F 5A | cvtss2sd Vq,Wd | cpu=sse2
F2 0F 5A | cvtsd2ss Vd,Wq | cpu=sse2
NP 0F 5B | cvtdq2ps Vdq,Wdq | cpu=sse2
66 0F 5B | cvtps2dq Vdq,Wdq | cpu=sse2
F3 0F 5B | cvttps2dq Vdq,Wdq | cpu=sse2
NP 0F 60 | punpcklbw Pq,Nq/Md | cpu=mmx
66 0F 60 | punpcklbw Vdq,Wdq | cpu=sse2
NP 0F 61 | punpcklwd Pq,Nq/Md | cpu=mmx
66 0F 61 | punpcklwd Vdq,Wdq | cpu=sse2
NP 0F 62 | punpckldq Pq,Nq/Md | cpu=mmx
66 0F 62 | punpckldq Vdq,Wdq | cpu=sse2
NP 0F 6E | movd Pq,Ed | W0 cpu=mmx
NP 0F 6E | movq Pq,Eq | W1 o64 cpu=mmx
66 0F 6E | movd Vdq,Ed | W0 cpu=sse2
66 0F 6E | movq Vdq,Eq | W1 o64 cpu=sse2
NP 0F 6F | movq Pq,Qq | cpu=mmx
66 0F 6F | movdqa Vdq,Wdq | cpu=sse2
F3 0F 6F | movdqu Vdq,Wdq | cpu=sse2
NP 0F 70 | pshufw Pq,Qq,Ib | cpu=sse
66 0F 70 | pshufd Vdq,Wdq,Ib | cpu=sse2
F3 0F 70 | pshufhw Vdq,Wdq,Ib | cpu=sse2
F2 0F 70 | pshuflw Vdq,Wdq,Ib | cpu=sse2
66 0F 73 /3 | psrldq Udq,Ib | cpu=sse2
66 0F 73 /7 | pslldq Udq,Ib | cpu=sse2
NP 0F 77 | emms | cpu=mmx
66 0F 7C | haddpd Vdq,Wdq | cpu=sse3
F2 0F 7C | haddps Vdq,Wdq | cpu=sse3
66 0F 7D | hsubpd Vdq,Wdq | cpu=sse3
F2 0F 7D | hsubps Vdq,Wdq | cpu=sse3
NP 0F 7E | movd Ed,Pq | W0 cpu=mmx
NP 0F 7E | movq Eq,Pq | W1 o64 cpu=mmx
66 0F 7E | movd Ed,Vdq | W0 cpu=sse2
66 0F 7E | movq Eq,Vdq | W1 o64 cpu=sse2
F3 0F 7E | movq Vdq,Wq | cpu=sse2
NP 0F 7F | movq Qq,Pq | cpu=mmx
66 0F 7F | movdqa Wdq,Vdq | cpu=sse2
F3 0F 7F | movdqu Wdq,Vdq | cpu=sse2
NP 0F AE /0 | fxsave M | cpu=fxsr
NP 0F AE /1 | fxrstor M | cpu=fxsr
NP 0F AE /2 | ldmxcsr Md | cpu=sse
NP 0F AE /3 | stmxcsr Md | cpu=sse
NP 0F C2 | cmpps Vdq,Wdq,Ib | cpu=sse
66 0F C2 | cmppd Vdq,Wdq,Ib | cpu=sse2
F3 0F C2 | cmpss Vd,Wd,Ib | cpu=sse
F2 0F C2 | cmpsd Vq,Wq,Ib | cpu=sse2
NP 0F C4 | pinsrw Pq,Ry/Mw,Ib | cpu=sse
66 0F C4 | pinsrw Vdq,Ry/Mw,Ib | cpu=sse2
NP 0F C5 | pextrw Gy,Nq,Ib | cpu=sse
66 0F C5 | pextrw Gy,Udq,Ib | cpu=sse2
NP 0F C6 | shufps Vdq,Wdq,Ib | cpu=sse
66 0F C6 | shufpd Vdq,Wdq,Ib | cpu=sse2
66 0F D0 | addsubpd Vdq,Wdq | cpu=sse3
F2 0F D0 | addsubps Vdq,Wdq | cpu=sse3
66 0F D6 | movq Wq,Vq | cpu=sse2
F3 0F D6 | movq2dq Vdq,Nq | cpu=sse2
F2 0F D6 | movdq2q Pq,Uq | cpu=sse2
NP 0F D7 | pmovmskb Gy,Nq | cpu=sse
66 0F D7 | pmovmskb Gy,Udq | cpu=sse2
66 0F E6 | cvttpd2dq Vdq,Wdq | cpu=sse2
F3 0F E6 | cvtdq2pd Vdq,Wq | cpu=sse2
F2 0F E6 | cvtpd2dq Vdq,Wdq | cpu=sse2
NP 0F E7 | movntq Mq,Pq | cpu=sse
66 0F E7 | movntdq Mdq,Vdq | cpu=sse2
F2 0F F0 | lddqu Vdq,Mdq | cpu=sse3
NP 0F F7 | maskmovq Pq,Nq | cpu=sse
66 0F F7 | maskmovdqu Vdq,Udq | cpu=sse2
66 0F 38 10 | pblendvb Vdq,Wdq,XMM0 | cpu=sse4.1
66 0F 38 14 | blendvps Vdq,Wdq,XMM0 | cpu=sse4.1
66 0F 38 15 | blendvpd Vdq,Wdq,XMM0 | cpu=sse4.1
66 0F 38 2A | movntdqa Vdq,Mdq | cpu=sse4.1
F2 0F 38 F0 | crc32 Gy,Eb | cpu=sse4.2
F2 0F 38 F1 | crc32 Gy,Ev | cpu=sse4.2
66 0F 3A 0A | roundss Vd,Wd,Ib | cpu=sse4.1
66 0F 3A 0B | roundsd Vq,Wq,Ib | cpu=sse4.1
NP 0F 3A 0F | palignr Pq,Qq,Ib | cpu=ssse3
66 0F 3A 0F | palignr Vdq,Wdq,Ib | cpu=ssse3
66 0F 3A 14 | pextrb Ry/Mb,Vdq,Ib | cpu=sse4.1
66 0F 3A 15 | pextrw Ry/Mw,Vdq,Ib | cpu=sse4.1
66 0F 3A 16 | pextrd Ed,Vdq,Ib | W0 cpu=sse4.1
66 0F 3A 16 | pextrq Eq,Vdq,Ib | W1 o64 cpu=sse4.1
66 0F 3A 17 | extractps Ry/Md,Vdq,Ib | cpu=sse4.1
66 0F 3A 20 | pinsrb Vdq,Ry/Mb,Ib | cpu=sse4.1
66 0F 3A 21 | insertps Vdq,Udq/Md,Ib | cpu=sse4.1
66 0F 3A 22 | pinsrd Vdq,Ed,Ib | W0 cpu=sse4.1
66 0F 3A 22 | pinsrq Vdq,Eq,Ib | W1 o64 cpu=sse4.1
`
