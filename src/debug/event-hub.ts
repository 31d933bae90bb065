import { type EventMap, type EventName, type EventSink, VirtkitError } from '../contracts/index.js'

/** Names of all events. */
export const EVENT_NAMES: readonly EventName[] = Object.keys({
  translation: 0,
  tlb: 0,
  pic: 0,
  apic: 0,
  interrupt: 0,
  port: 0,
  dma: 0,
  instruction: 0,
  memory: 0,
} satisfies Record<EventName, 0>) as EventName[]

/** Receives one kind of event. */
export type EventListener<N extends EventName> = (event: EventMap[N]) => void

/** An event with its name, as {@link EventHub.record} gives it. */
export type RecordedEvent<N extends EventName = EventName> = {
  [K in N]: { readonly name: K; readonly event: EventMap[K] }
}[N]

type AnyListener = (event: never) => void

/**
 * Where parts send their events and tools listen. Give one hub to every part (or to a whole machine) at construction;
 * parts build an event only
 * while someone listens to its name, so a hub without listeners costs one look-up per emission.
 *
 * Listeners run in the order in which they were added. A listener that throws stops the part that emitted, as a failing
 * device would.
 *
 * ```ts
 * const hub = new EventHub()
 * const pic = new PicPair({ events: hub })
 * const stop = hub.on('pic', ({ chip, action }) => console.log(chip, action))
 * ```
 */
export class EventHub implements EventSink {
  // Lists are replaced, never changed, so that a listener may add and remove listeners while it runs.
  readonly #listeners: Map<EventName, readonly AnyListener[]> = new Map()

  /**
   * Adds a listener; the result takes it away again (calling it twice does nothing more).
   * @throws VirtkitError `bad-argument` for an unknown name
   */
  on<N extends EventName>(name: N, listener: EventListener<N>): () => void {
    if (!EVENT_NAMES.includes(name)) {
      throw new VirtkitError('bad-argument', `there is no event '${String(name)}': ${EVENT_NAMES.join(', ')}`)
    }
    // A wrapper of its own, so that the same function added twice is removed once at a time.
    const own: AnyListener = (event) => listener(event)
    this.#listeners.set(name, [...(this.#listeners.get(name) ?? []), own])
    return () => {
      const left = (this.#listeners.get(name) ?? []).filter((other) => other !== own)
      if (left.length > 0) this.#listeners.set(name, left)
      else this.#listeners.delete(name)
    }
  }

  wants(name: EventName): boolean {
    return this.#listeners.has(name)
  }

  emit<N extends EventName>(name: N, event: EventMap[N]): void {
    const listeners = this.#listeners.get(name)
    if (listeners === undefined) return
    for (const listener of listeners) listener(event as never)
  }

  /**
   * Collects the events of these names that are emitted while `action` runs, in order; `limit` bounds how many are kept
   * (default 100 000, the
   * first ones).
   */
  record<N extends EventName>(names: readonly N[], action: () => void, limit = 100_000): RecordedEvent<N>[] {
    const events: RecordedEvent<N>[] = []
    const stops = names.map((name) =>
      this.on(name, (event) => {
        if (events.length < limit) events.push({ name, event } as unknown as RecordedEvent<N>)
      }),
    )
    try {
      action()
    } finally {
      for (const stop of stops) stop()
    }
    return events
  }
}
