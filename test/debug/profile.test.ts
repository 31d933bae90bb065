/** Where time goes, by clocks that only tests have. */
import { describe, expect, it } from 'vitest'
import { PROFILE_PARTS, Profiler, type ProfileShare } from '../../src/cpu/index.js'
import { formatRunSummary, RunStatistics } from '../../src/debug/index.js'
import { type EngineName, hashState, Pc, type PcOptions } from '../../src/machine/index.js'
import { kernel } from '../cli/guest.js'

const ENGINES: readonly EngineName[] = ['reference', 'threaded', 'translated']

const shareOf = (shares: readonly ProfileShare[], part: string): ProfileShare =>
  shares.find((share) => share.part === part)!
const sum = (shares: readonly ProfileShare[]): number => shares.reduce((total, { time }) => total + time, 0)

describe('Profiler', () => {
  it('charges each part its own time, not that of what it calls, also when that throws', () => {
    let now = 100
    const profiler = new Profiler(() => now)
    const pass = (time: number): void => {
      now += time
    }
    const device = {
      scale: 2,
      read(time: number): number {
        pass(time * this.scale)
        if (time === 7) throw new RangeError('seven')
        return time + 1
      },
    }
    profiler.time('devices', device, 'read')
    const helper = profiler.timed('helpers', (time: number): number => {
      pass(1)
      try {
        return device.read(time)
      } finally {
        pass(3)
      }
    })
    pass(5)
    expect(helper(10)).toBe(11)
    expect(() => helper(7)).toThrow('seven')
    pass(6)
    const shares = profiler.shares()
    expect(shares.map(({ part }) => part)).toEqual([...PROFILE_PARTS])
    expect(shareOf(shares, 'devices')).toEqual({ part: 'devices', time: 34, entries: 2 })
    expect(shareOf(shares, 'helpers')).toEqual({ part: 'helpers', time: 8, entries: 2 })
    expect(shareOf(shares, 'outside')).toEqual({ part: 'outside', time: 11, entries: 0 })
    expect(sum(shares)).toBe(now - 100)
  })
})

/** Something for every part: a local APIC's register, page tables, a hot loop, helpers, an access across pages, ports. */
const GUEST = kernel(`
    mov eax, [0xfee00030]
    mov edi, 0x201000
    mov eax, 3
    mov ecx, 1024
  tables:
    mov [edi], eax
    add eax, 4096
    add edi, 4
    dec ecx
    jnz tables
    mov dword [0x200000], 0x201003
    mov eax, 0x200000
    mov cr3, eax
    mov eax, cr0
    or eax, 0x80000000
    mov cr0, eax
    mov ecx, 20000
  hot:
    mov eax, ecx
    shl eax, 12
    and eax, 0xff000
    add [0x300000 + eax], ecx
    dec ecx
    jnz hot
    cpuid
    mov eax, [0x300ffe]
    in al, 0x61
    jmp power_off`)

function machine(engine: EngineName, options: PcOptions = {}): Pc {
  const pc = new Pc({ memory: 16 << 20, engine, translation: { heat: 500, batch: 1 }, ...options })
  pc.loadMultiboot(GUEST)
  return pc
}

/** A clock that moves on whenever somebody looks at it. */
function counter(): { now: () => number; looks: number } {
  const clock = { looks: 0, now: () => clock.looks++ }
  return clock
}

describe.each(ENGINES)('a machine on the %s engine', (engine) => {
  const compiled = engine !== 'reference'

  it('charges every part that it has, and nothing is left over', () => {
    const clock = counter()
    const pc = machine(engine, { profile: clock })
    const statistics = new RunStatistics(pc)
    const before = clock.looks
    expect(pc.runSync(1e6).reason).toBe('power-off')
    const summary = statistics.summary()
    const shares = summary.profile!
    expect(sum(shares)).toBe(clock.looks - before)
    const missing: string[] = [
      ...(compiled ? [] : ['compiled', 'lifting', 'helpers']),
      ...(engine === 'translated' ? [] : ['emission', 'modules']),
    ]
    for (const { part, time, entries } of shares) {
      if (missing.includes(part)) expect([part, time, entries]).toEqual([part, 0, 0])
      else {
        expect([part, time]).toEqual([part, expect.toSatisfy((value: number) => value > 0)])
        if (part !== 'outside') expect([part, entries]).toEqual([part, expect.toSatisfy((value: number) => value > 0)])
      }
    }
    const { regions, blocks, stepped, events } = summary.instructionWays
    expect((regions ?? 0) + blocks + stepped + events).toBe(summary.instructions)
    expect(regions === undefined).toBe(engine !== 'translated')
    if (engine === 'translated') {
      // 120000 instructions in the second loop; the first is over before it counts as hot.
      expect(regions).toBeGreaterThan(100_000)
      expect(regions).toBeLessThanOrEqual(126_000)
    }
    if (compiled) expect(blocks).toBeGreaterThan(0)
    expect(summary.tlbMissRate).toBeCloseTo((summary.tlbMisses / summary.instructions) * 1000, 9)
    const text = formatRunSummary(summary)
    expect(text).toMatch(/^ {2}in blocks .* %$/m)
    expect(text).toMatch(/^ {2}MMU slow path .* times$/m)
    expect(text).toMatch(/^ {2}sum +[\d.]+ s +100\.0 %$/m)
  })

  it('looks at no clock without being asked to, and does the same', () => {
    const plain = machine(engine)
    const measured = machine(engine, { profile: counter() })
    for (const pc of [plain, measured]) pc.runSync(50_000)
    expect(hashState(plain.saveState())).toBe(hashState(measured.saveState()))
    for (const pc of [plain, measured]) expect(pc.runSync(1e6).reason).toBe('power-off')
    expect(hashState(plain.saveState())).toBe(hashState(measured.saveState()))
    expect(plain.profiler).toBeUndefined()
    // The functions are those of the classes.
    const { cpu, board, clock, inputs, space } = plain
    for (const [object, name] of [
      [plain, 'turn'],
      [cpu, 'run'],
      [cpu, 'step'],
      [cpu, 'finish'],
      [cpu, 'between'],
      [cpu.memory.walker, 'walk'],
      [board.ports, 'read'],
      [clock, 'runDue'],
      [inputs, 'takeDue'],
      [space, 'addOverlay'],
    ] as const)
      expect([name, Object.hasOwn(object, name)]).toEqual([name, false])
    expect(new RunStatistics(plain).summary()).toMatchObject({
      profile: undefined,
      instructionWays: { regions: undefined },
    })
  })
})

describe('RunStatistics', () => {
  it('counts time from where it was started, and all processors', () => {
    const clock = counter()
    const pc = machine('translated', { profile: clock, cpus: 2 })
    pc.runSync(60_000)
    const statistics = new RunStatistics(pc)
    expect(sum(statistics.summary().profile!)).toBe(1)
    const before = clock.looks
    pc.runSync(1e6)
    const shares = statistics.summary().profile!
    expect(sum(shares)).toBe(clock.looks - before + 1)
    statistics.restart()
    expect(shareOf(statistics.summary().profile!, 'compiled')).toEqual({ part: 'compiled', time: 0, entries: 0 })
  })
})
