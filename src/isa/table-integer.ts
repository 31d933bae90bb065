/**
 * The general-purpose and system instructions. The notation is described in `table.ts`.
 * Source: Intel SDM Vol. 2, "Instruction Set Reference" and "Opcode Map"; AMD64 APM Vol. 3.
 */

/** `w:` for the eight arithmetic operations in the order of their opcodes. */
const ARITHMETIC: readonly (readonly [string, string])[] = [
  ['add', 'w:oszapc'],
  ['or', 'w:oszpc u:a'],
  ['adc', 'r:c w:oszapc'],
  ['sbb', 'r:c w:oszapc'],
  ['and', 'w:oszpc u:a'],
  ['sub', 'w:oszapc'],
  ['xor', 'w:oszpc u:a'],
  ['cmp', 'w:oszapc'],
]

/** Rotates and shifts: flags for a count of one, and for other counts. Slot 6 is the undocumented twin of SHL. */
const SHIFTS: readonly (readonly [string, string, string])[] = [
  ['rol', 'w:oc', 'w:c u:o'],
  ['ror', 'w:oc', 'w:c u:o'],
  ['rcl', 'r:c w:oc', 'r:c w:c u:o'],
  ['rcr', 'r:c w:oc', 'r:c w:c u:o'],
  ['shl', 'w:oszpc u:a', 'w:szpc u:oa'],
  ['shr', 'w:oszpc u:a', 'w:szpc u:oa'],
  ['shl', 'w:oszpc u:a alias', 'w:szpc u:oa alias'],
  ['sar', 'w:oszpc u:a', 'w:szpc u:oa'],
]

function hex(value: number): string {
  return value.toString(16).toUpperCase().padStart(2, '0')
}

function arithmetic(): string {
  return ARITHMETIC.map(([name, flags], n) => {
    const lock = name === 'cmp' ? '' : 'lock '
    return `
${hex(n * 8)} | ${name} Eb,Gb | ${lock}${flags}
${hex(n * 8 + 1)} | ${name} Ev,Gv | ${lock}${flags}
${hex(n * 8 + 2)} | ${name} Gb,Eb | ${flags}
${hex(n * 8 + 3)} | ${name} Gv,Ev | ${flags}
${hex(n * 8 + 4)} | ${name} AL,Ib | ${flags}
${hex(n * 8 + 5)} | ${name} rAX,Iz | ${flags}
80 /${n} | ${name} Eb,Ib | ${lock}${flags}
81 /${n} | ${name} Ev,Iz | ${lock}${flags}
82 /${n} | ${name} Eb,Ib | ${lock}i64 alias ${flags}
83 /${n} | ${name} Ev,sIb | ${lock}${flags}`
  }).join('')
}

function shifts(): string {
  return SHIFTS.map(
    ([name, one, many], n) => `
C0 /${n} | ${name} Eb,Ib | cpu=186 ${many}
C1 /${n} | ${name} Ev,Ib | cpu=186 ${many}
D0 /${n} | ${name} Eb,1 | ${one}
D1 /${n} | ${name} Ev,1 | ${one}
D2 /${n} | ${name} Eb,CL | ${many}
D3 /${n} | ${name} Ev,CL | ${many}`,
  ).join('')
}

/** Table rows; see `table.ts` for the notation. */
export const INTEGER_ROWS: string = `
${arithmetic()}
${shifts()}
06 | push ES | i64
07 | pop ES | i64
0E | push CS | i64
0F | pop CS | only=8086
16 | push SS | i64
17 | pop SS | i64
1E | push DS | i64
1F | pop DS | i64
27 | daa | i64 r:ac w:szapc u:o
2F | das | i64 r:ac w:szapc u:o
37 | aaa | i64 r:a w:ac u:oszp
3F | aas | i64 r:a w:ac u:oszp
40+r | inc Zv | i64 w:oszap
48+r | dec Zv | i64 w:oszap
50+r | push Zv | d64
58+r | pop Zv | d64
60 | pusha | i64 cpu=186
61 | popa | i64 cpu=186
60+cc | j Jb | only=8086 alias r:oszpc
62 | bound Gv,Ma | i64 cpu=186
63 | arpl Ew,Gw | i64 cpu=286 w:z
63 | movsxd Gv,Ez | o64 cpu=lm
68 | push Iz | d64 cpu=186
69 | imul Gv,Ev,Iz | cpu=186 w:oc u:szap
6A | push sIb | d64 cpu=186
6B | imul Gv,Ev,sIb | cpu=186 w:oc u:szap
6C | ins Yb,DX | rep cpu=186 r:d
6D | ins Yz,DX | rep cpu=186 r:d
6E | outs DX,Xb | rep cpu=186 r:d
6F | outs DX,Xz | rep cpu=186 r:d
70+cc | j Jb | f64 r:oszpc
84 | test Eb,Gb | w:oszpc u:a
85 | test Ev,Gv | w:oszpc u:a
86 | xchg Eb,Gb | lock
87 | xchg Ev,Gv | lock
88 | mov Eb,Gb
89 | mov Ev,Gv
8A | mov Gb,Eb
8B | mov Gv,Ev
8C | mov Rv/Mw,Sw
8D | lea Gv,M
8E | mov Sw,Ew | nocs
8E /1 | mov Sw,Ew | only=8086
8F /0 | pop Ev | d64
90 | nop | B0
90 | xchg Zv,rAX | B1 o64 alias
90+r | xchg Zv,rAX
F3 90 | pause | B0 cpu=sse2
98 | cbw
99 | cwd
9A | callf Ap | i64
9B | wait
9C | pushf | d64 r:oszapcdit
9D | popf | d64 w:oszapcdit
9E | sahf | w:szapc
9F | lahf | r:szapc
A0 | mov AL,Ob
A1 | mov rAX,Ov
A2 | mov Ob,AL
A3 | mov Ov,rAX
A4 | movs Yb,Xb | rep r:d
A5 | movs Yv,Xv | rep r:d
A6 | cmps Xb,Yb | repz r:d w:oszapc
A7 | cmps Xv,Yv | repz r:d w:oszapc
A8 | test AL,Ib | w:oszpc u:a
A9 | test rAX,Iz | w:oszpc u:a
AA | stos Yb,AL | rep r:d
AB | stos Yv,rAX | rep r:d
AC | lods AL,Xb | rep r:d
AD | lods rAX,Xv | rep r:d
AE | scas AL,Yb | repz r:d w:oszapc
AF | scas rAX,Yv | repz r:d w:oszapc
B0+r | mov Zb,Ib
B8+r | mov Zv,Iv
C0 | ret Iw | only=8086 alias
C1 | ret | only=8086 alias
C2 | ret Iw | f64
C3 | ret | f64
C4 | les Gv,Mp | i64
C5 | lds Gv,Mp | i64
C6 /0 | mov Eb,Ib
C7 /0 | mov Ev,Iz
C8 | enter Iw,Ib | d64 cpu=186
C8 | retf Iw | only=8086 alias
C9 | leave | d64 cpu=186
C9 | retf | only=8086 alias
CA | retf Iw
CB | retf
CC | int3
CD | int Ib
CE | into | i64 r:o
CF | iret | w:oszapcdit
D4 | aam Ib | i64 w:szp u:oac
D5 | aad Ib | i64 w:szp u:oac
D6 | salc | i64 r:c
D7 | xlat
E0 | loopne Jb | f64 r:z
E1 | loope Jb | f64 r:z
E2 | loop Jb | f64
E3 | jcxz Jb | f64
E4 | in AL,Ib
E5 | in eAX,Ib
E6 | out Ib,AL
E7 | out Ib,eAX
E8 | call Jz | f64
E9 | jmp Jz | f64
EA | jmpf Ap | i64
EB | jmp Jb | f64
EC | in AL,DX
ED | in eAX,DX
EE | out DX,AL
EF | out DX,eAX
F1 | int1 | cpu=386
F4 | hlt
F5 | cmc | r:c w:c
F6 /0 | test Eb,Ib | w:oszpc u:a
F6 /1 | test Eb,Ib | alias w:oszpc u:a
F6 /2 | not Eb | lock
F6 /3 | neg Eb | lock w:oszapc
F6 /4 | mul Eb | w:oc u:szap
F6 /5 | imul Eb | w:oc u:szap
F6 /6 | div Eb | u:oszapc
F6 /7 | idiv Eb | u:oszapc
F7 /0 | test Ev,Iz | w:oszpc u:a
F7 /1 | test Ev,Iz | alias w:oszpc u:a
F7 /2 | not Ev | lock
F7 /3 | neg Ev | lock w:oszapc
F7 /4 | mul Ev | w:oc u:szap
F7 /5 | imul Ev | w:oc u:szap
F7 /6 | div Ev | u:oszapc
F7 /7 | idiv Ev | u:oszapc
F8 | clc | w:c
F9 | stc | w:c
FA | cli | w:i
FB | sti | w:i
FC | cld | w:d
FD | std | w:d
FE /0 | inc Eb | lock w:oszap
FE /1 | dec Eb | lock w:oszap
FF /0 | inc Ev | lock w:oszap
FF /1 | dec Ev | lock w:oszap
FF /2 | call Ev | f64
FF /3 | callf Mp
FF /4 | jmp Ev | f64
FF /5 | jmpf Mp
FF /6 | push Ev | d64
FF /7 | push Ev | only=8086 alias

0F 00 /0 | sldt Rv/Mw | cpu=286
0F 00 /1 | str Rv/Mw | cpu=286
0F 00 /2 | lldt Ew | cpu=286
0F 00 /3 | ltr Ew | cpu=286
0F 00 /4 | verr Ew | cpu=286 w:z
0F 00 /5 | verw Ew | cpu=286 w:z
0F 01 /0 | sgdt Ms | f64 cpu=286
0F 01 /1 | sidt Ms | f64 cpu=286
0F 01 /2 | lgdt Ms | f64 cpu=286
0F 01 /3 | lidt Ms | f64 cpu=286
0F 01 /4 | smsw Rv/Mw | cpu=286
0F 01 /6 | lmsw Ew | cpu=286
0F 01 /7 | invlpg M | cpu=486
NP 0F 01 C1 | vmcall | cpu=vmx
NP 0F 01 C2 | vmlaunch | cpu=vmx w:oszapc
NP 0F 01 C3 | vmresume | cpu=vmx w:oszapc
NP 0F 01 C4 | vmxoff | cpu=vmx w:oszapc
NP 0F 01 C8 | monitor | cpu=monitor
NP 0F 01 C9 | mwait | cpu=monitor
NP 0F 01 CA | clac | cpu=smap
NP 0F 01 CB | stac | cpu=smap
NP 0F 01 D0 | xgetbv | cpu=xsave
NP 0F 01 D1 | xsetbv | cpu=xsave
NP 0F 01 D4 | vmfunc | cpu=vmx
NP 0F 01 EE | rdpkru | cpu=pku
NP 0F 01 EF | wrpkru | cpu=pku
0F 01 F8 | swapgs | o64 cpu=lm
0F 01 F9 | rdtscp | cpu=rdtscp
0F 02 | lar Gv,Rv/Mw | cpu=286 w:z
0F 03 | lsl Gv,Rv/Mw | cpu=286 w:z
0F 05 | syscall | cpu=syscall
0F 06 | clts | cpu=286
0F 07 | sysret | cpu=syscall w:oszapcdit
0F 08 | invd | cpu=486
0F 09 | wbinvd | cpu=486
0F 0B | ud2
0F 0D | nop Ev | cpu=prefetchw alias
0F 0D /0 | prefetch M | cpu=prefetchw
0F 0D /1 | prefetchw M | cpu=prefetchw
0F 18 | nop Ev | cpu=p6 alias
0F 18 /0 | prefetchnta M | cpu=sse
0F 18 /1 | prefetcht0 M | cpu=sse
0F 18 /2 | prefetcht1 M | cpu=sse
0F 18 /3 | prefetcht2 M | cpu=sse
0F 19 | nop Ev | cpu=p6 alias
0F 1A | nop Ev | cpu=p6 alias
0F 1B | nop Ev | cpu=p6 alias
0F 1C | nop Ev | cpu=p6 alias
0F 1D | nop Ev | cpu=p6 alias
0F 1E | nop Ev | cpu=p6 alias
0F 1F | nop Ev | cpu=p6
F3 0F 1E FA | endbr64 | cpu=cet
F3 0F 1E FB | endbr32 | cpu=cet
0F 20 | mov Rm,Cm | anymod cpu=386 u:oszapc
0F 21 | mov Rm,Dm | anymod cpu=386 u:oszapc
0F 22 | mov Cm,Rm | anymod cpu=386 u:oszapc
0F 23 | mov Dm,Rm | anymod cpu=386 u:oszapc
0F 24 | mov Rd,Td | anymod i64 cpu=386 until=486 u:oszapc
0F 26 | mov Td,Rd | anymod i64 cpu=386 until=486 u:oszapc
0F 30 | wrmsr | cpu=msr
0F 31 | rdtsc | cpu=tsc
0F 32 | rdmsr | cpu=msr
0F 33 | rdpmc | cpu=rdpmc
0F 34 | sysenter | cpu=sep w:i
0F 35 | sysexit | cpu=sep
0F 40+cc | cmov Gv,Ev | cpu=cmov r:oszpc
NP 0F 78 | vmread Em,Gm | cpu=vmx w:oszapc
NP 0F 79 | vmwrite Gm,Em | cpu=vmx w:oszapc
0F 80+cc | j Jz | f64 cpu=386 r:oszpc
0F 90+cc | set Eb | cpu=386 r:oszpc
0F A0 | push FS | d64 cpu=386
0F A1 | pop FS | d64 cpu=386
0F A2 | cpuid | cpu=cpuid
0F A3 | bt Ev,Gv | cpu=386 w:c u:osap
0F A4 | shld Ev,Gv,Ib | cpu=386 w:szpc u:oa
0F A5 | shld Ev,Gv,CL | cpu=386 w:szpc u:oa
0F A8 | push GS | d64 cpu=386
0F A9 | pop GS | d64 cpu=386
0F AA | rsm | cpu=smm w:oszapcdit
0F AB | bts Ev,Gv | lock cpu=386 w:c u:osap
0F AC | shrd Ev,Gv,Ib | cpu=386 w:szpc u:oa
0F AD | shrd Ev,Gv,CL | cpu=386 w:szpc u:oa
NP 0F AE /7 | clflush M | cpu=clfsh
NP 0F AE /4 | xsave M | cpu=xsave
NP 0F AE /5 | xrstor M | cpu=xsave
NP 0F AE /6 | xsaveopt M | cpu=xsaveopt
NP 0F AE E8+i | lfence | cpu=sse2
NP 0F AE F0+i | mfence | cpu=sse2
NP 0F AE F8+i | sfence | cpu=sse
F3 0F AE /0 | rdfsbase Ry | o64 cpu=fsgsbase
F3 0F AE /1 | rdgsbase Ry | o64 cpu=fsgsbase
F3 0F AE /2 | wrfsbase Ry | o64 cpu=fsgsbase
F3 0F AE /3 | wrgsbase Ry | o64 cpu=fsgsbase
0F AF | imul Gv,Ev | cpu=386 w:oc u:szap
0F B0 | cmpxchg Eb,Gb | lock cpu=486 w:oszapc
0F B1 | cmpxchg Ev,Gv | lock cpu=486 w:oszapc
0F B2 | lss Gv,Mp | cpu=386
0F B3 | btr Ev,Gv | lock cpu=386 w:c u:osap
0F B4 | lfs Gv,Mp | cpu=386
0F B5 | lgs Gv,Mp | cpu=386
0F B6 | movzx Gv,Eb | cpu=386
0F B7 | movzx Gv,Ew | cpu=386
F3 0F B8 | popcnt Gv,Ev | cpu=popcnt w:oszapc
0F B9 | ud1 Gv,Ev
0F BA /4 | bt Ev,Ib | cpu=386 w:c u:osap
0F BA /5 | bts Ev,Ib | lock cpu=386 w:c u:osap
0F BA /6 | btr Ev,Ib | lock cpu=386 w:c u:osap
0F BA /7 | btc Ev,Ib | lock cpu=386 w:c u:osap
0F BB | btc Ev,Gv | lock cpu=386 w:c u:osap
0F BC | bsf Gv,Ev | cpu=386 w:z u:osapc
0F BD | bsr Gv,Ev | cpu=386 w:z u:osapc
F3 0F BC | tzcnt Gv,Ev | cpu=bmi1 w:zc u:osap
F3 0F BD | lzcnt Gv,Ev | cpu=lzcnt w:zc u:osap
0F BE | movsx Gv,Eb | cpu=386
0F BF | movsx Gv,Ew | cpu=386
0F C0 | xadd Eb,Gb | lock cpu=486 w:oszapc
0F C1 | xadd Ev,Gv | lock cpu=486 w:oszapc
NP 0F C3 | movnti My,Gy | cpu=sse2
0F C7 /1 | cmpxchg8b Mq | lock W0 cpu=cx8 w:z
0F C7 /1 | cmpxchg16b Mdq | lock W1 o64 cpu=cx16 w:z
NFx 0F C7 /6 | rdrand Rv | cpu=rdrand w:oszapc
NFx 0F C7 /7 | rdseed Rv | cpu=rdseed w:oszapc
F3 0F C7 /7 | rdpid Rm | cpu=rdpid
NP 0F C7 /6 | vmptrld Mq | cpu=vmx w:oszapc
66 0F C7 /6 | vmclear Mq | cpu=vmx w:oszapc
F3 0F C7 /6 | vmxon Mq | cpu=vmx w:oszapc
NP 0F C7 /7 | vmptrst Mq | cpu=vmx w:oszapc
0F C8+r | bswap Zv | cpu=486
0F FF | ud0 Gv,Ev

NFx 0F 38 F0 | movbe Gv,Mv | cpu=movbe
NFx 0F 38 F1 | movbe Mv,Gv | cpu=movbe
66 0F 38 80 | invept Gm,Mdq | cpu=vmx w:oszapc
66 0F 38 81 | invvpid Gm,Mdq | cpu=vmx w:oszapc
66 0F 38 82 | invpcid Gm,Mdq | cpu=invpcid
`
