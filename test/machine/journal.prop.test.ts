import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { assemble } from '../../src/isa/index.js'
import {
  type EngineName,
  type Journal,
  JournalRecorder,
  Pc,
  type PcOptions,
  parseJournal,
  replayJournal,
} from '../../src/machine/index.js'
import { runs } from '../runs.js'
import { stateHash } from './guest-tools.js'

const MIB = 1 << 20

/**
 * A guest that every input changes: interrupts of timer, keyboard, serial line and mouse mix what they read with the time-stamp counter into a
 * sum that goes to the serial line; in between it counts for a while and sleeps for a while.
 */
const GUEST: Uint8Array = assemble(`
  bits 16
  org 0x7c00
  cli
  xor ax, ax
  mov ds, ax
  mov ss, ax
  mov sp, 0x7000
  mov word [8 * 4], timer
  mov word [9 * 4], keyboard
  mov word [12 * 4], serial
  mov word [0x74 * 4], mouse
  mov word [8 * 4 + 2], 0
  mov word [9 * 4 + 2], 0
  mov word [12 * 4 + 2], 0
  mov word [0x74 * 4 + 2], 0
  mov al, 0x34
  out 0x43, al
  mov al, 0xa0
  out 0x40, al
  mov al, 0x0f
  out 0x40, al
  mov dx, 0x3f9
  mov al, 1
  out dx, al
  mov dx, 0x3fc
  mov al, 0x0b
  out dx, al
  mov al, 0xa8
  out 0x64, al
  mov al, 0x60
  out 0x64, al
  mov al, 0x47
  out 0x60, al
  mov al, 0xd4
  out 0x64, al
  mov al, 0xf4
  out 0x60, al
  mov al, 0xe8
  out 0x21, al
  mov al, 0xef
  out 0xa1, al
  sti
again:
  mov cx, [0x500]
  and cx, 0x3ff
  inc cx
count:
  add [0x510], cx
  loop count
  hlt
  jmp again
timer:
  push ax
  mov al, 0x55
  call mix
  jmp done
keyboard:
  push ax
  in al, 0x60
  call mix
  jmp done
mouse:
  push ax
  in al, 0x60
  call mix
  mov al, 0x20
  out 0xa0, al
  jmp done
serial:
  push ax
  push dx
  mov dx, 0x3f8
  in al, dx
  pop dx
  call mix
done:
  mov al, 0x20
  out 0x20, al
  pop ax
  iret
mix:
  push dx
  push bx
  mov bl, al
  rdtsc
  add al, bl
  add [0x500], ax
  mov al, [0x501]
  mov dx, 0x3f8
  out dx, al
  pop bx
  pop dx
  ret
`).bytes

function machine(engine: EngineName = 'reference', options: PcOptions = {}): Pc {
  const pc = new Pc({ engine, memory: MIB, ...options })
  pc.loadFlat(GUEST)
  return pc
}

/** What the host does: lets the machine run, and gives it input between turns or from a callback in the midst of one. */
type Action = { readonly run: number } | { readonly late: boolean; readonly act: (pc: Pc) => void }

const input: fc.Arbitrary<(pc: Pc) => void> = fc.oneof(
  fc.uint8Array({ minLength: 1, maxLength: 20 }).map((bytes) => (pc: Pc) => void pc.serial.write(bytes)),
  fc.stringMatching(/^[a-zA-Z0-9 \n]{1,5}$/).map((text) => (pc: Pc) => pc.keyboard.type(text)),
  fc.tuple(fc.constantFrom('KeyA', 'ArrowUp', 'Pause', 'ShiftLeft'), fc.boolean()).map(
    ([code, down]) =>
      (pc: Pc) =>
        down ? pc.keyboard.down(code) : pc.keyboard.up(code),
  ),
  fc.tuple(fc.integer({ min: -300, max: 300 }), fc.integer({ min: -300, max: 300 })).map(
    ([dx, dy]) =>
      (pc: Pc) =>
        pc.mouse.move(dx, dy),
  ),
  fc.tuple(fc.nat(2), fc.boolean()).map(
    ([button, down]) =>
      (pc: Pc) =>
        pc.mouse.button(button, down),
  ),
  fc.constant((pc: Pc) => pc.powerButton()),
)

const action: fc.Arbitrary<Action> = fc.oneof(
  { weight: 2, arbitrary: fc.record({ run: fc.integer({ min: 1, max: 8_000 }) }) },
  { weight: 1, arbitrary: fc.record({ late: fc.boolean(), act: input }) },
)

/** Carries the actions out and records them. Returns the journal and what the machine then is. */
function recorded(pc: Pc, actions: readonly Action[]): { text: string; hash: number; serial: string } {
  const recorder = new JournalRecorder(pc)
  const late: ((pc: Pc) => void)[] = []
  pc.serial.onByte = () => late.shift()?.(pc)
  let result = pc.runSync(1)
  for (const step of actions) {
    if ('run' in step) result = pc.runSync(step.run)
    else if (step.late) late.push(step.act)
    else step.act(pc)
  }
  result = pc.runSync(1)
  recorder.finish(result)
  return { text: recorder.text, hash: stateHash(pc, MIB), serial: pc.serial.text }
}

/** Replays in turns of another length than the recording's, to the recorded end. */
function replayed(pc: Pc, journal: Journal, turn: number): { hash: number; serial: string } {
  replayJournal(pc, journal)
  for (let n = 0; n < 10_000; n++) {
    const { reason } = pc.runSync(turn)
    if (reason === 'aborted') return { hash: stateHash(pc, MIB), serial: pc.serial.text }
    expect(reason).toBe('budget')
  }
  throw new Error('the replay does not end')
}

describe('an input journal', () => {
  it('makes another machine go through the same run, however it is cut into turns', () => {
    fc.assert(
      fc.property(fc.array(action, { maxLength: 25 }), fc.integer({ min: 500, max: 20_000 }), (actions, turn) => {
        const { text, hash, serial } = recorded(machine(), actions)
        const again = replayed(machine(), parseJournal(text), turn)
        expect(again).toEqual({ hash, serial })
      }),
      { numRuns: runs(8) },
    )
  })

  it('is that of the other engine, too', () => {
    fc.assert(
      fc.property(fc.array(action, { maxLength: 15 }), (actions) => {
        const { text, hash, serial } = recorded(machine('reference'), actions)
        expect(replayed(machine('threaded'), parseJournal(text), 5000)).toEqual({ hash, serial })
      }),
      { numRuns: runs(3) },
    )
  })

  it('keeps the times at which inputs came while the host let the processor sleep', async () => {
    const pc = machine()
    const recorder = new JournalRecorder(pc)
    let hostMs = 0
    const stop = new AbortController()
    let keys = 0
    pc.serial.onByte = () => {
      if (pc.serial.text.length > 40) stop.abort()
    }
    const result = await pc.run({
      signal: stop.signal,
      // A clock that goes on by a third of a millisecond whenever somebody looks.
      pace: { now: () => (hostMs += 0.37) },
      until: () => {
        if (keys++ < 5) setTimeout(() => pc.keyboard.type('k'), 0)
        return false
      },
    })
    expect(result.reason).toBe('aborted')
    recorder.finish(result)
    const journal = parseJournal(recorder.text)
    expect(journal.inputs.length).toBeGreaterThan(1)
    expect(replayed(machine(), journal, 10_000)).toEqual({ hash: stateHash(pc, MIB), serial: pc.serial.text })
  })

  it('is text that gives back every input', () => {
    const pc = machine()
    const recorder = new JournalRecorder(pc)
    const taken: unknown[] = []
    const { onInput } = pc.inputs
    pc.inputs.onInput = (one) => {
      taken.push(one)
      onInput?.(one)
    }
    pc.serial.write(Uint8Array.from({ length: 256 }, (_, n) => n))
    pc.keyboard.type('Grüße\n'.replaceAll(/[üß]/g, '"'))
    pc.keyboard.down('KeyQ')
    pc.keyboard.up('KeyQ')
    pc.mouse.move(3, -4)
    pc.mouse.button(1, true)
    pc.mouse.wheel(-2)
    pc.powerButton()
    pc.reset()
    recorder.finish(pc.runSync(100))
    const { inputs, start, end } = parseJournal(recorder.text)
    expect(inputs).toEqual(taken)
    expect(start).toBe(0)
    expect(end).toMatchObject({ reason: 'budget', instructions: pc.instructions })
  })
})

describe('what is refused', () => {
  const text = recorded(machine(), [{ run: 1000 }, { late: false, act: (pc) => pc.keyboard.type('a') }]).text

  it('input beside that of the journal', () => {
    const pc = machine()
    replayJournal(pc, parseJournal(text))
    expect(() => pc.keyboard.type('x')).toThrow(expect.objectContaining({ code: 'busy' }))
    expect(pc.inputs.replaying).toBe(true)
  })

  it('a machine with other settings, or one that has run', () => {
    for (const options of [{ memory: 2 * MIB }, { date: 1 }, { nsPerInstruction: 7 }] as PcOptions[]) {
      expect(() => replayJournal(machine('reference', options), parseJournal(text))).toThrow(
        expect.objectContaining({ code: 'bad-state' }),
      )
    }
    const pc = machine()
    pc.runSync(1)
    expect(() => replayJournal(pc, parseJournal(text))).toThrow(/begins after 0 instructions/)
  })

  it('a run that goes another way', () => {
    const pc = machine()
    // Not what the recorded machine ran: it halts at another place, for good.
    pc.space.writeBytes(0x7c00, Uint8Array.of(0xfb, 0xf4, 0xeb, 0xfd))
    replayJournal(pc, parseJournal(text))
    expect(() => pc.runSync(100_000)).toThrow(expect.objectContaining({ code: 'bad-state' }))
  })

  it('a second recorder', () => {
    const pc = machine()
    const first = new JournalRecorder(pc)
    expect(() => new JournalRecorder(pc)).toThrow(expect.objectContaining({ code: 'busy' }))
    first.finish({ reason: 'budget', instructions: 0 })
    new JournalRecorder(pc)
  })

  const lines = text.trimEnd().split('\n')
  const header = lines[0]!
  it.each<[string, string, RegExp]>([
    ['nothing', '', /line 1: a JSON object/],
    ['other text', 'hello\n', /line 1: a JSON object/],
    ['other JSON', '{"a":1}\n', /line 1: the header/],
    ['another version', `${header.replace('"version":1', '"version":2')}\n`, /line 1: version 1 was expected, got 2/],
    ['an unknown input', `${header}\n{"at":[1,2],"kind":"voice"}\n`, /line 2: there is no input 'voice'/],
    ['a place that is none', `${header}\n{"at":[1.5,2],"kind":"reset"}\n`, /line 2: a place/],
    ['no place', `${header}\n{"kind":"reset"}\n`, /line 2: a place/],
    ['a missing field', `${header}\n{"at":[1,2],"kind":"key","code":"KeyA"}\n`, /line 2: down: a boolean/],
    ['bytes that are none', `${header}\n{"at":[1,2],"kind":"serial","bytes":"€"}\n`, /line 2: bytes are/],
    [
      'places in disorder',
      `${header}\n{"at":[5,9],"kind":"reset"}\n{"at":[4,9],"kind":"reset"}\n`,
      /line 3: its place/,
    ],
    ['something after the end', `${text}{"at":[9e9,9e12],"kind":"reset"}\n`, /something follows the end/],
    ['an end without a reason', `${header}\n{"end":[1,2],"reason":"boredom"}\n`, /does not end with 'boredom'/],
  ])('a journal with %s', (_, damaged, message) => {
    expect(() => parseJournal(damaged)).toThrow(message)
  })

  it('nothing when the last line was cut off', () => {
    const whole = parseJournal(text)
    const cut = parseJournal(text.slice(0, -5))
    expect(cut).toEqual({ ...whole, end: undefined })
  })
})
