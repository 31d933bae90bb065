/** The shape of every explanation, and how it is printed. */

/** What a step or a result may carry for programs; addresses are bytes, 64-bit ones signed. */
export type ExplainValue = number | string | boolean

/** The topics that can be explained. */
export const EXPLAIN_TOPICS = ['segmentation', 'paging', 'tlb', 'translation', 'interrupt', 'pic', 'dma'] as const
/** One of {@link EXPLAIN_TOPICS}. */
export type ExplainTopic = (typeof EXPLAIN_TOPICS)[number]

/** One numbered step. */
export interface ExplainStep {
  /** The number that a course gives this step. Steps that do not happen are left out, so numbers may skip. */
  readonly number: number
  readonly title: string
  /** What happened, with its values; several lines are separated by `\n`. */
  readonly text: string
  /** The same values for programs. */
  readonly values: Readonly<Record<string, ExplainValue>>
}

/** How the hardware did one thing, step by step. */
export interface Explanation {
  readonly topic: ExplainTopic
  readonly title: string
  readonly steps: readonly ExplainStep[]
  /** False when the processor would raise an exception, or the request does not get through. */
  readonly ok: boolean
  /** One sentence. */
  readonly outcome: string
  /** Where it ended: `linear`, `physical`, `vector`, `errorCode`, … */
  readonly result: Readonly<Record<string, ExplainValue>>
  /** What is easily misunderstood. */
  readonly notes: readonly string[]
}

/** Prints an explanation as plain text. */
export function formatExplanation(explanation: Explanation, options: { readonly notes?: boolean } = {}): string {
  const lines = [explanation.title, '']
  for (const { number, title, text } of explanation.steps) {
    lines.push(`${String(number).padStart(3)}. ${title}`)
    for (const line of text.split('\n')) lines.push(`     ${line}`)
  }
  lines.push('', `  => ${explanation.outcome}`)
  if (options.notes !== false && explanation.notes.length > 0) {
    lines.push('')
    for (const note of explanation.notes) lines.push(`  Note: ${note}`)
  }
  return lines.join('\n')
}

/** Hexadecimal with at least `digits` digits; negative numbers as 64-bit two's complement. */
export function hex(value: number, digits = 1): string {
  const text = value < 0 ? BigInt.asUintN(64, BigInt(value)).toString(16) : value.toString(16)
  return `0x${text.padStart(digits, '0')}`
}

/** Eight binary digits, as registers of an interrupt controller are drawn. */
export function binary8(value: number): string {
  return `${value.toString(2).padStart(8, '0')}b`
}

const EXCEPTION_MNEMONICS: readonly string[] =
  '#DE #DB NMI #BP #OF #BR #UD #NM #DF - #TS #NP #SS #GP #PF - #MF #AC #MC #XM #VE #CP'.split(' ')

/** The manual's short name of an exception, or `vector N`. Source: Intel SDM Vol. 3A, "Exceptions and Interrupts". */
export function exceptionName(vector: number): string {
  const name = EXCEPTION_MNEMONICS[vector]
  return name === undefined || name === '-' ? `vector ${vector}` : name
}

/** `#GP(0x10)`, `#UD`. */
export function faultText(fault: { readonly vector: number; readonly errorCode: number | undefined }): string {
  const code = fault.errorCode === undefined ? '' : `(${hex(fault.errorCode)})`
  return exceptionName(fault.vector) + code
}

/** The bits of a page-fault error code in words. */
export function pageFaultText(code: number): string {
  const words = [
    code & 1 ? 'a protection violation' : 'the page is not present',
    code & 2 ? 'on a write' : code & 16 ? 'on an instruction fetch' : 'on a read',
    code & 4 ? 'in user mode' : 'in supervisor mode',
  ]
  if (code & 8) words.push('(a reserved bit is set)')
  if (code & 32) words.push('(the protection key forbids it)')
  return words.join(' ')
}

/** Collects steps. */
export class StepList {
  readonly steps: ExplainStep[] = []

  /** Adds a step with the next number, or with `number`. */
  add(title: string, text: string, values: Readonly<Record<string, ExplainValue>> = {}, number?: number): void {
    this.steps.push({ number: number ?? this.steps.length + 1, title, text, values })
  }
}
