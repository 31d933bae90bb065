import { describe, expect, it } from 'vitest'
import { type ConsoleEvent, ConsoleWatch } from '../../bench/console-watch.js'

/** Feeds pieces, each at its own time, and returns what was reported. */
function watch(pieces: readonly (readonly [number, string])[]): ConsoleEvent[] {
  const events: ConsoleEvent[] = []
  let now = 0
  const watched = new ConsoleWatch(
    () => ({ elapsed: now, processor: now / 2, instructions: now * 1e6 }),
    (event) => events.push(event),
  )
  for (const [time, text] of pieces) {
    now = time
    watched.text(new TextEncoder().encode(text))
  }
  return events
}

describe('console of the workloads', () => {
  it('times a workload by its two bytes, not by its lines', () => {
    const events = watch([
      [1, '@B crc32\r\n'],
      [5, '\x02'],
      [7.5, '\x03'],
      [9, '@E crc32 293a8d4c 2400000000\r\n@D\r\n'],
    ])
    expect(events).toEqual([
      { kind: 'begun', name: 'crc32' },
      {
        kind: 'ended',
        name: 'crc32',
        checksum: '293a8d4c',
        host: 2.5,
        guest: 2.4,
        processor: 1.25,
        instructions: 2.5,
      },
      { kind: 'done' },
    ])
  })

  it("reads its lines when the kernel's messages come between", () => {
    const events = watch([
      [1, '@B a\n\x02[    5.1] random: crng init done\n'],
      [2, '\x03[    5.2] clock@E a 00000001 7\n'],
    ])
    expect(events.map(({ kind }) => kind)).toEqual(['begun', 'line', 'ended'])
  })

  it('reports failures, and marks that are missing', () => {
    const events = watch([[1, '@B a\n\x02\n@F a 139\n@B b\n@E b 00000001 7\n']])
    expect(events).toContainEqual({ kind: 'failed', name: 'a', why: 'status 139' })
    expect(events).toContainEqual({ kind: 'failed', name: 'b', why: 'its marks are missing' })
  })

  it('does not take the marks of one workload for those of the next', () => {
    const events = watch([[1, '@B a\n\x02\x03@B b\n@E b 00000001 7\n']])
    expect(events.at(-1)).toMatchObject({ kind: 'failed', name: 'b' })
  })

  it('passes lines on and sees a prompt, which has no end of line', () => {
    const events = watch([[3, 'Run /init as init process\r\n~ # ']])
    expect(events.map(({ kind }) => kind)).toEqual(['line', 'prompt'])
    expect(events[0]).toMatchObject({ text: 'Run /init as init process', time: { elapsed: 3 } })
  })

  it('does not keep a line without end', () => {
    const events = watch([[1, `${'x'.repeat(100_000)}\n`]])
    expect((events[0] as { text: string }).text.length).toBe(4096)
  })
})
