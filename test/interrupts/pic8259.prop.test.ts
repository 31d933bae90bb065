import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ELCR_MASTER_WRITABLE, ELCR_SLAVE_WRITABLE, PicPair } from '../../src/interrupts/pic-pair.js'
import { Pic8259 } from '../../src/interrupts/pic8259.js'
import { runs } from '../runs.js'
import { ModelPic } from './pic8259-model.js'

/** ICW1 always announces ICW4, and ICW4 always says 8086: MCS-80 mode has its own tests. */
const icw1 = fc.integer({ min: 0, max: 15 }).map((v) => 0x11 | (v << 1))
const icw4 = fc.integer({ min: 0, max: 15 }).map((v) => 1 | (v << 1))
const level = fc.integer({ min: 0, max: 7 })
const byte = fc.integer({ min: 0, max: 255 })
const ocw2 = fc.tuple(level, level).map(([command, n]) => (command << 5) | n)
const ocw3 = byte.map((v) => (v & 0x67) | 0x08)

interface Step {
  readonly text: string
  readonly model: (m: ModelPic) => unknown
  readonly real: (r: Pic8259) => unknown
}

const step = (text: string, model: Step['model'], real: Step['real']): Step => ({ text, model, real })
const write = (a0: number, value: number): Step =>
  step(
    `write A0=${a0} 0x${value.toString(16)}`,
    (m) => m.write(a0, value),
    (r) => r.writePort(a0, 1, value),
  )
const wire = (n: number, high: boolean): Step =>
  step(
    `IR${n} ${high ? 'high' : 'low'}`,
    (m) => m.setWire(n, high),
    (r) => r.line(n).setLevel(high),
  )

/** Steps of a running chip, so that random tests do not spend their time half-initialised. */
const operation: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: fc.tuple(level, fc.boolean()).map(([n, high]) => wire(n, high)) },
  { weight: 3, arbitrary: ocw2.map((v) => write(0, v)) },
  { weight: 2, arbitrary: fc.constantFrom(0x20, 0xa0).map((v) => write(0, v)) },
  { weight: 1, arbitrary: ocw3.map((v) => write(0, v)) },
  { weight: 2, arbitrary: byte.map((v) => write(1, v)) },
  {
    weight: 2,
    arbitrary: fc.integer({ min: 0, max: 1 }).map((a0) =>
      step(
        `read A0=${a0}`,
        (m) => m.read(a0),
        (r) => r.readPort(a0, 1),
      ),
    ),
  },
  {
    weight: 1,
    arbitrary: byte.map((v) =>
      step(
        `ELCR 0x${v.toString(16)}`,
        (m) => m.setElcr(v),
        (r) => r.setElcr(v),
      ),
    ),
  },
  {
    weight: 5,
    arbitrary: fc.constant(
      step(
        'INTA',
        (m) => {
          const { level: n } = m.acknowledge()
          // A mask written in the middle of initialisation is an ICW4, and may choose MCS-80 mode, which has no vector.
          return m.upm ? m.base | n : undefined
        },
        (r) => r.acknowledge(),
      ),
    ),
  },
  {
    weight: 1,
    arbitrary: fc.constant(
      step(
        'save and load',
        () => undefined,
        (r) => r.loadState(r.saveState()),
      ),
    ),
  },
)

const initialisation = fc
  .tuple(icw1, byte, byte, icw4)
  .map(([first, second, third, fourth]) => [
    write(0, first),
    write(1, second),
    ...((first & 2) === 0 ? [write(1, third)] : []),
    write(1, fourth),
  ])

class Command implements fc.Command<ModelPic, { pic: Pic8259; int: boolean }> {
  readonly steps: readonly Step[]
  constructor(steps: readonly Step[]) {
    this.steps = steps
  }
  check(): boolean {
    return true
  }
  run(m: ModelPic, r: { pic: Pic8259; int: boolean }): void {
    for (const s of this.steps) {
      const expected = s.model(m)
      const actual = s.real(r.pic)
      if (expected !== undefined) expect(actual, s.text).toBe(expected)
      const bits = (list: boolean[]): number => list.reduce((sum, b, i) => sum + (b ? 2 ** i : 0), 0)
      expect({ irr: r.pic.irr, isr: r.pic.isr, imr: r.pic.imr, level: r.pic.pendingLevel }, s.text).toEqual({
        irr: bits(m.requested),
        isr: bits(m.inService),
        imr: bits(m.masked),
        level: m.winner(),
      })
      expect(r.int, `INT after ${s.text}`).toBe(r.pic.pending)
    }
  }
  toString(): string {
    return this.steps.map((s) => s.text).join('; ')
  }
}

const commands = [
  ...Array.from({ length: 10 }, () => operation.map((s) => new Command([s]))),
  initialisation.map((steps) => new Command(steps)),
  icw1.map((v) => new Command([write(0, v)])),
]

for (const role of ['master', 'slave'] as const)
  test(`one chip as a ${role} acts as the data sheet's model`, () => {
    fc.assert(
      fc.property(initialisation, fc.commands(commands, { maxCommands: 80, size: 'max' }), (init, cmds) => {
        fc.modelRun(() => {
          const real = { int: false, pic: undefined as unknown as Pic8259 }
          real.pic = new Pic8259({ role, int: { setLevel: (v) => void (real.int = v) } })
          const model = new ModelPic(role === 'slave')
          new Command(init).run(model, real)
          return { model, real }
        }, cmds)
      }),
      { numRuns: runs(300) },
    )
  })

test('the pair is two models joined by a wire', () => {
  type Op = readonly ['line' | 'write' | 'read' | 'elcr' | 'inta', number, number]
  const chipPort = fc.integer({ min: 0, max: 3 })
  const line = fc.integer({ min: 0, max: 15 }).filter((n) => n !== 2)
  const op: fc.Arbitrary<Op> = fc.oneof(
    { weight: 8, arbitrary: fc.tuple(fc.constant('line' as const), line, fc.integer({ min: 0, max: 1 })) },
    { weight: 5, arbitrary: fc.tuple(fc.constant('inta' as const), fc.constant(0), fc.constant(0)) },
    {
      weight: 4,
      arbitrary: fc.tuple(
        fc.constant('write' as const),
        fc.constantFrom(0, 2),
        fc.oneof(ocw2, ocw3, fc.constant(0x20)),
      ),
    },
    { weight: 2, arbitrary: fc.tuple(fc.constant('write' as const), fc.constantFrom(1, 3), byte) },
    { weight: 1, arbitrary: fc.tuple(fc.constant('read' as const), chipPort, fc.constant(0)) },
    { weight: 1, arbitrary: fc.tuple(fc.constant('elcr' as const), fc.integer({ min: 0, max: 1 }), byte) },
  )
  const modes = fc.tuple(
    fc.boolean(),
    fc.boolean(),
    fc.boolean(),
    fc.constantFrom(0x04, 0x04, 0x04, 0x00, 0x06),
    fc.constantFrom(2, 2, 2, 5),
  )
  fc.assert(
    fc.property(modes, fc.array(op, { maxLength: 80, size: 'max' }), ([aeoi, slaveAeoi, sfnm, icw3, id], ops) => {
      let int = false
      const pair = new PicPair({ int: { setLevel: (v) => void (int = v) } })
      const master = new ModelPic()
      const slave = new ModelPic(true)
      const join = (): void => master.setWire(2, slave.winner() !== undefined)
      const init: Op[] = [
        ['write', 0, 0x11],
        ['write', 1, 0x20],
        ['write', 1, icw3],
        ['write', 1, 1 | (aeoi ? 2 : 0) | (sfnm ? 0x10 : 0)],
        ['write', 2, 0x11],
        ['write', 3, 0x28],
        ['write', 3, id],
        ['write', 3, 1 | (slaveAeoi ? 2 : 0)],
      ]
      for (const [kind, a, b] of [...init, ...ops]) {
        if (kind === 'line') {
          pair.line(a).setLevel(b === 1)
          if (a < 8) master.setWire(a, b === 1)
          else slave.setWire(a - 8, b === 1)
        } else if (kind === 'write') {
          const chip = a < 2 ? 'master' : 'slave'
          pair[chip].writePort(a & 1, 1, b)
          ;(a < 2 ? master : slave).write(a & 1, b)
        } else if (kind === 'read') {
          const value = pair[a < 2 ? 'master' : 'slave'].readPort(a & 1, 1)
          expect(value).toBe((a < 2 ? master : slave).read(a & 1))
        } else if (kind === 'elcr') {
          pair.elcr.writePort(a, 1, b)
          if (a === 0) master.setElcr(b & ELCR_MASTER_WRITABLE)
          else slave.setElcr(b & ELCR_SLAVE_WRITABLE)
          expect(pair.elcr.readPort(a, 1)).toBe(b & (a === 0 ? ELCR_MASTER_WRITABLE : ELCR_SLAVE_WRITABLE))
        } else {
          // Both chips see the first pulse before either sees the second; the wire between them moves in between.
          const chosen = master.winner()
          const cascaded = (icw3 & (1 << (chosen ?? 7))) !== 0
          const savedAeoi = master.aeoi
          master.aeoi = false
          const { level: n, spurious } = master.acknowledge()
          master.aeoi = savedAeoi
          let vector = master.base + n
          if (cascaded) {
            if (n === 2 && slave.icw3 === 2) {
              const slaveAuto = slave.aeoi
              slave.aeoi = false
              const answer = slave.acknowledge()
              join()
              slave.aeoi = slaveAuto
              vector = slave.base + answer.level
              if (slaveAuto && !answer.spurious) {
                slave.inService[answer.level] = false
                if (slave.rotateInAeoi) slave.write(0, 0xc0 | answer.level)
              }
            } else vector = 0xff
          }
          join()
          if (savedAeoi && !spurious) {
            master.inService[n] = false
            if (master.rotateInAeoi) master.write(0, 0xc0 | n)
          }
          expect(pair.acknowledge()).toBe(vector)
        }
        join()
        expect(pair.master.pendingLevel).toBe(master.winner())
        expect(pair.slave.pendingLevel).toBe(slave.winner())
        expect(int).toBe(pair.pending)
        const copy = new PicPair()
        copy.loadState(pair.saveState())
        expect(copy.saveState()).toEqual(pair.saveState())
        expect(copy.pending).toBe(pair.pending)
      }
    }),
    { numRuns: runs(300) },
  )
})
