/** x87 and SSE state as `capture.c` takes and returns it: 416 bytes, the x87 registers by physical number. */

export const FP_BYTES = 416
/** u16 each: control word, status word with TOP, abridged tag word (one bit per physical register, set when it is not empty), opcode. */
export const FP_FCW = 0
export const FP_FSW = 2
export const FP_TAG = 4
export const FP_FOP = 6
/** u64 each: instruction and operand pointer. */
export const FP_FIP = 8
export const FP_FDP = 16
/** u32. */
export const FP_MXCSR = 24
/** R0–R7, 10 bytes each in 16. */
export const FP_R = 32
/** XMM0–XMM15. */
export const FP_XMM = 160

/** Unmasked exceptions that are pending make ES and B. */
function summary(fcw: number, fsw: number): number {
  const pending = fsw & ~fcw & 0x3f
  return (fsw & 0x7f7f) | (pending !== 0 ? 0x8080 : 0)
}

export class FpState {
  readonly bytes: Uint8Array = new Uint8Array(FP_BYTES)
  readonly view: DataView = new DataView(this.bytes.buffer)

  get fcw(): number {
    return this.view.getUint16(FP_FCW, true)
  }

  get fsw(): number {
    return this.view.getUint16(FP_FSW, true)
  }

  get tag(): number {
    return this.view.getUint16(FP_TAG, true)
  }

  get top(): number {
    return (this.fsw >> 11) & 7
  }

  get mxcsr(): number {
    return this.view.getUint32(FP_MXCSR, true)
  }

  /** Sets control and status word; ES and B follow from both. */
  setWords(fcw: number, fsw: number): void {
    this.view.setUint16(FP_FCW, fcw, true)
    this.view.setUint16(FP_FSW, summary(fcw, fsw), true)
  }

  /** Where ST(i) lies. */
  stack(i: number): number {
    return FP_R + ((this.top + i) & 7) * 16
  }

  put(at: number, bytes: ArrayLike<number>): void {
    this.bytes.set(bytes, at)
  }
}
