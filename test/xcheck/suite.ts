/** Reads cases from text: `== name | entry=prot3 paging=32 flags=0x3002`, then the source up to the next `==`. */
import type { EntryName, XCase } from './case.js'

const NUMBERS = new Set(['flags', 'cr0', 'cr4', 'efer'])

/** The cases of a text; `defaults` are the attributes of those that say nothing. INT 40h is appended to each. */
export function suite(group: string, defaults: string, text: string): XCase[] {
  return text
    .split(/^== */m)
    .slice(1)
    .map((part) => {
      const end = part.indexOf('\n')
      const [name = '', attributes = ''] = part.slice(0, end < 0 ? undefined : end).split('|')
      const fields: Record<string, string | number> = { entry: 'prot0' }
      for (const word of `${defaults} ${attributes}`.trim().split(/\s+/)) {
        const [key = '', value = ''] = word.split('=')
        if (key !== '') fields[key] = NUMBERS.has(key) ? Number(value) : value
      }
      return {
        ...(fields as { entry: EntryName }),
        name: `${group}: ${name.trim()}`,
        source: `${part.slice(end + 1)}\ndone`,
      }
    })
}
