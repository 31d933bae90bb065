/**
 * How strong the guest's checks are: each named defect, put into the CPU or into a device, must make the guest report failure.
 */
import { afterEach, describe, expect, test, vi } from 'vitest'
import { isThrownFault } from '../../src/cpu/exceptions.js'
import { HELPER, HELPERS, type Helper } from '../../src/cpu/helpers.js'
import { LinearMemory } from '../../src/cpu/linear-memory.js'
import { CpuState } from '../../src/cpu/state.js'
import type * as SystemCommon from '../../src/cpu/system-common.js'
import { InnerStack } from '../../src/cpu/system-common.js'
import { UopBuilder } from '../../src/cpu/uop-builder.js'
import { UOP } from '../../src/cpu/uops.js'
import { PitCounter } from '../../src/devices/pit-counter.js'
import { Pic8259 } from '../../src/interrupts/pic8259.js'
import { DmaPageRegisters } from '../../src/io/dma-pair.js'
import { Dma8237 } from '../../src/io/dma8237.js'
import { FLAG_IF } from '../../src/isa/index.js'
import { assembleKernel, KERNEL_STAGES, type Pc } from '../../src/machine/index.js'
import type * as SegmentChecks from '../../src/mmu/segment-checks.js'
import { guestMachine, runGuest } from './guest-tools.js'

/** Defects inside plain functions, which cannot be replaced at run time: switched on by name. */
const switches = vi.hoisted(() => ({ on: '' }))

vi.mock('../../src/mmu/segment-checks.js', async (load) => {
  const real = await load<typeof SegmentChecks>()
  return {
    ...real,
    checkInterruptGate: (vector: number, attr: number, cpl: number, software: boolean, long: boolean): number =>
      real.checkInterruptGate(vector, attr, cpl, software && switches.on !== 'gate DPL', long),
    checkDataLoad: (selector: number, attr: number, cpl: number): number =>
      switches.on === 'data DPL' ? real.checkDataLoad(selector & ~3, attr, 0) : real.checkDataLoad(selector, attr, cpl),
    checkStackLoad: (selector: number, attr: number, cpl: number): number =>
      switches.on === 'stack type' ? 0 : real.checkStackLoad(selector, attr, cpl),
    checkFarJump: (selector: number, attr: number, cpl: number, long: boolean): number =>
      switches.on === 'jump DPL'
        ? real.checkFarJump(selector & ~3, attr, (attr >> 5) & 3, long)
        : real.checkFarJump(selector, attr, cpl, long),
  }
})

vi.mock('../../src/cpu/system-common.js', async (load) => {
  const real = await load<typeof SystemCommon>()
  return {
    ...real,
    readDescriptor: (...[cpu, selector, into]: Parameters<typeof real.readDescriptor>): boolean =>
      real.readDescriptor(cpu, switches.on === 'LDT' ? selector & ~4 : selector, into),
    setBusy: (...[cpu, descriptor, busy]: Parameters<typeof real.setBusy>): void =>
      real.setBusy(cpu, descriptor, switches.on === 'busy bit' ? true : busy),
    markAccessed: (...[cpu, descriptor]: Parameters<typeof real.markAccessed>): void => {
      if (switches.on !== 'accessed bit') real.markAccessed(cpu, descriptor)
    },
  }
})

type Loose = Record<string, (...args: number[]) => unknown>

/** Undoes what a defect changed. */
const undo: (() => void)[] = []

/** Replaces a method by a function of the original one. */
function patch(
  prototype: object,
  name: string,
  make: (real: (...args: number[]) => unknown) => (this: never, ...args: number[]) => unknown,
): void {
  const target = prototype as Loose
  const real = target[name]!
  target[name] = make(real) as Loose[string]
  undo.push(() => {
    target[name] = real
  })
}

/** Replaces a helper of the CPU by a function of the original one. */
function helper(name: keyof typeof HELPER, make: (real: Helper) => Helper): void {
  const list = HELPERS as Helper[]
  const real = list[HELPER[name]]!
  list[HELPER[name]] = make(real)
  undo.push(() => {
    list[HELPER[name]] = real
  })
}

/** Emits one micro-op in place of another. */
function instead(of: number, kind: number): void {
  patch(
    UopBuilder.prototype,
    'op',
    (real) =>
      function (this: UopBuilder, ...args: number[]) {
        return real.call(this, args[0] === of ? kind : args[0]!, ...args.slice(1))
      },
  )
}

/** Changes the high half of descriptors and gates as the processor reads them. */
function descriptors(from: number, to: number, change: (hi: number) => number): void {
  patch(
    LinearMemory.prototype,
    'lin64',
    (real) =>
      function (this: LinearMemory, ...args: number[]) {
        real.call(this, ...args)
        if (args[0]! >= from && args[0]! < to) this.hi = change(this.hi)
      },
  )
  // The short ways look for themselves: they find nothing there, and leave it to the general ones.
  patch(
    LinearMemory.prototype,
    'place',
    (real) =>
      function (this: LinearMemory, ...args: number[]) {
        return args[0]! >= from && args[0]! < to ? -1 : real.apply(this, args)
      },
  )
}

/** A helper that runs as if at CPL 0. */
const privileged =
  (real: Helper): Helper =>
  (cpu, ...args) => {
    const { cpl } = cpu
    cpu.setCpl(0)
    try {
      real(cpu, ...args)
    } finally {
      cpu.setCpl(cpl)
    }
  }

/** Runs a method with one field changed. */
function withField(prototype: object, name: string, field: string, value: number): void {
  patch(
    prototype,
    name,
    (real) =>
      function (this: never, ...args: number[]) {
        const self = this as Record<string, number>
        const kept = self[field]!
        self[field] = value
        try {
          return real.call(self, ...args)
        } finally {
          self[field] = kept
        }
      },
  )
}

const { symbols } = assembleKernel()
const GDT = symbols.get('gdt')!
const IDT = symbols.get('IDT')!
const SEL_TSS = symbols.get('SEL_TSS')!
const CALL_GATE = symbols.get('CALL_GATE')!

/** A defect and how to put it in. */
const BUGS: Readonly<Record<string, (pc: Pc) => void>> = {
  // Arithmetic
  'ADC ignores the carry': () => instead(UOP.ADC, UOP.ADD),
  'SBB ignores the borrow': () => instead(UOP.SBB, UOP.SUB),
  'CMP stores its result': () => instead(UOP.CMP, UOP.SUB),
  'SAR shifts zeros in': () => instead(UOP.SAR, UOP.SHR),
  'RCL leaves the carry out of the rotation': () => instead(UOP.RCL, UOP.ROL),
  'IDIV divides unsigned': () => instead(UOP.IDIV, UOP.DIV),
  'BSR scans from below': () => instead(UOP.BSR, UOP.BSF),
  'INC changes CF': () =>
    patch(
      UopBuilder.prototype,
      'op',
      (real) =>
        function (this: UopBuilder, ...args: number[]) {
          if (args[0] === UOP.INC) return real.call(this, UOP.ADD_IMM, args[1]!, args[2]!, args[3]!, 0, 1)
          return real.call(this, ...args)
        },
    ),
  'DAA adjusts nothing': () => helper('daa', () => () => {}),
  'STD has no effect on string instructions': () => instead(UOP.STD, UOP.CLD),
  // Flags and interrupts in the CPU
  'PUSHF shows IF as clear': () =>
    helper('pushf', (real) => (cpu, ...args) => {
      const kept = cpu.s.flagsRest & FLAG_IF
      cpu.s.flagsRest &= ~FLAG_IF
      real(cpu, ...args)
      cpu.s.flagsRest |= kept
    }),
  'POPF changes IF and IOPL in ring 3': () => helper('popf', privileged),
  'IRET does not restore IF': () =>
    helper('iret', (real) => (cpu, ...args) => {
      const kept = cpu.s.flagsRest & FLAG_IF
      real(cpu, ...args)
      cpu.s.flagsRest = (cpu.s.flagsRest & ~FLAG_IF) | kept
    }),
  'interrupt gates act as trap gates': () =>
    descriptors(IDT, IDT + 0x480, (hi) => ((hi & 0x1f00) === 0xe00 ? hi | 0x100 : hi)),
  'the DPL of gates is not checked': () => {
    switches.on = 'gate DPL'
  },
  'STI opens interrupts at once': (pc) => patch(pc.cpu, 'setShadow', () => () => {}),
  'HLT does not wait': () => helper('hlt', () => () => {}),
  // Segmentation
  'segment limits are one too large': () =>
    patch(
      CpuState.prototype,
      'setSegment',
      (real) =>
        function (this: CpuState, seg, selector, base, limit, attr) {
          const byte = limit! >>> 0 !== 0xffffffff ? limit! + 1 : limit!
          return real.call(this, seg!, selector!, base!, byte, attr!)
        },
    ),
  'ring 3 may load data segments of ring 0': () => {
    switches.on = 'data DPL'
  },
  'any segment may be a stack': () => {
    switches.on = 'stack type'
  },
  'a jump may reach code of any ring': () => {
    switches.on = 'jump DPL'
  },
  'the table indicator is ignored: the LDT is the GDT': () => {
    switches.on = 'LDT'
  },
  'the accessed bit is never set': () => {
    switches.on = 'accessed bit'
  },
  'call gates copy no parameters': () => descriptors(GDT + CALL_GATE, GDT + CALL_GATE + 8, (hi) => hi & ~0x1f),
  'the stack of an inner ring is that of the outer one': () =>
    patch(
      InnerStack.prototype,
      'loadLegacy',
      (real) =>
        function (this: InnerStack, ...args: number[]) {
          real.call(this, ...args)
          this.pointer = (args[0] as unknown as { s: CpuState }).s.reg32(4) >>> 0
        },
    ),
  // Paging
  'the error code of #PF lacks the write bit': () =>
    patch(
      LinearMemory.prototype,
      'pageFault',
      (real) =>
        function (this: LinearMemory, ...args: number[]) {
          this.walker.errorCode &= ~2
          return real.call(this, ...args)
        },
    ),
  '#PF leaves CR2': (pc) =>
    patch(
      LinearMemory.prototype,
      'pageFault',
      (real) =>
        function (this: LinearMemory, ...args: number[]) {
          const kept = pc.cpu.s.cr2
          try {
            return real.call(this, ...args)
          } catch (fault) {
            if (isThrownFault(fault)) pc.cpu.s.cr2 = kept
            throw fault
          }
        },
    ),
  'INVLPG flushes nothing': () => patch(LinearMemory.prototype, 'flushPage', () => () => {}),
  'loading CR3 flushes nothing': () => patch(LinearMemory.prototype, 'flushNonGlobal', () => () => {}),
  'CR0.WP has no effect': () =>
    helper('movToControl', (real) => (cpu, ...args) => {
      real(cpu, ...args)
      cpu.s.cr0 &= ~0x10000
      cpu.mem.configurePaging()
    }),
  // Ports, tasks, virtual-8086 mode
  'the I/O permission bitmap is ignored': () => helper('portIn', privileged),
  'a task switch leaves CR0.TS': () =>
    helper('farDirect', (real) => (cpu, ...args) => {
      real(cpu, ...args)
      cpu.s.cr0 &= ~8
    }),
  'the busy bit is never cleared': () => {
    switches.on = 'busy bit'
  },
  'a busy task counts as available': () => descriptors(GDT + SEL_TSS, GDT + SEL_TSS + 8, (hi) => hi & ~0x200),
  'CLI in virtual-8086 mode ignores IOPL': () =>
    helper(
      'cli',
      (real) =>
        (cpu, ...args) =>
          cpu.s.v86 ? undefined : real(cpu, ...args),
    ),
  'PUSHF in virtual-8086 mode ignores IOPL': () =>
    helper('pushf', (real) => (cpu, ...args) => {
      const { flagsRest } = cpu.s
      if (cpu.s.v86) cpu.s.flagsRest |= 0x3000
      real(cpu, ...args)
      cpu.s.flagsRest = flagsRest
    }),
  // Devices
  'address line 20 is always on': (pc) => {
    pc.space.a20 = true
    Object.defineProperty(pc.space, 'a20', { get: () => true, set: () => {} })
  },
  'PIC: EOI does not end the service': () => patch(Pic8259.prototype, 'endOfInterrupt', () => () => {}),
  'PIC: masks are ignored': () => withField(Pic8259.prototype, 'resolve', 'imrBits', 0),
  'PIC: a lower line interrupts a higher one in service': () => withField(Pic8259.prototype, 'resolve', 'isrBits', 0),
  'PIC: ICW2 is ignored': () =>
    patch(
      Pic8259.prototype,
      'writeIcw',
      (real) =>
        function (this: never, ...args: number[]) {
          real.call(this, ...args)
          ;(this as { icw2: number }).icw2 = 8
        },
    ),
  'PIC: the slave is not wired to the master': (pc) => {
    Object.assign(pc.board.pic.slave, { int: undefined })
  },
  'PIT: a period is one clock too long': () =>
    patch(
      PitCounter.prototype,
      'setCount',
      (real) =>
        function (this: never, value) {
          return real.call(this, value! + 1)
        },
    ),
  'PIT: it counts half as fast': () =>
    patch(
      PitCounter.prototype,
      'rate',
      (real) =>
        function (this: never, clocks) {
          return real.call(this, clocks! * 2)
        },
    ),
  'PIT: OUT of mode 0 never rises': () =>
    patch(
      PitCounter.prototype,
      'countDown',
      (real) =>
        function (this: never, clocks) {
          real.call(this, clocks!)
          return false
        },
    ),
  'DMA: page registers are ignored': () => patch(DmaPageRegisters.prototype, 'page', () => () => 0),
  'DMA: the block ends one byte early': () =>
    patch(
      Dma8237.prototype,
      'memoryUnit',
      (real) =>
        function (this: never) {
          const ended = real.call(this)
          return ended || (this as { count: Uint16Array }).count[1] === 0
        },
    ),
  'keyboard controller: nothing answers': (pc) => {
    patch(pc.board.ps2.data, 'readPort', () => () => 0xff)
  },
  'RTC: the divider stands still': (pc) => {
    pc.board.rtc.writePort(0, 1, 0x0a)
    pc.board.rtc.writePort(1, 1, 0x66)
  },
}

afterEach(() => {
  for (const restore of undo.splice(0).reverse()) restore()
  switches.on = ''
})

/** A good run needs about 230 000; a bad one may wait for what does not come. */
const LIMIT = 1_500_000

describe('the guest reports a machine in which', () => {
  test('nothing is wrong as good', () => {
    const { result, passed } = runGuest(guestMachine('reference'), LIMIT)
    expect(result.reason).toBe('power-off')
    expect(passed).toHaveLength(KERNEL_STAGES)
  })

  test('the list has more than twenty defects', () => {
    expect(Object.keys(BUGS).length).toBeGreaterThan(20)
  })

  test.each(Object.entries(BUGS))('%s', (_, put) => {
    const pc = guestMachine('reference')
    put(pc)
    const { result, serial, passed } = runGuest(pc, LIMIT)
    const line = serial.split('\n').find((text) => text.startsWith('[FAIL]'))
    expect(passed.length).toBeLessThan(KERNEL_STAGES)
    // A word from the guest itself: a machine that just dies has reported nothing.
    expect(line).toBeDefined()
    expect(result).toMatchObject({ reason: 'exit', status: 3 })
  })
})
