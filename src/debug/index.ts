/**
 * Watching and understanding a machine: events, explanations in numbered steps, instruction traces, statistics of a
 * run.
 * @module
 */
export * from './event-hub.js'
export * from './explain-dma.js'
export * from './explain-interrupt.js'
export {
  explainPaging,
  explainTlb,
  type PagingExplainOptions,
  pagingRegisters,
  type TlbExplainOptions,
} from './explain-paging.js'
export * from './explain-pic.js'
export { explainSegmentation, type SegmentationExplainOptions } from './explain-segmentation.js'
export * from './explain-translation.js'
export {
  EXPLAIN_TOPICS,
  type ExplainStep,
  type ExplainTopic,
  type ExplainValue,
  type Explanation,
  exceptionName,
  formatExplanation,
} from './explanation.js'
export * from './page-table-builder.js'
export { type AccessKind, type ExplainSource, type ProcessorView, processorView } from './processor-view.js'
export * from './statistics.js'
export * from './trace.js'
