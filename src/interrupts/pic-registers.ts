// Initialisation command words. Source: 8259A data sheet, "Initialization Command Word Format".

/** ICW1: ICW4 will follow. */
export const ICW1_IC4 = 0x01
/** ICW1: single chip, no ICW3. */
export const ICW1_SNGL = 0x02
/** ICW1: call address interval of 4 bytes instead of 8 (MCS-80 mode only). */
export const ICW1_ADI = 0x04
/** ICW1: level-triggered inputs. */
export const ICW1_LTIM = 0x08
/** Marks a write to A0 = 0 as ICW1. */
export const ICW1_INIT = 0x10
/** ICW4: 8086/8088 mode; clear is MCS-80/85 mode. */
export const ICW4_UPM = 0x01
/** ICW4: automatic end of interrupt. */
export const ICW4_AEOI = 0x02
/** ICW4, in buffered mode: this chip is the master. */
export const ICW4_MS = 0x04
/** ICW4: buffered mode, where {@link ICW4_MS} instead of the SP pin tells master from slave. */
export const ICW4_BUF = 0x08
/** ICW4: special fully nested mode. */
export const ICW4_SFNM = 0x10

// Operation command words. Source: 8259A data sheet, "Operation Command Word Format". OCW2 commands are bits 7–5; the
// ones marked "level" take the level in bits 2–0.

/** OCW2: stop rotating in automatic EOI mode. */
export const OCW2_ROTATE_AEOI_CLEAR = 0x00
/** OCW2: end of interrupt for the in-service level of highest priority. */
export const OCW2_EOI = 0x20
/** OCW2: nothing happens. */
export const OCW2_NOP = 0x40
/** OCW2: end of interrupt for a level. */
export const OCW2_SPECIFIC_EOI = 0x60
/** OCW2: rotate in automatic EOI mode. */
export const OCW2_ROTATE_AEOI_SET = 0x80
/** OCW2: non-specific EOI, after which that level has the lowest priority. */
export const OCW2_ROTATE_EOI = 0xa0
/** OCW2: make a level the one of lowest priority. */
export const OCW2_SET_PRIORITY = 0xc0
/** OCW2: EOI for a level, after which it has the lowest priority. */
export const OCW2_ROTATE_SPECIFIC_EOI = 0xe0
/** Marks a write to A0 = 0 as OCW3. */
export const OCW3 = 0x08
/** OCW3: read ISR at A0 = 0 (together with {@link OCW3_RR}). */
export const OCW3_RIS = 0x01
/** OCW3: {@link OCW3_RIS} is valid. */
export const OCW3_RR = 0x02
/** OCW3: the next read is a poll. */
export const OCW3_P = 0x04
/** OCW3: special mask mode on (together with {@link OCW3_ESMM}). */
export const OCW3_SMM = 0x20
/** OCW3: {@link OCW3_SMM} is valid. */
export const OCW3_ESMM = 0x40
/** Poll byte: an interrupt was pending, its level in bits 2–0. */
export const POLL_I = 0x80

/** The opcode of CALL, which the chip puts on the bus at the first INTA in MCS-80 mode. */
export const MCS80_CALL = 0xcd

/**
 * The actions of 'pic' events, in the order of one interrupt: a wire rises, IRR latches it, masks and priorities are
 * resolved, INT rises, two INTA pulses, end of interrupt. The last four tell of the side roads.
 */
export const PIC_ACTION = {
  request: 'request',
  latch: 'latch',
  resolve: 'resolve',
  int: 'int',
  inta1: 'inta-1',
  inta2: 'inta-2',
  eoi: 'eoi',
  /** The wire fell before it was acknowledged, so the request is gone. */
  withdraw: 'withdraw',
  /** INTA without a request: level 7 is reported and ISR stays as it was. */
  spurious: 'spurious',
  poll: 'poll',
  initialise: 'initialise',
} as const
