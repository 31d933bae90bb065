/**
 * Guest-physical memory: RAM, ROM, MMIO windows, aliases and overlays in one address map, the A20 gate, the dirty log.
 * @module
 */
export * from './address-space.js'
export type {
  AddressSpaceOptions,
  AddressSpaceState,
  MapChange,
  Overlay,
  OverlayOptions,
  Placement,
} from './address-space-types.js'
export { PLACE_WRITE, type PlaceTable, placeTableRoom } from './place-table.js'
export { PAGE_SIZE, PHYSICAL_LIMIT } from './ranges.js'
