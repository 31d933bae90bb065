/**
 * Linux on every engine: windows of ten million instructions that start from the same saved state must end in the same state, and a run that is cut by snapshots must
 * end where the uninterrupted one does.
 */
import { describe, expect, it } from 'vitest'
import {
  decodeSnapshot,
  encodeSnapshot,
  hashState,
  JournalRecorder,
  type Pc,
  type PcState,
  parseJournal,
  replayJournal,
} from '../../src/machine/index.js'
import { KERNELS, linuxNeeds, linuxState, MILESTONES, makePc } from './linux-states.js'
import { SerialShell } from './real-guest.js'

const WINDOW = 10_000_000

/** Runs until exactly so many more instructions are retired: budgets count sleep as well. */
function runFor(pc: Pc, instructions: number): void {
  const end = pc.instructions + instructions
  while (pc.instructions < end) expect(pc.runSync(end - pc.instructions).reason).toBe('budget')
}

function stateAfter(pc: Pc, state: PcState): string {
  pc.loadState(state)
  runFor(pc, WINDOW)
  return hashState(pc.saveState())
}

describe.skipIf(linuxNeeds.skip)(`Linux in lockstep${linuxNeeds.why}`, () => {
  describe.each(KERNELS)('%s', (kernel) => {
    it.each(MILESTONES)('the engines agree for ten million instructions from: %s', async (milestone) => {
      const state = await linuxState(kernel, milestone)
      const threaded = stateAfter(makePc('threaded'), state)
      const reference = stateAfter(makePc('reference'), state)
      expect(reference).toBe(threaded)
      expect(stateAfter(makePc('translated', { translation: { heat: 200, batch: 4 } }), state)).toBe(reference)
    })

    it('a run cut by snapshots, between engines, equals the straight run', async () => {
      const state = await linuxState(kernel, 'workload')
      const straight = stateAfter(makePc('threaded'), state)
      let current = state
      for (const [engine, piece] of [
        ['threaded', 3_333_333],
        ['reference', 333_334],
        ['translated', 1],
        ['translated', 2_000_000],
        ['threaded', 4_333_332],
      ] as const) {
        const pc = makePc(engine)
        pc.loadState(current)
        runFor(pc, piece)
        current = (await decodeSnapshot(await encodeSnapshot(pc.saveState()))) as PcState
      }
      expect(hashState(current)).toBe(straight)
    })

    it('a session typed at the shell is repeated bit for bit from its snapshot and journal', async () => {
      const state = await linuxState(kernel, 'shell')
      const typed = makePc()
      typed.loadState(state)
      const recorder = new JournalRecorder(typed)
      const shell = new SerialShell(typed)
      expect(await shell.run('echo $((6 * 7)); uname -m')).toContain('42')
      recorder.finish(await typed.run({ instructions: 1_000_000 }))
      const repeated = makePc()
      repeated.loadState(state)
      replayJournal(repeated, parseJournal(recorder.text))
      await repeated.run({ instructions: 1_000_000_000 })
      expect(repeated.serial.text).toBe(typed.serial.text)
      expect(hashState(repeated.saveState())).toBe(hashState(typed.saveState()))
    })
  })
})
