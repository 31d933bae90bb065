/**
 * Linux on both engines: windows of ten million instructions that start from the same saved state must end in the same state, and a run that is cut by snapshots must
 * end where the uninterrupted one does.
 */
import { describe, expect, it } from 'vitest'
import { decodeSnapshot, encodeSnapshot, hashState, type Pc, type PcState } from '../../src/machine/index.js'
import { KERNELS, linuxNeeds, linuxState, MILESTONES, makePc } from './linux-states.js'

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
    it.each(MILESTONES)('reference and threaded agree for ten million instructions from: %s', async (milestone) => {
      const state = await linuxState(kernel, milestone)
      const threaded = stateAfter(makePc('threaded'), state)
      const reference = stateAfter(makePc('reference'), state)
      expect(reference).toBe(threaded)
    })

    it('a run cut by snapshots, between engines, equals the straight run', async () => {
      const state = await linuxState(kernel, 'workload')
      const straight = stateAfter(makePc('threaded'), state)
      let current = state
      for (const [engine, piece] of [
        ['threaded', 3_333_333],
        ['reference', 333_334],
        ['threaded', 1],
        ['threaded', 6_333_332],
      ] as const) {
        const pc = makePc(engine)
        pc.loadState(current)
        runFor(pc, piece)
        current = (await decodeSnapshot(await encodeSnapshot(pc.saveState()))) as PcState
      }
      expect(hashState(current)).toBe(straight)
    })
  })
})
