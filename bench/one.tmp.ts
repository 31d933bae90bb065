import { Pc } from '../src/machine/index.js'
import { benchImage, makeLoops } from './loops.js'

const name = process.argv[2]!
const image = benchImage(makeLoops(3).filter((l) => l.name === name))
for (let k = 0; k < 3; k++) {
  const pc = new Pc({ memory: 32 << 20, engine: 'threaded' })
  let t = 0
  pc.serial.onByte = (b) => {
    const u = process.cpuUsage().user
    if (b !== 46) console.log(String.fromCharCode(b), (u - t) / 1000, 'ms')
    t = u
  }
  pc.loadMultiboot(image)
  pc.runSync(2e9)
  console.log((pc.cpu as any).stats.stepped, pc.cpu.instructions, (pc.cpu as any).engine.stats)
}
process.exit(0)
