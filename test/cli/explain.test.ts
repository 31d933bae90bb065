import { execFileSync, spawnSync } from 'node:child_process'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { CommandError } from '../../src/cli/exit-status.js'
import { explain } from '../../src/cli/explain.js'
import { VirtkitError } from '../../src/contracts/index.js'
import { EXPLAIN_TOPICS } from '../../src/debug/index.js'

let printed: string[] = []
beforeEach(() => {
  printed = []
  vi.spyOn(console, 'log').mockImplementation((text: string) => void printed.push(text))
})
afterEach(() => vi.restoreAllMocks())

async function output(...args: string[]): Promise<string> {
  printed = []
  expect(await explain(args)).toBe(0)
  return printed.join('\n')
}

describe('virtkit explain', () => {
  it('lists its topics', async () => {
    const text = await output()
    for (const topic of EXPLAIN_TOPICS) expect(text).toMatch(new RegExp(`^ {2}${topic} `, 'm'))
  })

  it.each(EXPLAIN_TOPICS)('%s: has an example that works, help, and JSON', async (topic) => {
    const text = await output(topic)
    expect(text).toMatch(/^ {2}1\. /m)
    expect(text).toContain('  => ')
    expect(text).not.toMatch(/#|undefined|NaN/)
    expect(await output(topic, '--no-notes')).not.toContain('Note:')
    expect(await output(topic, '--help')).toContain(`virtkit explain ${topic}`)
    const [explanation] = JSON.parse(await output(topic, '--json'))
    expect(explanation).toMatchObject({ topic, ok: true })
  })

  it('takes tables from the command line', async () => {
    const gdt = 'null,data:0x300000:0xfff,ldt:0x2000:0x0f'
    expect(await output('segmentation', '--gdt', gdt, '--selector', '8', '--offset', '0x10')).toContain(
      'linear address 0x00300010',
    )
    // A raw descriptor: base 0x00400000, limit 0xfff, data, DPL 3.
    const ldt = 'null 0040f24000000fff'
    expect(
      await output('segmentation', '--gdt', gdt, '--ldt', ldt, '--selector', '0xf', '--cpl', '3', '--offset', '4'),
    ).toContain('=> linear address 0x00400004')
    const absent = 'null data:0:0xfff:0:absent'
    expect(await output('segmentation', '--gdt', absent, '--selector', '8')).toContain(
      '=> the processor raises #NP(0x8)',
    )
    const pages = ['--mode', 'pae', '--map', '0x200000=0x400000:l', '--address', '0x234567']
    expect(await output('paging', ...pages)).toContain('=> physical address 0x00434567')
    const readOnly = ['--map', '0x5000=0x6000:r', '--address', '0x5000', '--access', 'write', '--user']
    expect(await output('tlb', ...readOnly)).toContain('#PF(0x7)')
    const gate = ['--vector', '3', '--gate', '3=trap:0x18:0x1234:3', '--software', '--cpl', '3']
    expect(await output('interrupt', ...gate)).toContain('linear address 0x00001234 runs at CPL 3; IF stays')
    expect(await output('interrupt', '--mode', 'real', '--vector', '8', '--gate', '8=0x70:5')).toContain('0x00000705')
    expect(await output('segmentation', '--mode', 'real', '--selector', '0xffff', '--offset', '0xffff')).toContain(
      'linear address 0x0010ffef',
    )
  })

  it('shows evictions of a small TLB', async () => {
    const address = ['0x400000', '0x401000', '0x400000'].flatMap((text) => ['--address', text])
    const text = await output('tlb', '--sets', '1', '--ways', '1', ...address)
    expect(text.match(/\(TLB miss\)/g)).toHaveLength(3)
    expect((await output('tlb', '--sets', '1', '--ways', '2', ...address)).match(/\(TLB hit\)/g)).toHaveLength(1)
  })

  it.each([
    [['nonsense'], /no topic 'nonsense'/],
    [['__proto__'], /no topic/],
    [['pic', '--nonsense'], /nonsense/],
    [['pic', '--vector', '3'], /pic has no option --vector/],
    [['pic', 'word'], /word/],
    [['pic', '--irq', '2'], /IRQ 0 to 15 except/],
    [['pic', '--irq', 'abc'], /--irq: a number such as/],
    [['dma', '--channel', '4'], /0 to 3 or 5 to 7/],
    [['dma', '--count', '0'], /1 to 65536/],
    [['dma', '--mode', 'fast'], /--mode: one of single, block, demand/],
    [['segmentation', '--selector', '0x10000'], /--selector: at most 0xffff/],
    [['segmentation', '--gdt', 'null code'], /KIND:BASE:LIMIT/],
    [['segmentation', '--gdt', 'constructor:0:0'], /KIND:BASE:LIMIT/],
    [['segmentation', '--gdt', 'code:0:0xfffff001'], /cannot be expressed/],
    [['segmentation', '--gdt', 'null', '--ldt', 'null'], /no LDT descriptor/],
    [['segmentation', '--register', 'xs'], /--register: one of/],
    [['segmentation', '--size', '0'], /1 to 64 bytes/],
    [['paging', '--map', '0x1000'], /LINEAR=PHYSICAL/],
    [['paging', '--map', '0x1000=0x2000:q'], /FLAGS/],
    [['paging', '--map', '0x1001=0x2000'], /multiple of its size/],
    [['paging', '--address', '0x123456789'], /0 to 0xffffffff/],
    [['tlb', '--ways', '3', '--policy', 'plru'], /power of two/],
    [['interrupt', '--vector', '256'], /--vector: at most/],
    [['interrupt', '--gate', '3'], /VECTOR=KIND/],
    [['interrupt', '--gate', '3=task:1:2:9'], /--gate: at most/],
  ] as const)('refuses %j in one line', async (args, message) => {
    const error = await explain(args).then(
      () => undefined,
      (reason: unknown) => reason,
    )
    expect(error instanceof CommandError || error instanceof VirtkitError).toBe(true)
    const text = (error as Error).message
    expect(text).toMatch(message)
    expect(text).not.toContain('\n')
  })

  it('as a command: exit status 0 and 2', () => {
    const command = ['--import', 'tsx', 'src/cli/main.ts', 'explain']
    expect(execFileSync(process.execPath, [...command, 'pic'], { encoding: 'utf8' })).toContain('vector 0x21')
    const { status, stderr, stdout } = spawnSync(process.execPath, [...command, 'pic', '--irq', '99'], {
      encoding: 'utf8',
    })
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' })
    expect(stderr.trim().split('\n')).toEqual([expect.stringMatching(/^virtkit: irq/)])
  })
})
