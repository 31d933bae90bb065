import { randomProgram } from './equality-program.js'
import { EqualityBoard } from './equality-board.js'
const mode = process.argv[2] as any, seed = Number(process.argv[3])
const p = randomProgram(mode, seed)
const a = new EqualityBoard('reference', p.model)
a.reset(p.image); p.start(a)
const start = a.cpu.instructions
for (const st of p.stretches) { st.before?.(a); for (let i = 0; i < st.instructions; i++) { a.run(1); const s = a.cpu.s
 const m = s.mode; const before = m; a.cpu.updateMode(); if (s.mode !== before) { console.log('stale after', a.cpu.instructions - start, 'mode', before.toString(16), s.mode.toString(16), s.rip.toString(16)); process.exit() } } }
