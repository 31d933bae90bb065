import { readdirSync, readFileSync } from 'node:fs'
import { afterEach, describe, expect, it, vi } from 'vitest'

/** What each example must print, whatever else it prints: facts from the manuals or plain arithmetic. */
const FACTS: Readonly<Record<string, readonly string[]>> = {
  'boot-a-kernel': ['hello from ring 0', 'the run ended: exit, status 1'],
  'custom-device': ['the counter stands at 43, memory at 0x500 holds 42', 'in al, dx'],
  'dma-transfer': ['memory at 0x18000: virt, 4 transfers', '=> 4 transfers, ended by terminal count'],
  'gdt-ldt-translation': [
    '=> linear address 0x00010123',
    '=> linear address 0x00050042',
    '=> the processor raises #GP(0x0)',
  ],
  'page-walk': ['physical address 0x9abc', '(TLB miss)', '(TLB hit)', '#PF(0x0)'],
  'pic-by-hand': ['vector 0x2e', 'vector 0x21', 'ISR: master 0, slave 0', 'level 3 is masked'],
  'tlb-hit-rate': ['by rows:', 'by columns:', '1 sets x  4 ways    0.0 %'],
}
const names = readdirSync('examples', { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name)
  .sort()

afterEach(() => vi.restoreAllMocks())

describe('examples', () => {
  it('are all known here, and each depends on the package', () => {
    expect(names).toEqual(Object.keys(FACTS))
    for (const name of names) {
      const manifest = JSON.parse(readFileSync(`examples/${name}/package.json`, 'utf8'))
      expect(manifest).toMatchObject({ private: true, type: 'module', dependencies: { virtkit: '*' } })
    }
  })

  it.each(names)('%s prints what it should', async (name) => {
    const lines: string[] = []
    vi.spyOn(console, 'log').mockImplementation((text = '') => void lines.push(String(text)))
    await import(`../examples/${name}/main.ts`)
    const text = `${lines.join('\n')}\n`
    for (const fact of FACTS[name] ?? []) expect(text).toContain(fact)
    await expect(text).toMatchFileSnapshot(`examples/${name}.txt`)
  })
})
