/** Where the bytes that leave the machine go: standard output and files, written at once so that nothing is lost whatever ends the run. */
import { closeSync, openSync, writeSync } from 'node:fs'
import { CommandError, EXIT_IMAGE } from './exit-status.js'

/** Why a file operation failed, in words. */
export function reason(error: unknown): string {
  switch ((error as NodeJS.ErrnoException).code) {
    case 'ENOENT':
      return 'no such file or folder'
    case 'EISDIR':
      return 'it is a folder'
    case 'ENOTDIR':
      return 'part of its path is not a folder'
    case 'EACCES':
    case 'EPERM':
      return 'permission denied'
    case 'EROFS':
      return 'the file system is read-only'
    case 'ENOSPC':
      return 'no space is left'
    case 'EPIPE':
      return 'its reader has gone'
    default:
      return error instanceof Error ? error.message : String(error)
  }
}

/** Throws the command's error unless `file` can be written; leaves its contents alone. */
export function checkWritable(file: string): void {
  try {
    closeSync(openSync(file, 'a'))
  } catch (error) {
    throw new CommandError(EXIT_IMAGE, `run: '${file}' cannot be written: ${reason(error)}`)
  }
}

/** How long to wait before a full pipe is tried again, in milliseconds. */
const RETRY_MS = 2

/** A line of output: `stdio`, `none` or a file, which is emptied first. Lines are written as they end, and what is unfinished when the host gets a turn. */
export class Output {
  /** Why writing failed, once it did: later bytes are dropped. */
  failure: string | undefined
  /** Called before something is written, with the last byte of it. */
  onWrite: ((last: number) => void) | undefined = undefined
  private readonly name: string
  private readonly descriptor: number
  private readonly bytes: Uint8Array = new Uint8Array(4096)
  private used = 0
  private scheduled = false

  constructor(target: string) {
    this.name = target === 'stdio' ? 'standard output' : `'${target}'`
    if (target === 'none') this.descriptor = -1
    else if (target === 'stdio') this.descriptor = 1
    else {
      try {
        this.descriptor = openSync(target, 'w')
      } catch (error) {
        throw new CommandError(EXIT_IMAGE, `run: '${target}' cannot be written: ${reason(error)}`)
      }
    }
  }

  readonly push = (byte: number): void => {
    if (this.descriptor < 0) return
    this.bytes[this.used++] = byte
    if (byte === 10 || this.used === this.bytes.length) this.flush()
    else if (!this.scheduled) {
      // A line that does not end, such as a prompt, is written when the host gets its next turn.
      this.scheduled = true
      setImmediate(() => {
        this.scheduled = false
        this.flush()
      })
    }
  }

  flush(): void {
    if (this.used === 0) return
    this.onWrite?.(this.bytes[this.used - 1]!)
    let at = 0
    while (at < this.used && this.failure === undefined) {
      try {
        at += writeSync(this.descriptor, this.bytes, at, this.used - at)
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'EAGAIN') {
          Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, RETRY_MS)
        } else this.failure = `${this.name} cannot be written: ${reason(error)}`
      }
    }
    this.used = 0
  }

  /** Writes text, after what was pushed. */
  text(text: string): void {
    for (const byte of new TextEncoder().encode(text)) this.push(byte)
    this.flush()
  }

  close(): void {
    this.flush()
    if (this.descriptor > 2) closeSync(this.descriptor)
  }
}
