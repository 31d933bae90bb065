/**
 * Registers, commands and status bits of the 82077AA. Source: Intel 82077AA data sheet, "Register Set", "Command Set".
 * @module
 */

/** Offsets from 0x3f0. */
export const FDC_SRA = 0
export const FDC_SRB = 1
export const FDC_DOR = 2
export const FDC_TDR = 3
/** Main status (read), data rate select (write). */
export const FDC_MSR = 4
export const FDC_FIFO = 5
/** Digital input (read), configuration control (write). */
export const FDC_DIR = 7

/** Not reset. */
export const DOR_RESET = 0x04
/** Lets interrupt and DMA requests out. */
export const DOR_DMAGATE = 0x08
/** Motor of drive 0; the others follow. */
export const DOR_MOTOR0 = 0x10

export const MSR_RQM = 0x80
/** 1: the controller has a byte for the processor. */
export const MSR_DIO = 0x40
export const MSR_NON_DMA = 0x20
export const MSR_CMD_BUSY = 0x10

/** DSR: software reset. */
export const DSR_RESET = 0x80
/** DIR: the diskette was changed. */
export const DIR_DSKCHG = 0x80

export const FDC_READ_TRACK = 0x02
export const FDC_SPECIFY = 0x03
export const FDC_SENSE_DRIVE = 0x04
export const FDC_WRITE = 0x05
export const FDC_READ = 0x06
export const FDC_RECALIBRATE = 0x07
export const FDC_SENSE_INTERRUPT = 0x08
export const FDC_WRITE_DELETED = 0x09
export const FDC_READ_ID = 0x0a
export const FDC_READ_DELETED = 0x0c
export const FDC_FORMAT = 0x0d
export const FDC_DUMPREG = 0x0e
export const FDC_SEEK = 0x0f
export const FDC_VERSION = 0x10
export const FDC_PERPENDICULAR = 0x12
export const FDC_CONFIGURE = 0x13
export const FDC_LOCK = 0x14
export const FDC_VERIFY = 0x16

/** First byte of data commands: multi-track. */
export const FDC_MT = 0x80
/** First byte of data commands: MFM. */
export const FDC_MFM = 0x40

export const ST0_ABNORMAL = 0x40
export const ST0_INVALID = 0x80
/** After a reset: the drive's ready line changed. */
export const ST0_READY_CHANGED = 0xc0
export const ST0_SEEK_END = 0x20
/** Equipment check: recalibration found no track 0. */
export const ST0_EQUIPMENT = 0x10
/** Access beyond the last sector. */
export const ST1_EN = 0x80
/** Overrun: the data was not taken in time. */
export const ST1_OR = 0x10
/** Sector not found. */
export const ST1_ND = 0x04
/** Write-protected. */
export const ST1_NW = 0x02
/** No address mark: no diskette, motor off, wrong rate. */
export const ST1_MA = 0x01
/** Control mark: the other kind of data mark was met. */
export const ST2_CM = 0x40
/** The track is not the one asked for. */
export const ST2_WC = 0x10
export const ST3_WP = 0x40
export const ST3_READY = 0x20
export const ST3_TRACK0 = 0x10
export const ST3_TWO_SIDED = 0x08
