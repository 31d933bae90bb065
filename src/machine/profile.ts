/** Measures the parts of a machine that its processors do not know of. */

import type { MmioDevice } from '../contracts/index.js'
import type { Profiler } from '../cpu/index.js'
import type { AddressSpace } from '../memory/index.js'
import type { Board } from './board.js'
import type { HostInputs } from './host-inputs.js'
import type { VirtualClock } from './virtual-clock.js'

function measured(profiler: Profiler, device: MmioDevice): MmioDevice {
  return {
    readMmio: profiler.timed('devices', (offset, size) => device.readMmio(offset, size)),
    writeMmio: profiler.timed('devices', (offset, size, value) => device.writeMmio(offset, size, value)),
  }
}

/** Measures the devices that will be placed in `space` from now on. */
export function profileWindows(profiler: Profiler, space: AddressSpace): void {
  const { addMmio, addOverlay } = space
  space.addMmio = (base, size, device) => addMmio.call(space, base, size, measured(profiler, device))
  space.addOverlay = (options) =>
    addOverlay.call(space, options.device ? { ...options, device: measured(profiler, options.device) } : options)
}

/** Measures ports, registers of local APICs, alarms and input. */
export function profileBoard(profiler: Profiler, board: Board, clock: VirtualClock, inputs: HostInputs): void {
  profiler.time('devices', board.ports, 'read', 'write')
  for (const apic of board.apics?.local ?? []) profiler.time('devices', apic, 'readMsr', 'writeMsr')
  profiler.time('devices', clock, 'runDue')
  profiler.time('devices', inputs, 'takeDue')
}
