/** The host's end of a serial line: collects what the guest sends and delivers what the host types. */

/** Bytes from the host that the first serial port holds for the guest. */
export const SERIAL_QUEUE_SIZE = 65536
/** Characters of output that are kept. */
const KEPT = 1 << 20

/** A terminal at the end of a serial line, or at a debug port. */
export class SerialPort {
  /** Called with each byte the guest sends. */
  onByte: ((byte: number) => void) | undefined = undefined
  private readonly toGuest: ((bytes: Uint8Array) => number) | undefined
  private collected = ''
  private pending: number[] = []
  private readonly decoder: TextDecoder = new TextDecoder()

  /** `toGuest` takes bytes for the guest and returns how many it accepted; without it the line is output only. */
  constructor(toGuest?: (bytes: Uint8Array) => number) {
    this.toGuest = toGuest
  }

  /** A byte from the guest. */
  push(byte: number): void {
    this.pending.push(byte)
    this.onByte?.(byte)
    if (this.pending.length >= 4096) this.collect()
  }

  private collect(): void {
    if (this.pending.length === 0) return
    this.collected += this.decoder.decode(Uint8Array.from(this.pending), { stream: true })
    this.pending = []
    if (this.collected.length > 2 * KEPT) this.collected = this.collected.slice(-KEPT)
  }

  /** What the guest sent, as text: the last million characters at least. */
  get text(): string {
    this.collect()
    return this.collected
  }

  /** Forgets collected output. */
  clear(): void {
    this.collect()
    this.collected = ''
  }

  /** Types text or bytes. Returns how many bytes were accepted: the line's queue is bounded. */
  write(data: string | Uint8Array): number {
    const bytes = typeof data === 'string' ? new TextEncoder().encode(data) : data
    return this.toGuest?.(bytes) ?? 0
  }
}
