/**
 * What can be observed of a machine, by event name. Parts that can be observed take an optional {@link EventSink} or
 * expose `events`; emitting is skipped while nobody listens.
 */
export interface EventMap {
  /** One step of an address translation, numbered as a course teaches it. */
  translation: { readonly step: string; readonly detail: Readonly<Record<string, number | string | boolean>> }
  /** A TLB look-up, fill, eviction or flush. */
  tlb: { readonly action: 'hit' | 'miss' | 'fill' | 'evict' | 'flush'; readonly page: number; readonly frame?: number }
  /** A step of the 8259 sequence: request, INT, INTA, service, end of interrupt. */
  pic: {
    readonly chip: string
    readonly action: string
    readonly line?: number
    readonly vector?: number
    readonly irr: number
    readonly isr: number
    readonly imr: number
  }
  /**
   * A step on the way of an interrupt through I/O APIC, message and local APIC. `pin` is an input of an I/O APIC or the
   * number of an LVT entry's pin (LINT0, LINT1); `deliveryMode` has the hardware's encoding.
   */
  apic: {
    readonly chip: string
    readonly action: string
    readonly vector?: number
    readonly deliveryMode?: number
    readonly pin?: number
    readonly destination?: number
    readonly destinationMode?: 'physical' | 'logical'
    readonly trigger?: 'edge' | 'level'
  }
  /** The CPU delivers an interrupt or exception; `ip` is the address that will be saved. */
  interrupt: {
    readonly vector: number
    readonly kind: 'external' | 'software' | 'exception' | 'nmi'
    readonly errorCode?: number
    readonly ip: number
  }
  /** A port access. */
  port: { readonly direction: 'in' | 'out'; readonly port: number; readonly size: number; readonly value: number }
  /** A step of a DMA transfer. */
  dma: {
    readonly chip: string
    readonly channel: number
    readonly action: string
    readonly address?: number
    readonly count?: number
  }
  /** An instruction is about to run. */
  instruction: { readonly ip: number; readonly linear: number; readonly text?: string }
  /** A data access of an instruction, at its linear address. */
  memory: { readonly direction: 'read' | 'write'; readonly linear: number; readonly size: number }
}

/** The name of an event. */
export type EventName = keyof EventMap

/** Receives events. `wants` lets an emitter skip building an event that nobody would read. */
export interface EventSink {
  /** Whether anyone listens to this event. */
  wants(name: EventName): boolean
  /** Takes an event. */
  emit<N extends EventName>(name: N, event: EventMap[N]): void
}
