// Register offsets above the eight address and count registers. Source: 8237A data sheet, "Software Commands".

/** Read: status. */
export const DMA_STATUS = 0x8
/** Write: command. */
export const DMA_COMMAND = 0x8
/** Write: set or reset one software request. */
export const DMA_REQUEST = 0x9
/** Write: set or reset one mask bit. */
export const DMA_SINGLE_MASK = 0xa
/** Write: mode of one channel. */
export const DMA_MODE = 0xb
/** Write: clear the first/last flip-flop, so that the low byte comes next. */
export const DMA_CLEAR_FLIP_FLOP = 0xc
/** Read: temporary register (the last byte of a memory-to-memory transfer). */
export const DMA_TEMPORARY = 0xd
/** Write: as the RESET pin. */
export const DMA_MASTER_CLEAR = 0xd
/** Write: unmask all channels. */
export const DMA_CLEAR_MASK = 0xe
/** Write: all four mask bits. Reads return them, as on the PIIX. */
export const DMA_ALL_MASK = 0xf

/** Command: memory-to-memory by channels 0 and 1. */
export const DMA_COMMAND_MEMORY = 0x01
/** Command: channel 0's address stays the same in memory-to-memory. */
export const DMA_COMMAND_HOLD = 0x02
/** Command: controller disabled. */
export const DMA_COMMAND_DISABLE = 0x04
/** Command: compressed timing (no effect on what is transferred). */
export const DMA_COMMAND_COMPRESSED = 0x08
/** Command: rotating priority. */
export const DMA_COMMAND_ROTATE = 0x10
/** Command: extended write (no effect on what is transferred). */
export const DMA_COMMAND_EXTENDED = 0x20
/** Command: DREQ is active low. */
export const DMA_COMMAND_DREQ_LOW = 0x40
/** Command: DACK is active high. */
export const DMA_COMMAND_DACK_HIGH = 0x80

/** Mode, bits 3–2: verify, no memory access. */
export const DMA_MODE_VERIFY = 0x00
/** Mode, bits 3–2: device to memory. */
export const DMA_MODE_WRITE = 0x04
/** Mode, bits 3–2: memory to device. */
export const DMA_MODE_READ = 0x08
/** Mode: reload address and count at the end. */
export const DMA_MODE_AUTOINIT = 0x10
/** Mode: the address goes down. */
export const DMA_MODE_DECREMENT = 0x20
/** Mode, bits 7–6: transfer while DREQ is active. */
export const DMA_MODE_DEMAND = 0x00
/** Mode, bits 7–6: one transfer per bus tenure. */
export const DMA_MODE_SINGLE = 0x40
/** Mode, bits 7–6: all transfers in one bus tenure. */
export const DMA_MODE_BLOCK = 0x80
/** Mode, bits 7–6: another 8237 sits behind this channel. */
export const DMA_MODE_CASCADE = 0xc0

/**
 * The actions of 'dma' events, in the order of one service: the device asks, mask and priority decide, the bus is
 * asked for and granted, the device is told, transfers, terminal count, the bus is given back.
 */
export const DMA_ACTION = {
  request: 'dreq',
  /** DREQ is active but the mask bit keeps it back. */
  masked: 'masked',
  resolve: 'resolve',
  hold: 'hrq',
  granted: 'hlda',
  acknowledge: 'dack',
  transfer: 'transfer',
  terminalCount: 'tc',
  reload: 'autoinitialise',
  release: 'release',
} as const

/** The longest block: a word count of 0xffff. */
export const DMA_MAX_TRANSFERS = 0x10000

/** A device on a DMA channel: bytes on an 8-bit controller, 16-bit words on a 16-bit one. */
export interface DmaDevice {
  /** The device puts a unit on the bus (DACK with I/O read): device to memory. */
  read(): number
  /** The device takes a unit off the bus (DACK with I/O write): memory to device. */
  write(value: number): void
  /** TC during the last transfer; registers already show the end of the block. */
  terminalCount(): void
}

/** Where address bits above 16 come from: page registers beside the controller. */
export interface DmaPages {
  /** Address bits 23–16 for channel 0–3. */
  page(channel: number): number
}
