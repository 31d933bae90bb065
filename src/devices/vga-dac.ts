/** Data of a {@link VgaDac} as saved: plain numbers and bytes. */
export interface VgaDacState {
  readonly palette: Uint8Array
  readonly mask: number
  readonly address: number
  readonly component: number
  readonly reading: boolean
  readonly holding: readonly number[]
}

/**
 * The palette DAC: 256 colours of three components behind an address register, and the pixel mask. Components have 6 bits, or
 * 8 once {@link VgaDac.setWidth} says so.
 *
 * Source: INMOS IMS G171 data sheet, "Microprocessor interface": writing the read address fetches that colour into the
 * holding register and increments the address, so that the address register reads one more than was written.
 */
export class VgaDac {
  /** Components, three bytes per colour: red, green, blue. */
  readonly palette: Uint8Array = new Uint8Array(768)
  readonly #holding = new Uint8Array(3)
  readonly #rgba = new Uint32Array(256)
  readonly #rgbaBytes = new Uint8Array(this.#rgba.buffer)
  #mask = 0xff
  #address = 0
  #component = 0
  #reading = false
  #stale = true
  #width: 6 | 8 = 6

  /** The pixel mask: every colour index is ANDed with it. */
  get mask(): number {
    return this.#mask
  }

  /** Bits per component. */
  get width(): 6 | 8 {
    return this.#width
  }

  /** A reset of the board: palette, mask and indices as at power-on. */
  reset(): void {
    this.palette.fill(0)
    this.#holding.fill(0)
    this.#mask = 0xff
    this.#address = 0
    this.#component = 0
    this.#reading = false
    this.#stale = true
    this.#width = 6
  }

  /** The pixel mask (port 3C6h). */
  writeMask(value: number): void {
    this.#mask = value
    this.#stale = true
  }

  /** State register: 3 after a write of the read address, 0 after one of the write address. */
  readState(): number {
    return this.#reading ? 3 : 0
  }

  /** The write index (port 3C8h). */
  readAddress(): number {
    return this.#address
  }

  /** Sets the read index (port 3C7h). */
  writeReadAddress(value: number): void {
    this.#address = value
    this.#reading = true
    this.#component = 0
    this.#fetch()
  }

  /** Sets the write index (port 3C8h). */
  writeWriteAddress(value: number): void {
    this.#address = value
    this.#reading = false
    this.#component = 0
  }

  /** The next component of the palette entry at the read index (port 3C9h). */
  readData(): number {
    const value = this.#holding[this.#component]!
    if (++this.#component === 3) {
      this.#component = 0
      this.#fetch()
    }
    return value
  }

  /** The next component of the palette entry at the write index (port 3C9h). */
  writeData(value: number): void {
    this.#holding[this.#component] = this.#width === 6 ? value & 0x3f : value
    if (++this.#component < 3) return
    this.#component = 0
    this.palette.set(this.#holding, this.#address * 3)
    this.#address = (this.#address + 1) & 0xff
    this.#stale = true
  }

  /** Sets colour `index` at once, components in the present width. */
  setColor(index: number, red: number, green: number, blue: number): void {
    this.palette[index * 3] = red
    this.palette[index * 3 + 1] = green
    this.palette[index * 3 + 2] = blue
    this.#stale = true
  }

  /** Switches between 6 and 8 bits per component; the palette keeps its colours as the wider DAC would show them. */
  setWidth(width: 6 | 8): void {
    if (width === this.#width) return
    this.#width = width
    for (let i = 0; i < 768; i++) {
      this.palette[i] = width === 8 ? this.palette[i]! << 2 : this.palette[i]! >> 2
    }
    this.#stale = true
  }

  /** For each index, before the pixel mask, the colour as it lies in an RGBA buffer. */
  colors(): Uint32Array {
    if (this.#stale) this.#update()
    return this.#rgba
  }

  /** The state as plain data. */
  saveState(): VgaDacState {
    return {
      palette: this.palette.slice(),
      mask: this.#mask,
      address: this.#address,
      component: this.#component,
      reading: this.#reading,
      holding: [...this.#holding],
    }
  }

  /** Takes over checked state; `width` is not part of it, since the extension's registers say it. */
  loadState(state: VgaDacState, width: 6 | 8): void {
    this.palette.set(state.palette)
    this.#holding.set(state.holding)
    this.#mask = state.mask
    this.#address = state.address
    this.#component = state.component
    this.#reading = state.reading
    this.#width = width
    this.#stale = true
  }

  #fetch(): void {
    this.#holding.set(this.palette.subarray(this.#address * 3, this.#address * 3 + 3))
    this.#address = (this.#address + 1) & 0xff
  }

  #update(): void {
    for (let index = 0; index < 256; index++) {
      const from = (index & this.#mask) * 3
      for (let i = 0; i < 3; i++) {
        const component = this.palette[from + i]!
        this.#rgbaBytes[index * 4 + i] = this.#width === 8 ? component : (component << 2) | (component >> 4)
      }
      this.#rgbaBytes[index * 4 + 3] = 0xff
    }
    this.#stale = false
  }
}
