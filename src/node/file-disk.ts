import { closeSync, constants, fstatSync, fsyncSync, openSync, readSync, writeSync } from 'node:fs'
import type { BlockBackend } from '../contracts/index.js'
import { VirtkitError } from '../contracts/index.js'
import { checkDiskRange, checkDiskSize } from '../machine/disks.js'

/** A raw disk image in a file, read and written in place. */
export class FileDisk implements BlockBackend {
  readonly size: number
  readonly readOnly: boolean
  readonly path: string
  #descriptor: number

  /**
   * Opens `path`. Throws `unreadable` when it is not there, not a file, or (unless `readOnly`) not writable, and `bad-image`
   * when its size is not a multiple of 512.
   */
  constructor(path: string, options: { readonly readOnly?: boolean } = {}) {
    this.path = path
    this.readOnly = options.readOnly === true
    try {
      this.#descriptor = openSync(path, this.readOnly ? constants.O_RDONLY : constants.O_RDWR)
    } catch (cause) {
      throw new VirtkitError('unreadable', `${path}: ${describe(cause, this.readOnly)}`, { cause })
    }
    try {
      const status = fstatSync(this.#descriptor)
      if (!status.isFile()) throw new VirtkitError('unreadable', `${path}: expected a regular file`)
      checkDiskSize(status.size, path)
      this.size = status.size
    } catch (error) {
      closeSync(this.#descriptor)
      throw error
    }
  }

  read(offset: number, target: Uint8Array): void {
    this.#check(offset, target.length)
    for (let at = 0; at < target.length; ) {
      const got = this.#attempt('reading', () =>
        readSync(this.#descriptor, target, at, target.length - at, offset + at),
      )
      if (got === 0)
        throw new VirtkitError('unreadable', `${this.path}: the file became shorter than ${this.size} bytes`)
      at += got
    }
  }

  write(offset: number, source: Uint8Array): void {
    if (this.readOnly) throw new VirtkitError('bad-argument', `${this.path}: the disk is read-only`)
    this.#check(offset, source.length)
    for (let at = 0; at < source.length; ) {
      at += this.#attempt('writing', () => writeSync(this.#descriptor, source, at, source.length - at, offset + at))
    }
  }

  flush(): void {
    if (!this.readOnly && this.#descriptor >= 0) this.#attempt('flushing', () => fsyncSync(this.#descriptor))
  }

  /** Closes the file. Closing twice does nothing; reading and writing afterwards throws `disposed`. */
  close(): void {
    if (this.#descriptor < 0) return
    closeSync(this.#descriptor)
    this.#descriptor = -1
  }

  #check(offset: number, length: number): void {
    if (this.#descriptor < 0) throw new VirtkitError('disposed', `${this.path}: the disk was closed`)
    checkDiskRange(this.size, offset, length)
  }

  #attempt<T>(doing: string, action: () => T): T {
    try {
      return action()
    } catch (cause) {
      throw new VirtkitError('unreadable', `${this.path}: ${doing} failed`, { cause })
    }
  }
}

function describe(cause: unknown, readOnly: boolean): string {
  const code = typeof cause === 'object' && cause !== null && 'code' in cause ? String(cause.code) : 'unknown error'
  if (code === 'ENOENT') return 'no such file'
  if (code === 'EISDIR') return 'is a directory, expected a regular file'
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') {
    return readOnly ? 'may not be read' : 'may not be written (open it read-only, or put an overlay on it)'
  }
  return `could not be opened (${code})`
}
