// Numbers of the specification. Source: "Virtual I/O Device (VIRTIO) Version 1.2".

// Device types. Source: "Device Types".
export const VIRTIO_TYPE_NET = 1
export const VIRTIO_TYPE_BLOCK = 2
export const VIRTIO_TYPE_CONSOLE = 3
export const VIRTIO_TYPE_ENTROPY = 4

// Device status. Source: "Device Status Field".
export const VIRTIO_STATUS_ACKNOWLEDGE = 0x01
export const VIRTIO_STATUS_DRIVER = 0x02
export const VIRTIO_STATUS_DRIVER_OK = 0x04
export const VIRTIO_STATUS_FEATURES_OK = 0x08
/** The device met something from which only a reset recovers. */
export const VIRTIO_STATUS_NEEDS_RESET = 0x40
export const VIRTIO_STATUS_FAILED = 0x80

// Feature bits that do not depend on the device, as bit numbers. Source: "Reserved Feature Bits".
export const VIRTIO_F_INDIRECT_DESC = 28
export const VIRTIO_F_EVENT_IDX = 29
export const VIRTIO_F_VERSION_1 = 32
export const VIRTIO_F_RING_RESET = 40

// Descriptor flags. Source: "The Virtqueue Descriptor Table".
export const VIRTQ_DESC_F_NEXT = 1
export const VIRTQ_DESC_F_WRITE = 2
export const VIRTQ_DESC_F_INDIRECT = 4
/** Bytes of a descriptor. */
export const VIRTQ_DESC_SIZE = 16
/** Flag of the available ring: the driver asks not to be interrupted. */
export const VIRTQ_AVAIL_F_NO_INTERRUPT = 1
/** Flag of the used ring: the device asks not to be notified. */
export const VIRTQ_USED_F_NO_NOTIFY = 1

// Structures of the PCI transport. Source: "Virtio Structure PCI Capabilities".
export const VIRTIO_PCI_CAP_COMMON_CFG = 1
export const VIRTIO_PCI_CAP_NOTIFY_CFG = 2
export const VIRTIO_PCI_CAP_ISR_CFG = 3
export const VIRTIO_PCI_CAP_DEVICE_CFG = 4
export const VIRTIO_PCI_CAP_PCI_CFG = 5

/** PCI vendor of virtio devices. */
export const VIRTIO_PCI_VENDOR = 0x1af4
/** PCI device ID of a non-transitional device of type 0. */
export const VIRTIO_PCI_DEVICE_BASE = 0x1040

// Common configuration. Source: "Common configuration structure layout".
export const VIRTIO_COMMON_DEVICE_FEATURE_SELECT = 0x00
export const VIRTIO_COMMON_DEVICE_FEATURE = 0x04
export const VIRTIO_COMMON_DRIVER_FEATURE_SELECT = 0x08
export const VIRTIO_COMMON_DRIVER_FEATURE = 0x0c
export const VIRTIO_COMMON_CONFIG_VECTOR = 0x10
export const VIRTIO_COMMON_NUM_QUEUES = 0x12
export const VIRTIO_COMMON_STATUS = 0x14
export const VIRTIO_COMMON_GENERATION = 0x15
export const VIRTIO_COMMON_QUEUE_SELECT = 0x16
export const VIRTIO_COMMON_QUEUE_SIZE = 0x18
export const VIRTIO_COMMON_QUEUE_VECTOR = 0x1a
export const VIRTIO_COMMON_QUEUE_ENABLE = 0x1c
export const VIRTIO_COMMON_QUEUE_NOTIFY_OFF = 0x1e
/** Six doublewords: descriptor table, driver area and device area, low half first. */
export const VIRTIO_COMMON_QUEUE_DESC = 0x20
export const VIRTIO_COMMON_QUEUE_DRIVER = 0x28
export const VIRTIO_COMMON_QUEUE_DEVICE = 0x30
export const VIRTIO_COMMON_QUEUE_NOTIFY_DATA = 0x38
export const VIRTIO_COMMON_QUEUE_RESET = 0x3a
/** Bytes of the common configuration structure. */
export const VIRTIO_COMMON_SIZE = 0x3c

/** ISR status: a queue has used buffers. */
export const VIRTIO_ISR_QUEUE = 1
/** ISR status: the configuration changed. */
export const VIRTIO_ISR_CONFIG = 2
/** A vector register that names no MSI-X vector. */
export const VIRTIO_MSI_NO_VECTOR = 0xffff
