/**
 * virtkit: whole machines, and what a program that runs them needs. The parts are the subpaths: `virtkit/mmu`,
 * `virtkit/interrupts` and so on; importing one of those loads nothing of the others that it does not use.
 * @module
 */
export {
  type Alarm,
  type BlockBackend,
  type Clock,
  ERROR_CODES,
  type ErrorCode,
  type EventMap,
  type EventName,
  type EventSink,
  type InterruptSource,
  type IrqLine,
  type MmioDevice,
  type MmioSize,
  type PhysicalBus,
  type PortDevice,
  type PortSize,
  type PortSpace,
  type Stateful,
  VirtkitError,
} from './contracts/index.js'
export { MODEL_NAMES, type ModelName } from './cpu/index.js'
export { EventHub, formatRunSummary, RunStatistics, type RunSummary } from './debug/index.js'
export { type AssembleOptions, type AssemblyResult, assemble } from './isa/index.js'
export {
  BlobDisk,
  Board,
  type EngineName,
  HttpRangeDisk,
  type HttpRangeOptions,
  isMultiboot,
  type LoadOptions,
  MemoryDisk,
  type MultibootModule,
  OverlayDisk,
  Pc,
  type PcOptions,
  type Picture,
  type RunOptions,
  type RunResult,
  Screen,
  SerialPort,
  type StopReason,
  VirtualClock,
  type WaitOptions,
} from './machine/index.js'
