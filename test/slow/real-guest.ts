/** What the tests with real guests share: their files, and a shell at the end of a serial line. */

import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Pc } from '../../src/machine/index.js'

const place = (name: string): string => fileURLToPath(new URL(`../../.guests/${name}`, import.meta.url))

/** Firmware that the machines below run. */
export const FIRMWARE: readonly string[] = ['bios-256k.bin', 'vgabios-stdvga.bin']

/** A file that `npm run guests` fetched or made. */
export const guestFile = (name: string): Uint8Array => new Uint8Array(readFileSync(place(name)))

/** Whether tests must be skipped as files are missing, and what to say then at the end of their names. */
export function needs(...names: readonly string[]): { readonly skip: boolean; readonly why: string } {
  const missing = names.filter((name) => !existsSync(place(name)))
  const skip = missing.length > 0
  return { skip, why: skip ? ` [skipped: no ${missing.join(', ')}; 'npm run guests' fetches them]` : '' }
}

/** The firmware's images, as options of a machine. */
export const firmware = (): { bios: Uint8Array; vgaBios: Uint8Array } => ({
  bios: guestFile('bios-256k.bin'),
  vgaBios: guestFile('vgabios-stdvga.bin'),
})

/** BusyBox's shell prompts with the folder it stands in. */
const PROMPT = '/root # '

/** The shell of a guest whose initial RAM disk is ours, on the first serial port. */
export class SerialShell {
  private readonly pc: Pc
  private count = 0

  constructor(pc: Pc) {
    this.pc = pc
  }

  /** Waits for the prompt of a system that boots. `from`: what was on the line before. */
  async ready(instructions: number, from = 0): Promise<void> {
    const booted = (): boolean => {
      const text = this.pc.serial.text.slice(from)
      const at = text.indexOf('virtkit guest ready')
      return at >= 0 && text.includes(PROMPT, at)
    }
    const result = await this.pc.run({ instructions, until: booted })
    if (booted()) return
    const tail = this.pc.serial.text.slice(-2000)
    throw new Error(`no shell after ${result.instructions} instructions (${result.reason}):\n${tail}`)
  }

  /** Runs commands; returns what they print. */
  async run(commands: string, instructions = 2e9): Promise<string> {
    const { pc } = this
    const from = pc.serial.text.length
    const n = ++this.count
    // The mark is written such that its echo differs from its output.
    pc.serial.write(`${commands}\necho "<""${n}>"\n`)
    const mark = new RegExp(`^<${n}>$`, 'm')
    const text = (): string => pc.serial.text.slice(from).replaceAll('\r', '')
    const result = await pc.run({ instructions, until: () => mark.test(text()) })
    const at = text().search(mark)
    if (at < 0) throw new Error(`'${commands}' did not end (${result.reason}):\n${text()}`)
    return text().slice(0, at)
  }
}
