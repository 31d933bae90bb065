import { describe, expect, it } from 'vitest'
import type { PortDevice, PortSize } from '../../src/contracts/index.js'
import { VirtkitError } from '../../src/contracts/index.js'
import {
  ACPI_DISABLE_COMMAND,
  ACPI_ENABLE_COMMAND,
  PIIX4_DEVACTB,
  PIIX4_DEVACTB_APMC_EN,
  PIIX4_PMBA,
  PIIX4_PMIOSE,
  PIIX4_PMREGMISC,
  PIIX4_SMB_HST_EN,
  PIIX4_SMBBA,
  PIIX4_SMBHSTCFG,
  Piix4Pm,
  PM_DEFAULT_BASE,
  PM_GLBCTL_BIOS_RLS,
  PM_GLBCTL_SMI_EN,
  PM_GLOBAL_CONTROL,
  PM_TIMER,
  PM1_CNT_SCI_EN,
  PM1_CNT_SLP_EN,
  PM1_CNT_SLP_TYP_SHIFT,
  PM1_CONTROL,
  PM1_ENABLE,
  PM1_STATUS,
  PM1_STS_GLOBAL,
  PM1_STS_POWER_BUTTON,
  PM1_STS_TIMER,
  SMBUS_CONTROL_INTERRUPT,
  SMBUS_CONTROL_KILL,
  SMBUS_CONTROL_START,
  SMBUS_DEFAULT_BASE,
  SMBUS_HOST_ADDRESS,
  SMBUS_HOST_CONTROL,
  SMBUS_HOST_STATUS,
  SMBUS_STATUS_BUSY,
  SMBUS_STATUS_DEVICE_ERROR,
  SMBUS_STATUS_FAILED,
} from '../../src/devices/index.js'
import { ManualClock } from '../manual-clock.js'
import { Line } from './helpers.js'

/** Ports as a bus decodes them; a second device at a place is refused. */
class Ports {
  readonly devices = new Map<number, { base: number; device: PortDevice }>()
  place(base: number, size: number, device: PortDevice): void {
    for (let i = 0; i < size; i++) if (this.devices.has(base + i)) throw new VirtkitError('overlap', 'taken')
    for (let i = 0; i < size; i++) this.devices.set(base + i, { base, device })
  }
  remove(base: number, size: number): void {
    for (let i = 0; i < size; i++) this.devices.delete(base + i)
  }
  read(port: number, size: PortSize): number {
    const at = this.devices.get(port)
    return at === undefined ? 2 ** (8 * size) - 1 : at.device.readPort(port - at.base, size)
  }
  write(port: number, size: PortSize, value: number): void {
    const at = this.devices.get(port)
    at?.device.writePort(port - at.base, size, value)
  }
}

function machine() {
  const clock = new ManualClock()
  const ports = new Ports()
  const sci = new Line()
  const seen = { smi: 0, off: 0 }
  const pm = new Piix4Pm({ clock, ports, sci, onSmi: () => seen.smi++, onPowerOff: () => seen.off++ })
  return { clock, ports, sci, seen, pm }
}

const BASE = PM_DEFAULT_BASE

describe('decoding', () => {
  it('places the ports where firmware says, once it says so', () => {
    const { pm, ports } = machine()
    expect(pm.readConfig(0, 4)).toBe(0x71138086)
    expect(pm.readConfig(8, 4)).toBe(0x06800003)
    expect(pm.readConfig(PIIX4_PMBA, 4)).toBe(1)
    pm.writeConfig(PIIX4_PMBA, 4, 0xffffe4ff)
    expect(pm.readConfig(PIIX4_PMBA, 4)).toBe(0xe4c1)
    expect(pm.pmBase).toBe(-1)
    pm.writeConfig(PIIX4_PMREGMISC, 1, PIIX4_PMIOSE)
    expect(pm.pmBase).toBe(0xe4c0)
    pm.writeConfig(PIIX4_PMBA, 2, 0x601)
    expect([pm.pmBase, ports.devices.size]).toEqual([0x600, 64])
    pm.reset()
    expect([pm.pmBase, ports.devices.size]).toEqual([-1, 0])
  })

  it('gives way to whoever was there', () => {
    const { pm, ports, clock } = machine()
    ports.place(0x620, 1, pm.apmPorts)
    pm.initialise()
    expect([pm.pmBase, pm.smbusBase]).toEqual([-1, SMBUS_DEFAULT_BASE])
    ports.remove(0x620, 1)
    pm.writeConfig(PIIX4_PMREGMISC, 1, PIIX4_PMIOSE)
    expect(pm.pmBase).toBe(0x600)
    expect(clock.scheduled).toBe(0)
  })

  it('SMBus ports need I/O space and the host enable', () => {
    const { pm } = machine()
    pm.writeConfig(PIIX4_SMBBA, 4, 0xb101)
    pm.writeConfig(PIIX4_SMBHSTCFG, 1, PIIX4_SMB_HST_EN)
    expect(pm.smbusBase).toBe(-1)
    pm.writeConfig(4, 2, 1)
    expect(pm.smbusBase).toBe(0xb100)
  })
})

describe('the ACPI timer', () => {
  it('runs at 315/88 MHz in 24 bits', () => {
    const { pm, ports, clock } = machine()
    pm.initialise()
    const read = () => ports.read(BASE + PM_TIMER, 4)
    expect(read()).toBe(0)
    clock.advance(88_000)
    expect(read()).toBe(315)
    clock.advanceTo(1e9)
    expect(read()).toBe(3_579_545)
    // 2^24 counts take 4 686 968 279.4 ns.
    clock.advanceTo(4_686_968_279)
    expect(read()).toBe(0xffffff)
    clock.advance(1)
    expect(read()).toBe(0)
    expect(ports.read(BASE + PM_TIMER + 1, 2)).toBe(0)
  })

  it('interrupts when bit 23 changes, either way', () => {
    const { pm, ports, clock, sci } = machine()
    pm.initialise()
    ports.write(BASE + PM1_ENABLE, 2, PM1_STS_TIMER)
    // 2^23 counts.
    clock.advanceTo(2_343_484_139)
    expect(sci.level).toBe(false)
    clock.advance(1)
    expect(sci.level).toBe(true)
    expect(ports.read(BASE + PM1_STATUS, 2)).toBe(PM1_STS_TIMER)
    ports.write(BASE + PM1_STATUS, 2, PM1_STS_TIMER)
    expect(sci.level).toBe(false)
    clock.advance(2_343_484_140)
    expect(sci.level).toBe(true)
    // No alarm while the status says it already.
    expect(clock.scheduled).toBe(0)
  })

  it('sets its status without an enable, too', () => {
    const { pm, ports, clock, sci } = machine()
    pm.initialise()
    clock.advance(5e9)
    expect(clock.fired).toBe(0)
    expect(ports.read(BASE + PM1_STATUS, 2)).toBe(PM1_STS_TIMER)
    expect(sci.level).toBe(false)
  })
})

describe('events', () => {
  it('the power button raises the SCI', () => {
    const { pm, ports, sci } = machine()
    pm.initialise()
    pm.pressPowerButton()
    expect([sci.level, ports.read(BASE, 4)]).toEqual([false, PM1_STS_POWER_BUTTON])
    ports.write(BASE + PM1_ENABLE, 2, 0xffff)
    expect(ports.read(BASE + PM1_ENABLE, 2)).toBe(0x0521)
    expect(sci.level).toBe(true)
    ports.write(BASE + PM1_STATUS + 1, 1, 0x01)
    expect(sci.level).toBe(false)
  })

  it('are SMIs while the operating system has not taken over', () => {
    const { pm, ports, sci, seen } = machine()
    pm.initialise()
    ports.write(BASE + PM_GLOBAL_CONTROL, 4, PM_GLBCTL_SMI_EN)
    ports.write(BASE + PM1_CONTROL, 2, 0)
    ports.write(BASE + PM1_ENABLE, 2, PM1_STS_POWER_BUTTON)
    pm.pressPowerButton()
    pm.pressPowerButton()
    expect([sci.level, seen.smi]).toEqual([false, 1])
    ports.write(BASE + PM1_CONTROL, 2, PM1_CNT_SCI_EN)
    expect([sci.level, seen.smi]).toEqual([true, 1])
  })

  it('BIOS_RLS sets the global status', () => {
    const { pm, ports, sci } = machine()
    pm.initialise()
    ports.write(BASE + PM1_ENABLE, 2, PM1_STS_GLOBAL)
    ports.write(BASE + PM_GLOBAL_CONTROL, 4, PM_GLBCTL_BIOS_RLS)
    expect([sci.level, ports.read(BASE + PM_GLOBAL_CONTROL, 4)]).toEqual([true, 0])
  })

  it('the general-purpose block is two bytes of status and two of enables', () => {
    const { pm } = machine()
    pm.gpePorts.writePort(0, 4, 0xabcdffff)
    expect(pm.gpePorts.readPort(0, 4)).toBe(0xabcd0000)
  })
})

describe('sleep', () => {
  it('S5 switches off, other states do nothing', () => {
    const { pm, ports, seen } = machine()
    pm.initialise()
    ports.write(BASE + PM1_CONTROL, 2, PM1_CNT_SLP_EN | (1 << PM1_CNT_SLP_TYP_SHIFT) | PM1_CNT_SCI_EN)
    expect(seen.off).toBe(0)
    expect(ports.read(BASE + PM1_CONTROL, 2)).toBe((1 << PM1_CNT_SLP_TYP_SHIFT) | PM1_CNT_SCI_EN)
    ports.write(BASE + PM1_CONTROL, 2, PM1_CNT_SCI_EN)
    expect(seen.off).toBe(0)
    ports.write(BASE + PM1_CONTROL, 2, PM1_CNT_SLP_EN | PM1_CNT_SCI_EN)
    expect(seen.off).toBe(1)
  })
})

describe('APM', () => {
  it('raises SMI# when firmware has enabled it, as SeaBIOS does', () => {
    const { pm, ports, seen } = machine()
    pm.writeConfig(PIIX4_PMBA, 4, BASE | 1)
    pm.writeConfig(PIIX4_PMREGMISC, 1, 1)
    pm.apmPorts.writePort(1, 1, 0x01)
    pm.apmPorts.writePort(0, 1, 0x00)
    expect(seen.smi).toBe(0)
    pm.writeConfig(PIIX4_DEVACTB, 4, (pm.readConfig(PIIX4_DEVACTB, 4) | PIIX4_DEVACTB_APMC_EN) >>> 0)
    pm.apmPorts.writePort(0, 1, 0x00)
    expect(seen.smi).toBe(0)
    ports.write(BASE + PM_GLOBAL_CONTROL, 4, ports.read(BASE + PM_GLOBAL_CONTROL, 4) | PM_GLBCTL_SMI_EN)
    pm.apmPorts.writePort(0, 1, 0xb5)
    pm.apmPorts.writePort(0, 1, 0x00)
    expect(seen.smi).toBe(2)
    expect(pm.apmPorts.readPort(0, 2)).toBe(0x0100)
  })

  it('hands the ACPI registers over and back', () => {
    const { pm } = machine()
    expect(pm.sciEnabled).toBe(false)
    pm.apmPorts.writePort(0, 1, ACPI_ENABLE_COMMAND)
    expect(pm.sciEnabled).toBe(true)
    pm.apmPorts.writePort(0, 1, ACPI_DISABLE_COMMAND)
    expect(pm.sciEnabled).toBe(false)
  })
})

describe('SMBus', () => {
  function smbus() {
    const m = machine()
    m.pm.initialise()
    return {
      ...m,
      read: (register: number) => m.ports.read(SMBUS_DEFAULT_BASE + register, 1),
      write: (register: number, value: number) => m.ports.write(SMBUS_DEFAULT_BASE + register, 1, value),
    }
  }

  it('nobody acknowledges', () => {
    const { read, write, clock, sci } = smbus()
    write(SMBUS_HOST_ADDRESS, 0xa1)
    write(SMBUS_HOST_CONTROL, SMBUS_CONTROL_START | SMBUS_CONTROL_INTERRUPT | (2 << 2))
    expect(read(SMBUS_HOST_STATUS)).toBe(SMBUS_STATUS_BUSY)
    expect(read(SMBUS_HOST_CONTROL)).toBe(SMBUS_CONTROL_INTERRUPT | (2 << 2))
    clock.advance(1_000_000)
    expect([read(SMBUS_HOST_STATUS), sci.level]).toEqual([SMBUS_STATUS_DEVICE_ERROR, true])
    write(SMBUS_HOST_STATUS, 0xff)
    expect([read(SMBUS_HOST_STATUS), sci.level]).toEqual([0, false])
  })

  it('a transaction can be killed', () => {
    const { read, write, clock } = smbus()
    write(SMBUS_HOST_CONTROL, SMBUS_CONTROL_START)
    write(SMBUS_HOST_CONTROL, SMBUS_CONTROL_KILL)
    expect(read(SMBUS_HOST_STATUS)).toBe(SMBUS_STATUS_FAILED)
    clock.advance(1e9)
    expect(read(SMBUS_HOST_STATUS)).toBe(SMBUS_STATUS_FAILED)
  })
})

describe('saved state', () => {
  it('goes into another machine', () => {
    const a = machine()
    a.pm.initialise()
    a.ports.write(BASE + PM1_ENABLE, 2, PM1_STS_POWER_BUTTON | PM1_STS_TIMER)
    a.pm.pressPowerButton()
    a.ports.write(SMBUS_DEFAULT_BASE + SMBUS_HOST_CONTROL, 1, SMBUS_CONTROL_START)
    const b = machine()
    b.pm.loadState(a.pm.saveState())
    b.pm.registers.loadState(a.pm.registers.saveState())
    expect(b.pm.registers.saveState()).toEqual(a.pm.registers.saveState())
    expect([b.sci.level, b.seen.smi, b.pm.pmBase, b.pm.smbusBase]).toEqual([true, 0, 0x600, 0x700])
    b.clock.advance(3e9)
    expect(b.ports.read(BASE + PM1_STATUS, 2)).toBe(PM1_STS_POWER_BUTTON | PM1_STS_TIMER)
    expect(b.ports.read(SMBUS_DEFAULT_BASE, 1)).toBe(SMBUS_STATUS_DEVICE_ERROR)
  })

  it('is refused when damaged', () => {
    const { pm } = machine()
    const good = pm.registers.saveState()
    for (const bad of [
      { ...good, version: 3 },
      { ...good, ports: new Uint8Array(63) },
      { ...good, ports: new Uint8Array(64).fill(0xff) },
      { ...good, apmControl: 256 },
      { ...good, smbus: { ...good.smbus, ends: 5 } },
      { ...good, smbus: null },
    ]) {
      expect(() => pm.registers.loadState(bad as never)).toThrowError(expect.objectContaining({ code: 'bad-state' }))
      expect(pm.registers.saveState()).toEqual(good)
    }
  })
})
