/** Standard input as the other end of the first serial line. */
import type { ReadStream } from 'node:tty'
import type { Pc } from '../machine/index.js'

/** The key before a command: Ctrl-A. */
const ESCAPE = 1
const HELP = `
Ctrl-A h       this text
Ctrl-A x       end the run
Ctrl-A Ctrl-A  send Ctrl-A to the guest
`

/** What came of some keys. */
export interface EscapeResult {
  /** For the guest. */
  readonly bytes: Uint8Array
  readonly quit: boolean
  readonly help: boolean
}

/** Finds the commands among the keys that a terminal sends; the key after Ctrl-A may come later. */
export class EscapeFilter {
  private escaped = false

  feed(keys: Uint8Array): EscapeResult {
    const bytes: number[] = []
    let help = false
    for (const key of keys) {
      if (!this.escaped) {
        if (key === ESCAPE) this.escaped = true
        else bytes.push(key)
        continue
      }
      this.escaped = false
      const letter = String.fromCharCode(key).toLowerCase()
      if (letter === 'x') return { bytes: Uint8Array.from(bytes), quit: true, help }
      if (letter === 'h' || letter === '?') help = true
      // Anything else is no command, and is dropped as QEMU drops it.
      else if (key === ESCAPE) bytes.push(ESCAPE)
    }
    return { bytes: Uint8Array.from(bytes), quit: false, help }
  }
}

/** Bytes that wait in memory before a pipe is asked to stop. */
const HIGH_WATER = 65536
/** Bytes that may wait on the line: a guest that resets the port loses no more. */
const ON_THE_LINE = 1024

/** Where input comes from; `process.stdin` is one. */
export type InputStream = NodeJS.ReadableStream & Partial<Pick<ReadStream, 'isTTY' | 'setRawMode' | 'unref'>>

/**
 * Passes what comes in to the first serial port, as fast as the guest takes it. A pipe's bytes wait until the guest has opened the line (DTR and
 * RTS): drivers throw away what arrived before. A terminal is put in raw mode until {@link SerialInput.close}.
 */
export class SerialInput {
  /** Whether a person may sit there. */
  readonly interactive: boolean
  /** Called when the user asks for the end of the run. */
  onQuit: (() => void) | undefined = undefined
  /** Called with text for the user. */
  onHelp: ((text: string) => void) | undefined = undefined
  private readonly pc: Pc
  private readonly stream: InputStream
  private readonly filter: EscapeFilter | undefined
  private readonly needsOpenLine: boolean
  private waiting: Uint8Array[] = []
  private length = 0
  private ended = false
  private opened = false
  private wake: (() => void) | undefined
  private readonly restore = (): void => {
    this.stream.setRawMode?.(false)
  }

  /** `needsOpenLine`: bytes of a pipe wait for a guest that raises DTR and RTS. */
  constructor(pc: Pc, stream: InputStream, needsOpenLine: boolean) {
    this.pc = pc
    this.stream = stream
    this.interactive = stream.isTTY === true
    this.needsOpenLine = needsOpenLine && !this.interactive
    if (this.interactive) {
      this.filter = new EscapeFilter()
      stream.setRawMode?.(true)
      process.on('exit', this.restore)
    }
    stream.on('data', this.onData)
    stream.on('end', this.onEnd)
    stream.on('error', this.onEnd)
  }

  private readonly onData = (chunk: string | Buffer): void => {
    const keys = typeof chunk === 'string' ? new TextEncoder().encode(chunk) : chunk
    const { bytes, quit, help } = this.filter?.feed(keys) ?? { bytes: keys, quit: false, help: false }
    if (help) this.onHelp?.(HELP)
    if (bytes.length > 0) {
      this.waiting.push(bytes)
      this.length += bytes.length
    }
    if (this.length > HIGH_WATER) this.stream.pause()
    this.pump()
    if (quit) this.onQuit?.()
    this.wake?.()
  }

  private readonly onEnd = (): void => {
    this.ended = true
    this.wake?.()
  }

  /** Whether the guest has opened the line, or need not. */
  private get lineOpen(): boolean {
    if (this.opened || !this.needsOpenLine) return true
    this.opened = this.pc.board.uart.open
    return this.opened
  }

  /** Gives the guest what the line has room for; to be called between turns. */
  pump(): void {
    if (this.length === 0 || !this.lineOpen) return
    const { uart } = this.pc.board
    while (this.length > 0 && uart.queued < ON_THE_LINE) {
      const chunk = this.waiting[0]!
      const accepted = this.pc.serial.write(chunk.subarray(0, ON_THE_LINE - uart.queued))
      if (accepted === 0) break
      this.length -= accepted
      if (accepted === chunk.length) this.waiting.shift()
      else this.waiting[0] = chunk.subarray(accepted)
    }
    if (this.length < HIGH_WATER / 2) this.stream.resume()
  }

  /** Whether a guest that sleeps for ever gets input that wakes it; waits until that is known. */
  async more(signal: AbortSignal): Promise<boolean> {
    while (!signal.aborted && this.pc.board.uart.interruptsOnData) {
      if (this.length > 0 && this.lineOpen) {
        this.pump()
        return true
      }
      if (this.ended || this.length > 0) return false
      const taken = this.pc.board.uart.queued
      await new Promise<void>((resolve) => {
        this.wake = resolve
        signal.addEventListener('abort', () => resolve(), { once: true })
      })
      this.wake = undefined
      if (this.pc.board.uart.queued > taken) return true
    }
    return false
  }

  /** Gives the terminal back. */
  close(): void {
    this.stream.removeListener('data', this.onData)
    this.stream.removeListener('end', this.onEnd)
    this.stream.removeListener('error', this.onEnd)
    this.stream.pause()
    this.stream.unref?.()
    if (this.interactive) {
      process.removeListener('exit', this.restore)
      this.restore()
    }
  }
}
