import { describe, expect, it } from 'vitest'
import { EventHub } from '../../src/debug/index.js'
import { assemble } from '../../src/isa/index.js'
import { Pc } from '../../src/machine/index.js'

const LOOP = assemble('bits 16\norg 0x7c00\nmov cx, 1000\nagain: add [0x500], cx\nloop again\nhlt').bytes

describe.each(['reference', 'threaded'] as const)('listening to a machine on the %s engine', (engine) => {
  it('reports every instruction, memory access and look-up while somebody listens, and changes nothing the guest sees', () => {
    const hub = new EventHub()
    const observed = new Pc({ memory: 1 << 20, engine, events: hub })
    const alone = new Pc({ memory: 1 << 20, engine })
    for (const pc of [observed, alone]) {
      pc.loadFlat(LOOP)
      pc.runSync(501)
    }
    let instructions = 0
    const accesses: string[] = []
    let lookups = 0
    const stops = [
      hub.on('instruction', () => instructions++),
      hub.on('memory', ({ direction, linear, size }) => accesses.push(`${direction} ${linear.toString(16)} ${size}`)),
      hub.on('tlb', ({ action }) => {
        if (action === 'hit' || action === 'miss') lookups++
      }),
    ]
    observed.runSync(400)
    alone.runSync(400)
    expect(instructions).toBe(400)
    // 200 rounds: ADD to memory reads and writes its word, LOOP touches nothing.
    expect(accesses).toHaveLength(400)
    expect(new Set(accesses)).toEqual(new Set(['read 500 2', 'write 500 2']))
    expect(lookups).toBeGreaterThanOrEqual(600)
    for (const stop of stops) stop()
    const results = [observed, alone].map((pc) => pc.runSync(1_000_000))
    expect(results[0]).toEqual(results[1])
    expect(instructions).toBe(400)
    expect(observed.cpu.s.reg32(1)).toBe(alone.cpu.s.reg32(1))
    // 1000 + 999 + … + 1, modulo 2^16.
    expect(observed.space.read16(0x500)).toBe(500500 & 0xffff)
  })
})
