/** `--type`: keys pressed by script. */
import { keyForCharacter, TYPE_QUEUE_SIZE } from '../devices/index.js'
import type { Pc } from '../machine/index.js'
import { CommandError, EXIT_USAGE } from './exit-status.js'

/** Keys to press, a pause in virtual nanoseconds, or a text to wait for on screen or serial line. */
export type TypingStep =
  | { readonly kind: 'keys'; readonly text: string }
  | { readonly kind: 'pause'; readonly ns: number }
  | { readonly kind: 'wait'; readonly text: string }

/** Splits `abc{500}{wait:login:}root\n` into steps. Throws the command's error for what cannot be typed. */
export function parseTyping(script: string): TypingStep[] {
  const steps = split(script)
  const keys = steps.map((step) => (step.kind === 'keys' ? step.text : '')).join('')
  const strange = [...keys].find((character) => keyForCharacter(character) === undefined)
  if (strange !== undefined) fail(`no key of a US keyboard types ${JSON.stringify(strange)}`)
  if (keys.length > TYPE_QUEUE_SIZE) fail(`at most ${TYPE_QUEUE_SIZE} keys were expected, got ${keys.length}`)
  return steps
}

function fail(message: string): never {
  throw new CommandError(EXIT_USAGE, `run: --type: ${message}`)
}

function split(script: string): TypingStep[] {
  return script
    .split(/(\{[^{}]*\})/)
    .filter((piece) => piece !== '')
    .map((piece): TypingStep => {
      if (!piece.startsWith('{') || !piece.endsWith('}')) {
        const escapes: Record<string, string> = { n: '\n', t: '\t', b: '\b', e: '\x1b' }
        return { kind: 'keys', text: piece.replace(/\\([ntbe\\])/g, (_, letter: string) => escapes[letter] ?? letter) }
      }
      const inside = piece.slice(1, -1)
      if (/^\d{1,9}$/.test(inside)) return { kind: 'pause', ns: Number(inside) * 1e6 }
      if (inside.startsWith('wait:') && inside.length > 5) return { kind: 'wait', text: inside.slice(5) }
      return fail(`{milliseconds} or {wait:TEXT} was expected, got '${piece}'`)
    })
}

/** Goes through the steps as the machine runs. */
export class Typist {
  private readonly pc: Pc
  private readonly steps: TypingStep[]
  private readonly shows: (text: string) => boolean
  private pausing = false

  /** `shows` tells whether a text can be seen. */
  constructor(pc: Pc, steps: readonly TypingStep[], shows: (text: string) => boolean) {
    this.pc = pc
    this.steps = [...steps]
    this.shows = shows
  }

  /** Does what can be done now; to be called before the run and between its turns. */
  advance(): void {
    while (!this.pausing && this.steps.length > 0) {
      const step = this.steps[0]!
      if (step.kind === 'wait' && !this.shows(step.text)) return
      this.steps.shift()
      if (step.kind === 'keys') this.pc.keyboard.type(step.text)
      if (step.kind === 'pause') {
        this.pausing = true
        this.pc.clock.schedule(this.pc.clock.now() + step.ns, () => {
          this.pausing = false
          this.advance()
        })
      }
    }
  }
}
