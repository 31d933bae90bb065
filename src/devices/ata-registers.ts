/**
 * Registers, bits and commands of ATA devices. Source: T13/1410D, "AT Attachment with Packet Interface - 6" (ATA/ATAPI-6).
 */

// Command block, as offsets from 0x1F0 or 0x170.
export const ATA_DATA = 0
/** Error when read, features when written. */
export const ATA_ERROR = 1
export const ATA_FEATURES = 1
/** Sector count; for packet commands the interrupt reason. */
export const ATA_COUNT = 2
export const ATA_LBA_LOW = 3
/** LBA mid; for packet commands the low byte of the byte count. */
export const ATA_LBA_MID = 4
/** LBA high; for packet commands the high byte of the byte count. */
export const ATA_LBA_HIGH = 5
export const ATA_DEVICE = 6
/** Status when read, command when written. */
export const ATA_STATUS = 7
export const ATA_COMMAND = 7

// Status.
export const ATA_STATUS_BSY = 0x80
export const ATA_STATUS_DRDY = 0x40
/** Device fault. */
export const ATA_STATUS_DF = 0x20
/** Seek complete in older standards; kept set by disks, since drivers look for it. */
export const ATA_STATUS_DSC = 0x10
export const ATA_STATUS_DRQ = 0x08
export const ATA_STATUS_ERR = 0x01

// Error.
/** Uncorrectable data. */
export const ATA_ERROR_UNC = 0x40
/** Address not found. */
export const ATA_ERROR_IDNF = 0x10
export const ATA_ERROR_ABRT = 0x04
/** Diagnostic code: the device passed. */
export const ATA_DIAGNOSTIC_PASSED = 0x01

// Device.
export const ATA_DEVICE_LBA = 0x40
/** Selects device 1. */
export const ATA_DEVICE_DEV = 0x10

// Device control.
/** Reads show the previous contents of the task file. */
export const ATA_CONTROL_HOB = 0x80
export const ATA_CONTROL_SRST = 0x04
/** Interrupts disabled. */
export const ATA_CONTROL_NIEN = 0x02

// Interrupt reason of packet commands.
/** Command, not data. */
export const ATAPI_REASON_CD = 0x01
/** To the host. */
export const ATAPI_REASON_IO = 0x02

export const ATA_CMD_NOP = 0x00
export const ATA_CMD_DEVICE_RESET = 0x08
export const ATA_CMD_RECALIBRATE = 0x10
export const ATA_CMD_READ_SECTORS = 0x20
export const ATA_CMD_READ_SECTORS_NORETRY = 0x21
export const ATA_CMD_READ_SECTORS_EXT = 0x24
export const ATA_CMD_READ_DMA_EXT = 0x25
export const ATA_CMD_READ_NATIVE_MAX_EXT = 0x27
export const ATA_CMD_READ_MULTIPLE_EXT = 0x29
export const ATA_CMD_WRITE_SECTORS = 0x30
export const ATA_CMD_WRITE_SECTORS_NORETRY = 0x31
export const ATA_CMD_WRITE_SECTORS_EXT = 0x34
export const ATA_CMD_WRITE_DMA_EXT = 0x35
export const ATA_CMD_WRITE_MULTIPLE_EXT = 0x39
export const ATA_CMD_READ_VERIFY = 0x40
export const ATA_CMD_READ_VERIFY_NORETRY = 0x41
export const ATA_CMD_READ_VERIFY_EXT = 0x42
export const ATA_CMD_SEEK = 0x70
export const ATA_CMD_EXECUTE_DIAGNOSTIC = 0x90
export const ATA_CMD_INITIALIZE_PARAMETERS = 0x91
export const ATA_CMD_PACKET = 0xa0
export const ATA_CMD_IDENTIFY_PACKET = 0xa1
export const ATA_CMD_READ_MULTIPLE = 0xc4
export const ATA_CMD_WRITE_MULTIPLE = 0xc5
export const ATA_CMD_SET_MULTIPLE = 0xc6
export const ATA_CMD_READ_DMA = 0xc8
export const ATA_CMD_READ_DMA_NORETRY = 0xc9
export const ATA_CMD_WRITE_DMA = 0xca
export const ATA_CMD_WRITE_DMA_NORETRY = 0xcb
export const ATA_CMD_STANDBY_IMMEDIATE = 0xe0
export const ATA_CMD_IDLE_IMMEDIATE = 0xe1
export const ATA_CMD_STANDBY = 0xe2
export const ATA_CMD_IDLE = 0xe3
export const ATA_CMD_READ_BUFFER = 0xe4
export const ATA_CMD_CHECK_POWER_MODE = 0xe5
export const ATA_CMD_SLEEP = 0xe6
export const ATA_CMD_FLUSH_CACHE = 0xe7
export const ATA_CMD_WRITE_BUFFER = 0xe8
export const ATA_CMD_FLUSH_CACHE_EXT = 0xea
export const ATA_CMD_IDENTIFY = 0xec
export const ATA_CMD_SET_FEATURES = 0xef
export const ATA_CMD_READ_NATIVE_MAX = 0xf8

// Subcommands of SET FEATURES.
export const ATA_FEATURE_WRITE_CACHE_ON = 0x02
export const ATA_FEATURE_TRANSFER_MODE = 0x03
export const ATA_FEATURE_LOOK_AHEAD_OFF = 0x55
/** Settings survive a software reset. */
export const ATA_FEATURE_REVERT_OFF = 0x66
export const ATA_FEATURE_WRITE_CACHE_OFF = 0x82
export const ATA_FEATURE_LOOK_AHEAD_ON = 0xaa
export const ATA_FEATURE_REVERT_ON = 0xcc

/** Largest block of READ and WRITE MULTIPLE, in sectors. */
export const ATA_MAX_MULTIPLE = 16
export const ATA_SECTOR_SIZE = 512
