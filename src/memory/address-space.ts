import { type MmioDevice, type MmioSize, type PhysicalBus, type Stateful, VirtkitError } from '../contracts/index.js'
import {
  type AddressSpaceOptions,
  type AddressSpaceState,
  checkAddressSpaceState,
  type MapChange,
  type Overlay,
  type OverlayOptions,
  type Placement,
} from './address-space-types.js'
import { FrameStore } from './frame-store.js'
import { PageMap } from './page-map.js'
import { PlaceTable } from './place-table.js'
import { checkPageAligned, checkRange, hex, PAGE_SIZE, PHYSICAL_LIMIT } from './ranges.js'
import { ENTRY_MIXED, ENTRY_UNMAPPED, ENTRY_WINDOW, type Region, type RegionKind, RegionMap } from './regions.js'

/** Watch bit: decoded instructions of this page are cached somewhere, so writes must be reported. */
export const WATCH_CODE: number = 1
/** Watch bit: the dirty log is on and has not seen a write to this page yet. */
export const WATCH_DIRTY: number = 2

/**
 * The guest-physical address space of one machine: RAM, ROM, MMIO windows, aliases, and overlays that can be switched while the
 * machine runs. It is the {@link PhysicalBus} of every bus master.
 *
 * Two page maps, one for reads and one for writes, say for every 4 KiB page whether it is a frame of {@link bytes} or
 * something else; a CPU asks them with {@link readOffset} and {@link writeOffset} when it fills its TLB and then works on `bytes` directly. Such a
 * CPU drops what it cached whenever `onMapChange` fires, and stores directly only to pages whose {@link watch} is 0.
 *
 * ```ts
 * const memory = new AddressSpace({ size: 16 * 1024 * 1024 })
 * memory.write32(0x1000, 0xdeadbeef)
 * ```
 */
export class AddressSpace implements PhysicalBus, Stateful<AddressSpaceState> {
  /** The whole buffer as bytes. */
  readonly bytes: Uint8Array
  /** Watch bits by frame, that is by byte offset in the buffer divided by 4096. Prefer {@link watch}. */
  readonly frameWatch: Uint8Array
  /** For compiled code: what {@link readOffset}, {@link writeOffset} and {@link watch} answer, as a table in {@link bytes}. */
  readonly places: PlaceTable | undefined
  readonly #view: DataView
  readonly #store: FrameStore
  readonly #regions: RegionMap = new RegionMap()
  readonly #readMap: PageMap = new PageMap('read')
  readonly #writeMap: PageMap = new PageMap('write')
  readonly #overlays: (Region & { removed: boolean })[] = []
  #a20 = true
  #logging = false
  #dirty: Set<number> = new Set()
  /** By frame: the physical pages under which WATCH_CODE was asked for (several when the frame has aliases). */
  readonly #watchers: Map<number, number[]> = new Map()
  readonly #mapListeners: ((change: MapChange) => void)[] = []
  readonly #codeListeners: ((page: number, offset: number, length: number) => void)[] = []
  readonly #watchListeners: ((page: number, bit: number) => void)[] = []

  /** @throws VirtkitError `bad-range` when a size is no positive integer; see also {@link addRam} */
  constructor(options: AddressSpaceOptions = {}) {
    const { buffer, size = 0, capacity, reserved = 0 } = options
    for (const [name, value] of Object.entries({ size, capacity: capacity ?? 0, reserved })) {
      if (!Number.isSafeInteger(value) || value < 0) {
        throw new VirtkitError('bad-range', `AddressSpace: ${name} must be an integer from 0, got ${value}`)
      }
    }
    if (buffer !== undefined && capacity !== undefined) {
      throw new VirtkitError(
        'bad-argument',
        'AddressSpace: capacity is for an own buffer; leave it out when giving one',
      )
    }
    const own = capacity ?? Math.ceil(size / PAGE_SIZE) * PAGE_SIZE + reserved + 0x200000
    this.#store = new FrameStore(buffer ?? allocate(own), reserved)
    this.bytes = this.#store.bytes
    this.#view = new DataView(this.bytes.buffer, 0, this.bytes.length)
    const { frames } = this.#store
    this.places = options.placeTable
      ? new PlaceTable(
          this.bytes.buffer,
          this.#store.take('table of places', PlaceTable.size(frames), undefined) * PAGE_SIZE,
          frames,
        )
      : undefined
    this.frameWatch = this.places?.watch ?? new Uint8Array(frames)
    if (size > 0) this.addRam(0, size)
  }

  // --- configuration -------------------------------------------------------------------------------------------------

  /**
   * Maps RAM at a page-aligned range.
   * @throws VirtkitError `bad-range`, `overlap` (also when the place in the buffer is taken)
   */
  addRam(base: number, size: number, placement: Placement = {}): void {
    checkRange('RAM', base, size)
    checkPageAligned('RAM: the base', base)
    checkPageAligned('RAM: the size', size)
    this.#checkFree('RAM', base, size)
    const frame = this.#store.take('RAM', size, placement.offset)
    this.#addBase('ram', base, size, { frame })
    if (this.#logging) this.frameWatch.fill(WATCH_DIRTY, frame, frame + size / PAGE_SIZE)
  }

  /**
   * Maps a ROM with a copy of `contents` at a page-aligned base; the rest of its last page reads as ones. Writes vanish.
   * @throws VirtkitError `bad-range`, `overlap`
   */
  addRom(base: number, contents: Uint8Array, placement: Placement = {}): void {
    const size = Math.ceil(contents.length / PAGE_SIZE) * PAGE_SIZE
    checkRange('ROM', base, size)
    checkPageAligned('ROM: the base', base)
    this.#checkFree('ROM', base, size)
    this.#addBase('rom', base, size, { frame: this.#placeRom(contents, size, placement) })
  }

  /**
   * Maps a device at any range, down to a single byte, beside whatever else lies in the same page.
   * @throws VirtkitError `bad-range`, `overlap`
   */
  addMmio(base: number, size: number, device: MmioDevice): void {
    checkRange('MMIO window', base, size)
    this.#checkFree('MMIO window', base, size)
    this.#addBase('mmio', base, size, { device })
  }

  /**
   * Shows at `base` what the map (without overlays) holds at `target`. All three are page-aligned; an alias of an alias is refused.
   * @throws VirtkitError `bad-range`, `overlap`
   */
  addAlias(base: number, size: number, target: number): void {
    checkRange('alias', base, size)
    this.#checkFree('alias', base, size)
    this.#checkAlias(base, size, target)
    if (intersects(base, size, target, size)) throw new VirtkitError('overlap', 'alias: it would show itself')
    for (const other of [...this.#regions.base, ...this.#regions.overlays]) {
      if (other.kind === 'alias' && intersects(other.target, other.size, base, size)) {
        throw new VirtkitError('overlap', `alias at ${hex(base)}: the alias at ${hex(other.base)} shows this range`)
      }
    }
    this.#addBase('alias', base, size, { target })
  }

  /**
   * Lays a range over the map. Overlays may overlap each other and everything else.
   * @throws VirtkitError `bad-range`, `bad-argument` (more than one of device, rom, alias), `overlap` (place in the buffer)
   */
  addOverlay(options: OverlayOptions): Overlay {
    const { base, size, priority = 0, device, rom, alias, read = true, write = true } = options
    checkRange('overlay', base, size)
    if (Number(device !== undefined) + Number(rom !== undefined) + Number(alias !== undefined) > 1) {
      throw new VirtkitError('bad-argument', 'overlay: give at most one of device, rom and alias')
    }
    if (!Number.isFinite(priority)) throw new VirtkitError('bad-argument', 'overlay: the priority must be a number')
    let frame = 0
    if (alias !== undefined) this.#checkAlias(base, size, alias)
    if (rom !== undefined) {
      checkPageAligned('overlay ROM: the base', base)
      checkPageAligned('overlay ROM: the size', size)
      if (rom.length > size) {
        throw new VirtkitError('bad-range', `overlay ROM: ${rom.length} bytes do not fit into ${size}`)
      }
      frame = this.#placeRom(rom, size, options)
    }
    const kind: RegionKind = device ? 'mmio' : rom ? 'rom' : alias !== undefined ? 'alias' : 'none'
    const region = { kind, base, size, frame, target: alias ?? 0, device, priority, read, write, removed: false }
    this.#regions.addOverlay(region)
    this.#overlays.push(region)
    this.#remap(base, size)
    this.#notify('map')
    return {
      get base(): number {
        return region.base
      },
      size,
      get read(): boolean {
        return region.read
      },
      get write(): boolean {
        return region.write
      },
      setEnabled: (enabled) => {
        this.#changeOverlay(region, region.base, enabled.read ?? region.read, enabled.write ?? region.write)
      },
      move: (to) => {
        if (!Number.isInteger(to) || to < 0) {
          throw new VirtkitError('bad-range', `overlay: the base must be an integer from 0, got ${to}`)
        }
        if (rom !== undefined || alias !== undefined) checkPageAligned('overlay: the base', to)
        this.#changeOverlay(region, to, region.read, region.write)
      },
      remove: () => {
        if (region.removed) return
        region.removed = true
        this.#regions.overlays.splice(this.#regions.overlays.indexOf(region), 1)
        this.#overlays.splice(this.#overlays.indexOf(region), 1)
        if (rom !== undefined) this.#store.release(frame)
        this.#remap(region.base, size)
        this.#notify('map')
      },
    }
  }

  // --- A20 and notifications -----------------------------------------------------------------------------------------

  /** The A20 gate. While false, bit 20 of every physical address is taken as 0, as on the PC/AT. */
  get a20(): boolean {
    return this.#a20
  }

  set a20(enabled: boolean) {
    if (enabled === this.#a20) return
    this.#a20 = enabled
    this.#notify('a20')
  }

  /** Calls `listener` after anything that makes cached {@link readOffset}, {@link writeOffset} or {@link watch} results stale. Returns the way to stop. */
  onMapChange(listener: (change: MapChange) => void): () => void {
    return subscribe(this.#mapListeners, listener)
  }

  /**
   * Calls `listener` after a write through this object to bytes of a page that carries {@link WATCH_CODE}: once per physical page under
   * which the code was watched, so that an alias finds it too.
   */
  onCodeWrite(listener: (page: number, offset: number, length: number) => void): () => void {
    return subscribe(this.#codeListeners, listener)
  }

  /** Tells those who listen with {@link onCodeWrite} that all of a page changes, before it does: they need not be asked for every byte then. `frame`: byte offset in {@link bytes} / 4096. */
  forgetCode(frame: number): void {
    if (this.frameWatch[frame]! & WATCH_CODE) this.#noteFrame(frame, 0, PAGE_SIZE)
  }

  /** Calls `listener` when {@link setWatch} sets a bit that was clear, so that other CPUs drop cached writability of the page. */
  onWatchChange(listener: (page: number, bit: number) => void): () => void {
    return subscribe(this.#watchListeners, listener)
  }

  // --- what a TLB fill asks ------------------------------------------------------------------------------------------

  /** Byte offset in {@link bytes} that reads of this physical page (address / 4096) find, or -1 if it is not plain RAM or ROM. */
  readOffset(page: number): number {
    const entry = this.#readMap.entry(this.#a20 || (page & 0x100) === 0 ? page : page - 0x100)
    return entry >= 0 ? entry * PAGE_SIZE : -1
  }

  /** Byte offset in {@link bytes} to which writes to this physical page go, or -1 if it is not plain RAM. */
  writeOffset(page: number): number {
    const entry = this.#writeMap.entry(this.#a20 || (page & 0x100) === 0 ? page : page - 0x100)
    return entry >= 0 ? entry * PAGE_SIZE : -1
  }

  // --- watching ------------------------------------------------------------------------------------------------------

  /** Watch bits of the RAM to which writes to this physical page go: 0 means that storing directly into {@link bytes} is right. */
  watch(page: number): number {
    const offset = this.writeOffset(page)
    return offset < 0 ? 0 : this.frameWatch[offset / PAGE_SIZE]!
  }

  /** Sets a watch bit on the memory that *reads* of this physical page find (code is fetched from there). Other pages: no effect. */
  setWatch(page: number, bit: number): void {
    const offset = this.readOffset(page)
    if (offset < 0) return
    const frame = offset / PAGE_SIZE
    if (bit & WATCH_CODE) {
      const pages = this.#watchers.get(frame)
      if (pages === undefined) this.#watchers.set(frame, [page])
      else if (!pages.includes(page)) pages.push(page)
    }
    const before = this.frameWatch[frame]!
    if ((before | bit) === before) return
    this.frameWatch[frame] = before | bit
    for (const listener of this.#watchListeners) listener(page, bit)
  }

  /** Takes a watch bit off again. WATCH_CODE goes once every physical page under which it was set has been cleared. */
  clearWatch(page: number, bit: number): void {
    const offset = this.readOffset(page)
    if (offset < 0) return
    const frame = offset / PAGE_SIZE
    let clear = bit
    if (bit & WATCH_CODE) {
      const pages = this.#watchers.get(frame) ?? []
      const at = pages.indexOf(page)
      if (at >= 0) pages.splice(at, 1)
      if (pages.length > 0) clear &= ~WATCH_CODE
      else this.#watchers.delete(frame)
    }
    this.frameWatch[frame]! &= ~clear
  }

  /** Takes WATCH_CODE off every page: for a CPU that has just dropped everything it decoded. */
  clearCodeWatch(): void {
    for (const frame of this.#watchers.keys()) this.frameWatch[frame]! &= ~WATCH_CODE
    this.#watchers.clear()
  }

  /** Reports bytes that were stored directly into {@link bytes}, to a page that has watch bits. The stores of this object do it themselves. */
  noteWrite(page: number, offset: number, length: number): void {
    const at = this.writeOffset(page)
    if (at >= 0 && this.frameWatch[at / PAGE_SIZE] !== 0) this.#noteFrame(at / PAGE_SIZE, offset, length)
  }

  // --- dirty log -----------------------------------------------------------------------------------------------------

  /** Starts recording which RAM pages are written. Starting again forgets what was recorded. */
  startDirtyLog(): void {
    this.#logging = true
    this.#dirty.clear()
    for (const region of this.#ram()) {
      const end = region.frame + region.size / PAGE_SIZE
      for (let frame = region.frame; frame < end; frame++) this.frameWatch[frame]! |= WATCH_DIRTY
    }
    this.#notify('dirty-log')
  }

  /** The physical pages (as {@link addRam} placed them, ascending) written since the start or the last call; recording goes on from empty. */
  collectDirty(): number[] {
    const pages = this.#dirtyPages()
    for (const frame of this.#dirty) this.frameWatch[frame]! |= WATCH_DIRTY
    this.#dirty.clear()
    if (pages.length > 0) this.#notify('dirty-log')
    return pages
  }

  /** Stops recording and forgets what was recorded. */
  stopDirtyLog(): void {
    if (!this.#logging) return
    this.#logging = false
    this.#dirty.clear()
    for (let frame = 0; frame < this.frameWatch.length; frame++) this.frameWatch[frame]! &= ~WATCH_DIRTY
    this.#notify('dirty-log')
  }

  /** Whether the dirty log is on. */
  get dirtyLogging(): boolean {
    return this.#logging
  }

  // --- accesses ------------------------------------------------------------------------------------------------------

  read8(address: number): number {
    const page = pageOf(address)
    const entry = this.#readMap.entry(this.#a20 || (page & 0x100) === 0 ? page : page - 0x100)
    if (entry >= 0) return this.bytes[entry * PAGE_SIZE + (address & 0xfff)]!
    return entry === ENTRY_UNMAPPED ? 0xff : this.#readSlow(address, 1)
  }

  read16(address: number): number {
    const offset = address & 0xfff
    if (offset > 0xffe) return this.#readBytes(address, 2)
    const page = pageOf(address)
    const entry = this.#readMap.entry(this.#a20 || (page & 0x100) === 0 ? page : page - 0x100)
    if (entry >= 0) return this.#view.getUint16(entry * PAGE_SIZE + offset, true)
    return entry === ENTRY_UNMAPPED ? 0xffff : this.#readSlow(address, 2)
  }

  read32(address: number): number {
    const offset = address & 0xfff
    if (offset > 0xffc) return this.#readBytes(address, 4)
    const page = pageOf(address)
    const entry = this.#readMap.entry(this.#a20 || (page & 0x100) === 0 ? page : page - 0x100)
    if (entry >= 0) return this.#view.getUint32(entry * PAGE_SIZE + offset, true)
    return entry === ENTRY_UNMAPPED ? 0xffffffff : this.#readSlow(address, 4)
  }

  write8(address: number, value: number): void {
    const page = pageOf(address)
    const entry = this.#writeMap.entry(this.#a20 || (page & 0x100) === 0 ? page : page - 0x100)
    if (entry >= 0) {
      this.bytes[entry * PAGE_SIZE + (address & 0xfff)] = value
      if (this.frameWatch[entry] !== 0) this.#noteFrame(entry, address & 0xfff, 1)
    } else if (entry !== ENTRY_UNMAPPED) this.#writeSlow(address, 1, value & 0xff)
  }

  write16(address: number, value: number): void {
    const offset = address & 0xfff
    if (offset > 0xffe) {
      this.#writeBytes(address, 2, value)
      return
    }
    const page = pageOf(address)
    const entry = this.#writeMap.entry(this.#a20 || (page & 0x100) === 0 ? page : page - 0x100)
    if (entry >= 0) {
      this.#view.setUint16(entry * PAGE_SIZE + offset, value, true)
      if (this.frameWatch[entry] !== 0) this.#noteFrame(entry, offset, 2)
    } else if (entry !== ENTRY_UNMAPPED) this.#writeSlow(address, 2, value & 0xffff)
  }

  write32(address: number, value: number): void {
    const offset = address & 0xfff
    if (offset > 0xffc) {
      this.#writeBytes(address, 4, value)
      return
    }
    const page = pageOf(address)
    const entry = this.#writeMap.entry(this.#a20 || (page & 0x100) === 0 ? page : page - 0x100)
    if (entry >= 0) {
      this.#view.setUint32(entry * PAGE_SIZE + offset, value, true)
      if (this.frameWatch[entry] !== 0) this.#noteFrame(entry, offset, 4)
    } else if (entry !== ENTRY_UNMAPPED) this.#writeSlow(address, 4, value >>> 0)
  }

  /** Reads `target.length` bytes. Devices are read byte by byte. */
  readBytes(address: number, target: Uint8Array): void {
    for (let done = 0; done < target.length; ) {
      const at = address + done
      const length = Math.min(target.length - done, PAGE_SIZE - (at & 0xfff))
      const offset = this.readOffset(pageOf(at))
      if (offset >= 0) {
        const from = offset + (at & 0xfff)
        target.set(this.bytes.subarray(from, from + length), done)
      } else for (let i = 0; i < length; i++) target[done + i] = this.read8(at + i)
      done += length
    }
  }

  /** Writes all of `source`. Devices are written byte by byte. */
  writeBytes(address: number, source: Uint8Array): void {
    for (let done = 0; done < source.length; ) {
      const at = address + done
      const length = Math.min(source.length - done, PAGE_SIZE - (at & 0xfff))
      const offset = this.writeOffset(pageOf(at))
      if (offset >= 0) {
        this.bytes.set(source.subarray(done, done + length), offset + (at & 0xfff))
        const frame = offset / PAGE_SIZE
        if (this.frameWatch[frame] !== 0) this.#noteFrame(frame, at & 0xfff, length)
      } else for (let i = 0; i < length; i++) this.write8(at + i, source[done + i]!)
      done += length
    }
  }

  // --- state ---------------------------------------------------------------------------------------------------------

  saveState(): AddressSpaceState {
    const ram = this.#ram()
    return {
      version: 1,
      a20: this.#a20,
      ram: ram.map(({ base, size }) => ({ base, size })),
      chunks: ram.flatMap(({ base, size, frame }) =>
        this.#store.stretches(frame, size).map(({ offset, bytes }) => ({ address: base + offset, bytes })),
      ),
      overlays: this.#overlays.map(({ base, size, read, write }) => ({ base, size, read, write })),
      dirty: this.#logging ? this.#dirtyPages() : null,
    }
  }

  /** Replaces RAM, A20, overlays and dirty log. Code watches end, each reported as a write to its whole page. */
  loadState(state: AddressSpaceState): void {
    checkAddressSpaceState(state, this.#regions, this.#overlays)
    for (const { frame, size } of this.#ram()) this.bytes.fill(0, frame * PAGE_SIZE, frame * PAGE_SIZE + size)
    for (const { address, bytes } of state.chunks) {
      const region = this.#regions.find(address)!
      this.bytes.set(bytes, region.frame * PAGE_SIZE + address - region.base)
    }
    state.overlays?.forEach(({ base, read, write }, i) => {
      const region = this.#overlays[i]!
      this.#remapAfter(region, () => Object.assign(region, { base, read, write }))
    })
    this.#a20 = state.a20
    this.#logging = state.dirty !== null
    this.#dirty = new Set((state.dirty ?? []).map((page) => this.#frameOf(page)))
    for (const pages of [...this.#watchers.values()]) {
      for (const page of pages) for (const listener of this.#codeListeners) listener(page, 0, PAGE_SIZE)
    }
    this.#watchers.clear()
    this.frameWatch.fill(0)
    if (this.#logging) {
      for (const { frame, size } of this.#ram()) this.frameWatch.fill(WATCH_DIRTY, frame, frame + size / PAGE_SIZE)
      for (const frame of this.#dirty) this.frameWatch[frame] = 0
    }
    this.#notify('state')
  }

  // --- inside --------------------------------------------------------------------------------------------------------

  #ram(): Region[] {
    return this.#regions.base.filter((region) => region.kind === 'ram')
  }

  #checkFree(what: string, base: number, size: number): void {
    const other = this.#regions.base.find((region) => intersects(region.base, region.size, base, size))
    if (other === undefined) return
    throw new VirtkitError(
      'overlap',
      `${what} at ${hex(base)}, ${hex(size)} bytes: overlaps ${other.kind} at ${hex(other.base)}, ${hex(other.size)} bytes`,
    )
  }

  #checkAlias(base: number, size: number, target: number): void {
    checkRange('alias: the target', target, size)
    checkPageAligned('alias: the base', base)
    checkPageAligned('alias: the size', size)
    checkPageAligned('alias: the target', target)
    const other = this.#regions.base.find((r) => r.kind === 'alias' && intersects(r.base, r.size, target, size))
    if (other) throw new VirtkitError('overlap', `alias at ${hex(base)}: shows the alias at ${hex(other.base)}`)
  }

  #placeRom(contents: Uint8Array, size: number, placement: Placement): number {
    const frame = this.#store.take('ROM', size, placement.offset)
    this.bytes.fill(0xff, frame * PAGE_SIZE, frame * PAGE_SIZE + size)
    this.bytes.set(contents, frame * PAGE_SIZE)
    return frame
  }

  #addBase(
    kind: RegionKind,
    base: number,
    size: number,
    part: { frame?: number; device?: MmioDevice; target?: number },
  ) {
    const { frame = 0, device, target = 0 } = part
    this.#regions.base.push({ kind, base, size, frame, target, device, priority: 0, read: true, write: true })
    this.#remap(base, size)
    for (const alias of [...this.#regions.base, ...this.#regions.overlays]) {
      if (alias.kind === 'alias' && intersects(alias.target, alias.size, base, size))
        this.#remap(alias.base, alias.size)
    }
    this.#notify('map')
  }

  #changeOverlay(region: Region & { removed: boolean }, base: number, read: boolean, write: boolean): void {
    if (region.removed) throw new VirtkitError('bad-argument', 'overlay: it was removed')
    if (region.base === base && region.read === read && region.write === write) return
    this.#remapAfter(region, () => Object.assign(region, { base, read, write }))
    this.#notify('map')
  }

  /** An overlay leaves traces at both its old and its new place. */
  #remapAfter(region: Region, change: () => void): void {
    const before = region.base
    change()
    this.#remap(before, region.size)
    if (region.base !== before) this.#remap(region.base, region.size)
  }

  #remap(base: number, size: number): void {
    if (base + size > PHYSICAL_LIMIT) return
    this.#readMap.rebuild(this.#regions, base, base + size)
    this.#writeMap.rebuild(this.#regions, base, base + size)
    this.places?.update(this.#readMap, this.#writeMap, base, base + size)
  }

  #notify(change: MapChange): void {
    for (const listener of this.#mapListeners) listener(change)
  }

  #noteFrame(frame: number, offset: number, length: number): void {
    const bits = this.frameWatch[frame]!
    if (bits & WATCH_DIRTY) {
      this.frameWatch[frame] = bits & ~WATCH_DIRTY
      this.#dirty.add(frame)
    }
    if (bits & WATCH_CODE) {
      const pages = this.#watchers.get(frame)
      if (pages === undefined) return
      // Backwards, because a listener usually answers with clearWatch of the page it was told.
      for (let i = pages.length - 1; i >= 0; i--) {
        const page = pages[i]
        if (page === undefined) continue
        for (const listener of this.#codeListeners) listener(page, offset, length)
      }
    }
  }

  #dirtyPages(): number[] {
    const pages: number[] = []
    for (const frame of this.#dirty) {
      const home = this.#ram().find((r) => frame >= r.frame && frame < r.frame + r.size / PAGE_SIZE)
      if (home) pages.push(home.base / PAGE_SIZE + frame - home.frame)
    }
    return pages.sort((a, b) => a - b)
  }

  #frameOf(page: number): number {
    const region = this.#regions.find(page * PAGE_SIZE)!
    return region.frame + page - region.base / PAGE_SIZE
  }

  #masked(address: number): number {
    return this.#a20 || (address & 0x100000) === 0 ? address : address - 0x100000
  }

  #readBytes(address: number, size: number): number {
    let value = 0
    for (let i = size - 1; i >= 0; i--) value = ((value << 8) | this.read8(address + i)) >>> 0
    return value
  }

  #writeBytes(address: number, size: number, value: number): void {
    for (let i = 0; i < size; i++) this.write8(address + i, (value >>> (8 * i)) & 0xff)
  }

  /** A read that is no plain page: a device, or a page of pieces. A device sees aligned accesses whole and all others as bytes. */
  #readSlow(address: number, size: MmioSize): number {
    const at = this.#masked(address)
    const page = pageOf(at)
    let entry = this.#readMap.entry(page)
    if (entry === ENTRY_MIXED) entry = this.#readMap.part(page, at & 0xfff, size)
    if (entry === ENTRY_MIXED || (entry <= ENTRY_WINDOW && (at & (size - 1)) !== 0))
      return this.#readBytes(address, size)
    if (entry >= 0) {
      const offset = entry * PAGE_SIZE + (at & 0xfff)
      if (size === 1) return this.bytes[offset]!
      return size === 2 ? this.#view.getUint16(offset, true) : this.#view.getUint32(offset, true)
    }
    if (entry === ENTRY_UNMAPPED) return ONES[size]
    const window = this.#regions.windows[ENTRY_WINDOW - entry]!
    return (window.device.readMmio(at - window.base, size) & ONES[size]) >>> 0
  }

  #writeSlow(address: number, size: MmioSize, value: number): void {
    const at = this.#masked(address)
    const page = pageOf(at)
    let entry = this.#writeMap.entry(page)
    if (entry === ENTRY_MIXED) entry = this.#writeMap.part(page, at & 0xfff, size)
    if (entry === ENTRY_MIXED || (entry <= ENTRY_WINDOW && (at & (size - 1)) !== 0)) {
      this.#writeBytes(address, size, value)
    } else if (entry >= 0) {
      const offset = at & 0xfff
      for (let i = 0; i < size; i++) this.bytes[entry * PAGE_SIZE + offset + i] = value >>> (8 * i)
      if (this.frameWatch[entry] !== 0) this.#noteFrame(entry, offset, size)
    } else if (entry !== ENTRY_UNMAPPED) {
      const window = this.#regions.windows[ENTRY_WINDOW - entry]!
      window.device.writeMmio(at - window.base, size, value)
    }
  }
}

const ONES: Readonly<Record<MmioSize, number>> = { 1: 0xff, 2: 0xffff, 4: 0xffffffff }

function pageOf(address: number): number {
  return address < 0x100000000 && address >= 0 ? address >>> 12 : Math.floor(address / PAGE_SIZE)
}

function intersects(a: number, aSize: number, b: number, bSize: number): boolean {
  return a < b + bSize && b < a + aSize
}

function subscribe<T>(list: T[], listener: T): () => void {
  list.push(listener)
  return () => {
    const at = list.indexOf(listener)
    if (at >= 0) list.splice(at, 1)
  }
}

function allocate(capacity: number): ArrayBuffer {
  try {
    return new ArrayBuffer(Math.ceil(capacity / PAGE_SIZE) * PAGE_SIZE)
  } catch (cause) {
    throw new VirtkitError('bad-range', `AddressSpace: cannot allocate ${capacity} bytes`, { cause })
  }
}
