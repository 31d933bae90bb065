/** The virtio devices of a machine: which there are, and how they are put on the PCI bus. */

import type { BlockBackend, Clock } from '../contracts/index.js'
import {
  type MessageSink,
  type NetworkBackend,
  type SeededEntropy,
  VirtioBlock,
  VirtioConsole,
  type VirtioDevice,
  VirtioNet,
  VirtioPci,
  VirtioRng,
} from '../devices/index.js'
import type { AddressSpace, Overlay } from '../memory/index.js'

/** Virtio devices that a machine may have. */
export interface VirtioParts {
  /** Disks, each a device of its own. */
  readonly disks?: readonly BlockBackend[]
  /** What network adapters are plugged into, each an adapter of its own. Frames enter the machine as inputs. */
  readonly networks?: readonly NetworkBackend[]
  /** A source of random numbers, fed from the machine's seed. */
  readonly entropy?: boolean
  /** Takes what the guest writes to a console; the array is only good during the call. */
  readonly console?: (bytes: Uint8Array) => void
}

/** What {@link makeVirtio} needs of the board. */
export interface VirtioSurroundings {
  readonly space: AddressSpace
  /** A clock for each device. */
  readonly clock: () => Clock
  readonly entropy: SeededEntropy
  readonly messages: MessageSink | undefined
  /** A frame arrived for adapter `n`: to be given to it by {@link VirtioSlots.receive}, now or at a place of the run that can be repeated. */
  readonly onFrame: (n: number, frame: Uint8Array) => void
}

/** The devices of a machine. */
export interface VirtioSlots {
  /** In the order of their PCI slots: disks, networks, entropy, console. */
  readonly functions: readonly VirtioPci[]
  readonly console: VirtioConsole | undefined
  /** Hands a frame to network adapter `n`. */
  receive(n: number, frame: Uint8Array): void
}

/** MAC addresses are locally administered; the last byte counts adapters. */
const MAC: readonly number[] = [0x52, 0x54, 0x00, 0x76, 0x6b]

/** Builds the devices and their PCI functions. */
export function makeVirtio(parts: VirtioParts, on: VirtioSurroundings): VirtioSlots {
  const { space } = on
  const functions: VirtioPci[] = []
  const receivers: ((frame: Uint8Array) => void)[] = []
  const common = () => ({ memory: space, clock: on.clock() })
  const plug = <T extends VirtioDevice>(device: T): T => {
    const placed = new Map<string, Overlay>()
    functions.push(
      new VirtioPci({
        device,
        placer: {
          place: (window, base, size, mmio) => placed.set(window, space.addOverlay({ base, size, device: mmio })),
          remove: (window) => {
            placed.get(window)?.remove()
            placed.delete(window)
          },
        },
        ...(on.messages === undefined ? {} : { messages: on.messages }),
      }),
    )
    return device
  }
  for (const backend of parts.disks ?? []) plug(new VirtioBlock({ ...common(), backend }))
  for (const [n, outside] of (parts.networks ?? []).entries()) {
    // The adapter hears of frames from outside only through the machine, so that they can be recorded.
    const backend: NetworkBackend = {
      send: (frame) => outside.send(frame),
      attach: (receive) => receivers.push(receive),
    }
    plug(new VirtioNet({ ...common(), backend, mac: Uint8Array.from([...MAC, n]) }))
    outside.attach((frame) => on.onFrame(n, frame))
  }
  if (parts.entropy === true) plug(new VirtioRng({ ...common(), source: on.entropy }))
  const output = parts.console
  const console = output && plug(new VirtioConsole({ ...common(), ports: [{ output }] }))
  return { functions, console, receive: (n, frame) => receivers[n]?.(frame) }
}
