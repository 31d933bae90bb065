import { differences, listing } from './lockstep.js'
import { randomProgram } from './equality-program.js'
import { EqualityBoard } from './equality-board.js'
import { decoderFor } from './equality-generator.js'
import { DECODE, Instruction } from '../../src/isa/instruction.js'
import { disassemble } from '../../src/isa/disassembler.js'
const mode = process.argv[2] as any, seed = Number(process.argv[3]), at = Number(process.argv[4]), n = Number(process.argv[5] ?? 12)
const p = randomProgram(mode, seed)
// trace reference single-step
const a = new EqualityBoard('reference', p.model)
a.reset(p.image); p.start(a)
const start = a.cpu.instructions
let left = 1e9
const insn = new Instruction()
a.observer = { instruction(b) {
  const k = b.cpu.instructions - start
  if (k < at - n || k > at + 2) return
  const s = b.cpu.s
  const bits = (s.mode & 3) === 2 ? 64 : (s.mode & 3) === 1 ? 32 : 16
  const lin = bits === 64 ? s.rip : (s.segBase(1) + s.rip) >>> 0
  const pl = b.cpu.mem.fetchDirect(lin)
  decoderFor(b.cpu.model)(b.space.bytes, pl, 15, bits, insn)
  console.log(k, s.rip.toString(16), Array.from(b.space.bytes.subarray(pl, pl + insn.length)).map(x => x.toString(16).padStart(2, '0')).join(' '), disassemble(insn, s.rip), 'rsp', s.reg32(4).toString(16), 'fl', s.flags.toString(16))
}, delivery(e) { const k = a.cpu.instructions - start; if (k >= at - n && k <= at + 2) console.log(k, 'DELIVER', JSON.stringify(e)) } }
let k = 0
for (const st of p.stretches) { st.before?.(a); console.log('stretch', k, st.instructions, 'ref', st.reference.join(), 'thr', st.threaded.join(), String(st.before ?? '').slice(0, 90)); const b0 = a.cpu.instructions; a.run(st.instructions); k += a.cpu.instructions - b0; if (k > at + 10) break }
