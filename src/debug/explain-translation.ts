import type { SegmentRegister } from '../mmu/index.js'
import { explainPaging, explainTlb, type TlbExplainOptions } from './explain-paging.js'
import { explainSegmentation, type SegmentationExplainOptions } from './explain-segmentation.js'
import type { ExplainStep, Explanation } from './explanation.js'
import { type ExplainSource, processorView } from './processor-view.js'

/** Options of {@link explainTranslation}. With `tlb`, paging is shown through that TLB; else as a plain walk. */
export interface TranslationExplainOptions extends SegmentationExplainOptions, TlbExplainOptions {}

/**
 * The whole way (course topic X2): logical address, segmentation, linear address, paging, physical address. Shows the
 * first byte of an access.
 *
 * ```ts
 * console.log(formatExplanation(explainTranslation(pc, 'ds', 0x1234)))
 * ```
 * @throws VirtkitError `bad-argument` as {@link explainSegmentation} does
 */
export function explainTranslation(
  source: ExplainSource,
  segment: number | SegmentRegister,
  offset: number | bigint,
  options: TranslationExplainOptions = {},
): Explanation {
  const view = processorView(source)
  const first = explainSegmentation(view, segment, offset, options)
  const title = first.title.replace('Segmentation', 'Translation')
  const { linear } = first.result
  if (typeof linear !== 'number') return { ...first, topic: 'translation', title }
  const second = options.tlb ? explainTlb(view, linear, options) : explainPaging(view, linear, options)
  const steps: ExplainStep[] = [...first.steps, ...second.steps].map((step, i) => ({ ...step, number: i + 1 }))
  return {
    topic: 'translation',
    title,
    steps,
    ok: second.ok,
    outcome: `${first.outcome}, ${second.outcome}`,
    result: { linear, ...second.result },
    notes: [...first.notes, ...second.notes],
  }
}
