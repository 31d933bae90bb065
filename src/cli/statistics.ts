/** A table of what happened in a run. */
import { formatRunSummary, RunStatistics } from '../debug/index.js'
import type { Pc } from '../machine/index.js'

/** The table of everything since power-on; `hostMs` is the host time the run took. */
export function statistics(pc: Pc, hostMs?: number): string {
  return formatRunSummary(new RunStatistics(pc, { since: 'power-on' }).summary(), hostMs)
}
