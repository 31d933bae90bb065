/** An exception raised by an instruction or by event delivery, as a value. Source: Intel SDM Vol. 3A, "Exception and Interrupt Reference". */
export interface GuestFault {
  /** 0–31. */
  readonly vector: number
  /** The error code pushed, or `undefined` for vectors that have none. */
  readonly errorCode: number | undefined
}
