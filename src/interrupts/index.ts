/**
 * Interrupt controllers: the 8259A alone and as the cascaded pair of a PC; the local APIC, the I/O APIC, the bus that
 * joins them, and interrupt messages (MSI).
 * @module
 */

export * from './apic-bus.js'
export * from './apic-command.js'
export * from './apic-destination.js'
export * from './apic-registers.js'
export * from './io-apic.js'
export * from './local-apic.js'
export * from './local-apic-timer.js'
export * from './local-apic-types.js'
export * from './msi.js'
export * from './pic-pair.js'
export * from './pic-registers.js'
export * from './pic8259.js'
