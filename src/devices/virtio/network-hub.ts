import type { Alarm, Clock, Stateful } from '../../contracts/index.js'
import { VirtkitError } from '../../contracts/index.js'
import { StateReader } from '../../contracts/state-reader.js'

/** Most bytes of an Ethernet frame, without its check sequence, that anything here carries. */
export const FRAME_MAX = 65550
/** Fewest bytes of a frame: two addresses and a type. */
export const FRAME_MIN = 14

/** The wire that a network adapter is plugged into. Frames are Ethernet frames without preamble and check sequence. */
export interface NetworkBackend {
  /** Takes a frame from the adapter. The array belongs to the receiver from now on. */
  send(frame: Uint8Array): void
  /** Connects the adapter: `receive` takes frames for it, and keeps them. Called once, by the adapter. */
  attach(receive: (frame: Uint8Array) => void): void
}

/** A wire whose far end sends everything back. */
export class NetworkLoop implements NetworkBackend {
  #receive: ((frame: Uint8Array) => void) | undefined

  send(frame: Uint8Array): void {
    this.#receive?.(frame)
  }

  attach(receive: (frame: Uint8Array) => void): void {
    this.#receive = receive
  }
}

/** What a {@link NetworkHub} is built from. */
export interface NetworkHubOptions {
  readonly clock: Clock
  /** How long a frame is on its way, in nanoseconds; above 0. Default 10000. */
  readonly latencyNs?: number
  /** Most frames on their way; more are lost. Default 256. */
  readonly capacity?: number
}

/** Saved state of a {@link NetworkHub}: the frames on their way. */
export interface NetworkHubState {
  readonly version: 1
  readonly frames: readonly { readonly at: number; readonly port: number; readonly bytes: Uint8Array }[]
}

interface Flight {
  readonly at: number
  readonly port: number
  readonly bytes: Uint8Array
}

/**
 * An Ethernet hub inside the process: what comes in at one port goes out at all others, a fixed time later and in order. Frames shorter than
 * {@link FRAME_MIN} or longer than {@link FRAME_MAX} bytes, and those beyond the capacity, are lost.
 */
export class NetworkHub implements Stateful<NetworkHubState> {
  readonly #clock: Clock
  readonly #latencyNs: number
  readonly #capacity: number
  readonly #ports: (((frame: Uint8Array) => void) | undefined)[] = []
  #flights: Flight[] = []
  #alarm: Alarm | undefined
  #lost = 0
  readonly #onAlarm = (): void => this.#due()

  constructor(options: NetworkHubOptions) {
    this.#clock = options.clock
    this.#latencyNs = options.latencyNs ?? 10000
    this.#capacity = options.capacity ?? 256
    if (!(this.#latencyNs > 0)) throw new VirtkitError('bad-argument', 'a hub has a latency above 0')
    if (!Number.isInteger(this.#capacity) || this.#capacity < 1) {
      throw new VirtkitError('bad-argument', 'a hub holds at least one frame')
    }
  }

  /** Frames lost so far. */
  get lost(): number {
    return this.#lost
  }

  /** A new port, to be handed to an adapter. */
  port(): NetworkBackend {
    const port = this.#ports.push(undefined) - 1
    return {
      send: (frame) => this.#take(port, frame),
      attach: (receive) => {
        if (this.#ports[port] !== undefined) throw new VirtkitError('overlap', 'the port is taken')
        this.#ports[port] = receive
      },
    }
  }

  saveState(): NetworkHubState {
    return { version: 1, frames: this.#flights.map(({ at, port, bytes }) => ({ at, port, bytes: bytes.slice() })) }
  }

  loadState(state: NetworkHubState): void {
    const reader = new StateReader('network hub', state, 1)
    const frames = reader.nested('frames')
    if (!Array.isArray(frames) || frames.length > this.#capacity)
      throw reader.inconsistent('frames', 'a list of frames')
    let last = Number.NEGATIVE_INFINITY
    const flights = frames.map((frame: unknown) => {
      const fields = new StateReader('network hub', { ...(frame as object), version: 1 }, 1)
      const at = fields.time('at')
      if (at < last) throw reader.inconsistent('frames', 'in order')
      last = at
      const port = fields.int('port', 0, this.#ports.length - 1)
      return { at, port, bytes: fields.bytes('bytes', FRAME_MIN, FRAME_MAX) }
    })
    this.#alarm?.cancel()
    this.#alarm = undefined
    this.#flights = flights
    this.#arm()
  }

  #take(port: number, frame: Uint8Array): void {
    const bad = frame.length < FRAME_MIN || frame.length > FRAME_MAX
    if (bad || this.#flights.length >= this.#capacity) {
      this.#lost++
      return
    }
    this.#flights.push({ at: this.#clock.now() + this.#latencyNs, port, bytes: frame })
    this.#arm()
  }

  #arm(): void {
    const first = this.#flights[0]
    if (first !== undefined) this.#alarm ??= this.#clock.schedule(first.at, this.#onAlarm)
  }

  #due(): void {
    this.#alarm = undefined
    const now = this.#clock.now()
    let count = 0
    while (count < this.#flights.length && this.#flights[count]!.at <= now) count++
    // What a receiver sends at once joins the queue behind these.
    for (const { port, bytes } of this.#flights.splice(0, count)) {
      this.#ports.forEach((receive, n) => {
        if (n !== port) receive?.(bytes.slice())
      })
    }
    this.#arm()
  }
}
