import { VirtkitError } from '../../contracts/index.js'

/** What the ACPI and MP tables say about a machine: its real configuration. */
export interface AcpiConfig {
  /** Processors; their local APIC IDs are 0 to `cpus − 1`. 1–255. */
  readonly cpus: number
  /** Bytes of RAM from address 0: PCI memory begins behind it. */
  readonly lowMemory: number
  /** Bytes of RAM from 4 GiB on. Default 0. */
  readonly highMemory?: number
  /** Whether there are high-precision event timers at FED00000h. Default true. */
  readonly hpet?: boolean
  /** Whether there is an I/O APIC at FEC00000h (and local APICs). Default true. */
  readonly ioApic?: boolean
  /** ID of the I/O APIC. Default 0. */
  readonly ioApicId?: number
  /** Whether there is a floppy controller. Default false. */
  readonly floppy?: boolean
  /** Base ports of serial lines, of 3F8h (IRQ 4), 2F8h (IRQ 3), 3E8h (IRQ 4), 2E8h (IRQ 3). Default 3F8h alone. */
  readonly serial?: readonly number[]
  /** Whether there are a keyboard and a mouse behind ports 60h and 64h. Default true. */
  readonly ps2?: boolean
  /** Whether the firmware configuration device is there. Default true. */
  readonly fwCfg?: boolean
  /** Base of the power-management ports. Default 600h. */
  readonly pmBase?: number
  /** Bits of the ACPI timer. Default 24. */
  readonly timerBits?: 24 | 32
}

/** An {@link AcpiConfig} with its defaults filled in and checked. */
export type CompleteAcpiConfig = Required<AcpiConfig>

/** PCI memory below 4 GiB ends here; behind it are I/O APIC, event timers, local APICs and firmware. */
export const PCI_MEMORY_END = 0xfec00000
/** PCI memory above 4 GiB: 2 GiB, from a multiple of 2 GiB on. */
export const PCI_HIGH_MEMORY_SIZE = 0x80000000

/** Fills in the defaults. Throws `bad-argument` for what no machine of this kind has. */
export function completeAcpiConfig(config: AcpiConfig): CompleteAcpiConfig {
  const { cpus, lowMemory } = config
  const highMemory = config.highMemory ?? 0
  if (!Number.isInteger(cpus) || cpus < 1 || cpus > 255) {
    throw new VirtkitError('bad-argument', `ACPI tables describe 1 to 255 processors, not ${cpus}`)
  }
  if (!Number.isInteger(lowMemory) || lowMemory < 0x100000 || lowMemory >= PCI_MEMORY_END) {
    throw new VirtkitError('bad-argument', `lowMemory is 1 MiB to 4076 MiB, not ${lowMemory} bytes`)
  }
  if (!Number.isInteger(highMemory) || highMemory < 0 || highMemory > 2 ** 46) {
    throw new VirtkitError('bad-argument', `highMemory is a number of bytes, not ${highMemory}`)
  }
  const ioApicId = config.ioApicId ?? 0
  if (!Number.isInteger(ioApicId) || ioApicId < 0 || ioApicId > 255) {
    throw new VirtkitError('bad-argument', `an I/O APIC has an ID of 0 to 255, not ${ioApicId}`)
  }
  const pmBase = config.pmBase ?? 0x600
  if (!Number.isInteger(pmBase) || pmBase < 0x100 || pmBase > 0xffc0 || (pmBase & 0x3f) !== 0) {
    throw new VirtkitError('bad-argument', 'pmBase is a multiple of 64 below 64 Ki')
  }
  const serial = config.serial ?? [0x3f8]
  if (serial.some((base) => ![0x3f8, 0x2f8, 0x3e8, 0x2e8].includes(base))) {
    throw new VirtkitError('bad-argument', 'serial lines are at 3F8h, 2F8h, 3E8h or 2E8h')
  }
  return {
    cpus,
    lowMemory,
    highMemory,
    ioApicId,
    pmBase,
    serial,
    hpet: config.hpet ?? true,
    ioApic: config.ioApic ?? true,
    floppy: config.floppy ?? false,
    ps2: config.ps2 ?? true,
    fwCfg: config.fwCfg ?? true,
    timerBits: config.timerBits ?? 24,
  }
}
