/**
 * The x87 floating-point instructions. The notation is described in `table.ts`.
 * Source: Intel SDM Vol. 2, "Escape Opcode Instructions"; 80387 Programmer's Reference Manual.
 */

const ARITHMETIC: readonly string[] = ['add', 'mul', 'com', 'comp', 'sub', 'subr', 'div', 'divr']

/** DC and DE with a register destination swap SUB with SUBR and DIV with DIVR. */
const REVERSED: readonly string[] = ['add', 'mul', '', '', 'subr', 'sub', 'divr', 'div']

function arithmetic(): string {
  const rows = ARITHMETIC.map((name, n) => {
    const modrm = (0xc0 + n * 8).toString(16).toUpperCase()
    return `
D8 /${n} | f${name} Md | cpu=fpu
DC /${n} | f${name} Mq | cpu=fpu
DA /${n} | fi${name} Md | cpu=fpu
DE /${n} | fi${name} Mw | cpu=fpu
D8 ${modrm}+i | f${name} ST0,STi | cpu=fpu`
  })
  const reversed = REVERSED.map((name, n) => {
    const modrm = (0xc0 + n * 8).toString(16).toUpperCase()
    if (name === '') return ''
    return `
DC ${modrm}+i | f${name} STi,ST0 | cpu=fpu
DE ${modrm}+i | f${name}p STi,ST0 | cpu=fpu`
  })
  return rows.join('') + reversed.join('')
}

/** Table rows; see `table.ts` for the notation. */
export const X87_ROWS: string = `
${arithmetic()}
D9 /0 | fld Md | cpu=fpu
D9 /2 | fst Md | cpu=fpu
D9 /3 | fstp Md | cpu=fpu
D9 /4 | fldenv M | cpu=fpu
D9 /5 | fldcw Mw | cpu=fpu
D9 /6 | fnstenv M | cpu=fpu
D9 /7 | fnstcw Mw | cpu=fpu
D9 C0+i | fld STi | cpu=fpu
D9 C8+i | fxch ST0,STi | cpu=fpu
D9 D0 | fnop | cpu=fpu
D9 D8+i | fstpnce STi | cpu=fpu
D9 E0 | fchs | cpu=fpu
D9 E1 | fabs | cpu=fpu
D9 E4 | ftst | cpu=fpu
D9 E5 | fxam | cpu=fpu
D9 E8 | fld1 | cpu=fpu
D9 E9 | fldl2t | cpu=fpu
D9 EA | fldl2e | cpu=fpu
D9 EB | fldpi | cpu=fpu
D9 EC | fldlg2 | cpu=fpu
D9 ED | fldln2 | cpu=fpu
D9 EE | fldz | cpu=fpu
D9 F0 | f2xm1 | cpu=fpu
D9 F1 | fyl2x | cpu=fpu
D9 F2 | fptan | cpu=fpu
D9 F3 | fpatan | cpu=fpu
D9 F4 | fxtract | cpu=fpu
D9 F5 | fprem1 | cpu=fpu387
D9 F6 | fdecstp | cpu=fpu
D9 F7 | fincstp | cpu=fpu
D9 F8 | fprem | cpu=fpu
D9 F9 | fyl2xp1 | cpu=fpu
D9 FA | fsqrt | cpu=fpu
D9 FB | fsincos | cpu=fpu387
D9 FC | frndint | cpu=fpu
D9 FD | fscale | cpu=fpu
D9 FE | fsin | cpu=fpu387
D9 FF | fcos | cpu=fpu387
DA C0+i | fcmovb ST0,STi | cpu=fcmov r:c
DA C8+i | fcmove ST0,STi | cpu=fcmov r:z
DA D0+i | fcmovbe ST0,STi | cpu=fcmov r:zc
DA D8+i | fcmovu ST0,STi | cpu=fcmov r:p
DA E9 | fucompp | cpu=fpu387
DB /0 | fild Md | cpu=fpu
DB /1 | fisttp Md | cpu=sse3
DB /2 | fist Md | cpu=fpu
DB /3 | fistp Md | cpu=fpu
DB /5 | fld Mt | cpu=fpu
DB /7 | fstp Mt | cpu=fpu
DB C0+i | fcmovnb ST0,STi | cpu=fcmov r:c
DB C8+i | fcmovne ST0,STi | cpu=fcmov r:z
DB D0+i | fcmovnbe ST0,STi | cpu=fcmov r:zc
DB D8+i | fcmovnu ST0,STi | cpu=fcmov r:p
DB E0 | fneni | cpu=fpu
DB E1 | fndisi | cpu=fpu
DB E2 | fnclex | cpu=fpu
DB E3 | fninit | cpu=fpu
DB E4 | fnsetpm | cpu=fpu287
DB E8+i | fucomi ST0,STi | cpu=fcmov w:oszapc
DB F0+i | fcomi ST0,STi | cpu=fcmov w:oszapc
DC D0+i | fcom ST0,STi | cpu=fpu alias
DC D8+i | fcomp ST0,STi | cpu=fpu alias
DD /0 | fld Mq | cpu=fpu
DD /1 | fisttp Mq | cpu=sse3
DD /2 | fst Mq | cpu=fpu
DD /3 | fstp Mq | cpu=fpu
DD /4 | frstor M | cpu=fpu
DD /6 | fnsave M | cpu=fpu
DD /7 | fnstsw Mw | cpu=fpu
DD C0+i | ffree STi | cpu=fpu
DD C8+i | fxch ST0,STi | cpu=fpu alias
DD D0+i | fst STi | cpu=fpu
DD D8+i | fstp STi | cpu=fpu
DD E0+i | fucom ST0,STi | cpu=fpu387
DD E8+i | fucomp ST0,STi | cpu=fpu387
DE D0+i | fcomp ST0,STi | cpu=fpu alias
DE D9 | fcompp | cpu=fpu
DF /0 | fild Mw | cpu=fpu
DF /1 | fisttp Mw | cpu=sse3
DF /2 | fist Mw | cpu=fpu
DF /3 | fistp Mw | cpu=fpu
DF /4 | fbld Mt | cpu=fpu
DF /5 | fild Mq | cpu=fpu
DF /6 | fbstp Mt | cpu=fpu
DF /7 | fistp Mq | cpu=fpu
DF C0+i | ffreep STi | cpu=fpu
DF C8+i | fxch ST0,STi | cpu=fpu alias
DF D0+i | fstp STi | cpu=fpu alias
DF D8+i | fstp STi | cpu=fpu alias
DF E0 | fnstsw AX | cpu=fpu287
DF E8+i | fucomip ST0,STi | cpu=fcmov w:oszapc
DF F0+i | fcomip ST0,STi | cpu=fcmov w:oszapc
`
