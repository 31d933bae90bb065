/**
 * Memory beside the guest's own: that translated code and what belongs to it stay within their bound, in a Linux session of many programs, and that an hour of virtual
 * time of process creation leaves no more behind than half an hour. Each run is a process of its own, which nothing else uses memory of.
 */
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, it } from 'vitest'
import { linuxNeeds, stateFile, statesFolder } from './linux-states.js'
import type { MemorySample, ProbeOptions } from './memory-probe.js'

const PROBE = fileURLToPath(new URL('memory-probe.ts', import.meta.url))
const MIB = 1 << 20
const HOUR = 3600
/** What `translation.codeBytes` is by default. */
const CODE_BYTES = 8 * MIB
/** What all of that may take on the host: the target of the project for a session that runs many programs. */
const SESSION_BYTES = 256 * MIB
/** Part of the 65536 entries that the table could have. */
const TABLE_ENTRIES = 16_384
/** What a block store has, and the largest block. */
const STORE_BYTES = 16 * MIB

/** Programs of all kinds over some data, through pipes and files. */
const SESSION = `${[
  'cd /tmp; cp /bin/busybox x',
  'for p in sha256sum sha512sum sha1sum md5sum sha3sum cksum crc32 wc tac rev sort od hexdump xxd strings base64 "gzip -c" "bzip2 -c" "lzop -c" "tr a-z A-Z" "sed s/e/i/g" "grep -c e" "cut -c1-9" "fold -w 20" expand "head -c 99999" "tail -n 99" uniq nl paste "split -b 99999" "awk {n+=NF}" "xargs -0 -n 50 true"; do head -c 40000 x | $p 2>/dev/null | md5sum; done',
  'tar cf - /bin /etc /tmp 2>/dev/null | gzip -c | zcat | tar tf - | wc -l',
  'find / -xdev | sort | wc -l; ls -lR /proc/1 /sys/class 2>/dev/null | wc -l',
  'for i in 1 2 3; do dmesg; mount; df; ps; free; uptime; date; cal; env; id; uname -a; cat /proc/cpuinfo /proc/meminfo /proc/interrupts; done > all; wc -l all',
  'echo "scale=60; 4*a(1); e(1)" | bc -l; echo "2 200 ^ p" | dc',
  'i=0; while [ $i -lt 60 ]; do i=$((i+1)); /bin/true; expr $i + 1 > y; cmp y y; diff y y; done',
].join('; ')}; echo "<""end>"\n`

/** Creates processes for ever and counts them aloud. The sleep, a process of its own, lets the hour pass: while the guest sleeps, its time costs the host nothing. */
const PROCESSES = 'n=0; while true; do /bin/true; sleep 2; n=$((n+2)); [ $((n % 100)) = 0 ] && echo n=$n; done\n'

const base = { engine: 'translated', memory: 256 * MIB } as const

async function probe(snapshot: string, options: ProbeOptions): Promise<MemorySample[]> {
  const args = ['--expose-gc', '--import', 'tsx', PROBE, snapshot]
  const child = spawn(process.execPath, [...args, JSON.stringify(options)], { stdio: ['ignore', 'pipe', 'inherit'] })
  let text = ''
  child.stdout.on('data', (data: Buffer) => {
    text += data.toString()
  })
  expect(await new Promise((resolve) => child.once('close', resolve))).toBe(0)
  return text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as MemorySample)
}

const mib = (bytes: number): string => `${(bytes / MIB).toFixed(1)} MiB`

function report(name: string, { time, instructions, resident, script, peak, counters }: MemorySample): void {
  const wanted = ['regions', 'regions now', 'regions evicted', 'modules', 'table entries now', 'bytes of blocks now']
  const shown = wanted.flatMap((key) => (counters[key] === undefined ? [] : `${key} ${counters[key]}`))
  console.log(
    `${name}: ${time.toFixed(0)} s of virtual time, ${(instructions / 1e6).toFixed(0)} million instructions, resident ${mib(resident)} (peak ${mib(peak)}), of JavaScript ${mib(script)}, code ${mib(counters['bytes of code now'] ?? 0)}; ${shown.join(', ')}`,
  )
}

/** What the engine accounts for itself stays within its bounds at every sample. */
function expectBounded(samples: readonly MemorySample[], codeBytes: number): void {
  for (const { counters } of samples) {
    expect(counters['bytes of code now']).toBeLessThanOrEqual(codeBytes)
    expect(counters['table entries now']).toBeLessThanOrEqual(TABLE_ENTRIES)
    expect(counters['bytes of blocks now']).toBeLessThanOrEqual(STORE_BYTES)
  }
}

describe.skipIf(linuxNeeds.skip)(`memory of the engines${linuxNeeds.why}`, () => {
  let snapshot = ''
  beforeAll(() => {
    snapshot = stateFile(statesFolder(), '686', 'shell')
  })

  it('a session of many programs stays within its bound, also with little room for code', async () => {
    const session = { ...base, commands: SESSION, until: '\n<end>', every: 10 }
    const threaded = await probe(snapshot, { ...session, engine: 'threaded' })
    report('session, threaded', threaded.at(-1)!)
    const translated = await probe(snapshot, session)
    report('session, translated', translated.at(-1)!)
    const small = await probe(snapshot, { ...session, codeBytes: MIB / 2 })
    report('session, translated, 0.5 MiB of code', small.at(-1)!)
    // All do the same.
    expect(translated.at(-1)!.output).toBe(threaded.at(-1)!.output)
    expect(small.at(-1)!.output).toBe(threaded.at(-1)!.output)
    expectBounded(translated, CODE_BYTES)
    expectBounded(small, MIB / 2)
    expect(small.at(-1)!.counters['regions evicted']).toBeGreaterThan(0)
    expect(translated.at(-1)!.peak).toBeLessThan(SESSION_BYTES)
  })

  it('does not grow over an hour of virtual time in which processes come and go', async () => {
    // With half of the default for code, all of it is in use soon, and regions come and go as well.
    const codeBytes = CODE_BYTES / 2
    const samples = await probe(snapshot, { ...base, codeBytes, commands: PROCESSES, until: HOUR, every: HOUR / 8 })
    for (const [n, sample] of samples.entries()) report(`processes, ${n + 1} of ${samples.length}`, sample)
    expectBounded(samples, codeBytes)
    const counts = [...samples.at(-1)!.output.matchAll(/n=(\d+)/g)].map((match) => Number(match[1]))
    console.log(`${counts.at(-1)} processes`)
    expect(counts.at(-1)).toBeGreaterThan(3000)
    // What was there in the second quarter: the working set is translated, and whatever has a bound may have reached it.
    const early = samples.filter(({ time }) => time > HOUR * 0.24 && time < HOUR * 0.51)
    const late = samples.filter(({ time }) => time > HOUR * 0.74)
    const most = (list: readonly MemorySample[], pick: (sample: MemorySample) => number): number =>
      Math.max(...list.map(pick))
    for (const key of ['bytes of code now', 'regions now', 'table entries now']) {
      const pick = ({ counters }: MemorySample): number => counters[key]!
      expect([key, most(late, pick)]).toEqual([key, expect.toSatisfy((n: number) => n <= most(early, pick) * 1.25)])
    }
    expect(most(late, ({ script }) => script)).toBeLessThan(most(early, ({ script }) => script) + 2 * MIB)
    expect(most(late, ({ resident }) => resident)).toBeLessThan(most(early, ({ resident }) => resident) + 16 * MIB)
  })
})
