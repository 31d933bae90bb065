/** Debian's packages, fetched and unpacked below `.guests/` without root's rights. */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const GUESTS: string = fileURLToPath(new URL('../.guests', import.meta.url))
const MIRROR = 'http://deb.debian.org/debian'
const RELEASE = 'bookworm'
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg'

/** Something that this machine cannot have: an absence, not a failure. */
export class Missing extends Error {}

/** Debian's names of the two architectures. */
export type DebianArchitecture = 'i386' | 'amd64'

/** An apt of our own for one architecture: its configuration, sources and state lie below `.guests/apt`. Returns its configuration file. */
function aptConfiguration(architecture: DebianArchitecture): string {
  const base = join(GUESTS, 'apt', architecture)
  const file = join(base, 'apt.conf')
  const sources = join(base, 'sources.list')
  const wanted = `deb [arch=${architecture}${existsSync(KEYRING) ? ` signed-by=${KEYRING}` : ''}] ${MIRROR} ${RELEASE} main\n`
  for (const folder of ['state/lists/partial', 'cache/archives/partial', 'parts']) {
    mkdirSync(join(base, folder), { recursive: true })
  }
  writeFileSync(join(base, 'status'), '')
  writeFileSync(sources, wanted)
  writeFileSync(
    file,
    [
      `APT::Architecture "${architecture}";`,
      `APT::Architectures { "${architecture}"; };`,
      `Dir::State "${join(base, 'state')}";`,
      `Dir::State::status "${join(base, 'status')}";`,
      `Dir::Cache "${join(base, 'cache')}";`,
      `Dir::Etc::sourcelist "${sources}";`,
      `Dir::Etc::sourceparts "${join(base, 'parts')}";`,
      'APT::Sandbox::User "";',
      'Acquire::Languages "none";',
      '',
    ].join('\n'),
  )
  return file
}

const updated = new Set<DebianArchitecture>()

function apt(architecture: DebianArchitecture, folder: string, args: readonly string[], name: string): void {
  const configuration = aptConfiguration(architecture)
  const got = spawnSync('apt-get', args, {
    cwd: folder,
    encoding: 'utf8',
    env: { ...process.env, APT_CONFIG: configuration, LC_ALL: 'C' },
  })
  if (got.error) throw new Missing(`package '${name}': apt-get is not on this machine (Debian or Ubuntu is needed)`)
  if (got.status !== 0) {
    const why = got.stderr.split('\n').find((line) => line.startsWith('E:')) ?? `apt-get ended with ${got.status}`
    throw new Missing(`package '${name}' could not be downloaded: ${why}`)
  }
}

/** The archive of a package of `architecture`, downloaded when it is not there yet. */
export function download(name: string, architecture: DebianArchitecture): string {
  const folder = join(GUESTS, 'packages', architecture)
  mkdirSync(folder, { recursive: true })
  const archive = (): string | undefined => readdirSync(folder).find((file) => file.startsWith(`${name}_`))
  if (archive() === undefined) {
    if (!updated.has(architecture)) apt(architecture, folder, ['update'], name)
    updated.add(architecture)
    apt(architecture, folder, ['download', name], name)
  }
  const file = archive()
  if (file === undefined) throw new Missing(`package '${name}' could not be downloaded`)
  return join(folder, file)
}

/** Unpacks a package's archive into `folder`. */
export function unpack(archive: string, folder: string): void {
  mkdirSync(folder, { recursive: true })
  const unpacked = spawnSync('dpkg', ['-x', archive, folder], { encoding: 'utf8' })
  if (unpacked.error || unpacked.status !== 0) {
    throw new Missing(`${archive} could not be unpacked: ${unpacked.error?.message ?? unpacked.stderr.trim()}`)
  }
}

/** The first package that one depends on: the real one behind a name such as `linux-image-amd64`. */
export function firstDependency(archive: string): string {
  const asked = spawnSync('dpkg', ['-f', archive, 'Depends'], { encoding: 'utf8' })
  const name = asked.stdout?.trim().split(/[ ,]/)[0]
  if (asked.status !== 0 || !name) throw new Missing(`${archive}: dpkg does not tell what it depends on`)
  return name
}

/** Runs a tool; throws {@link Missing} when it is not there, and with what it says when it fails. */
export function tool(name: string, args: readonly string[], options: { readonly cwd?: string } = {}): string {
  const ran = spawnSync(name, args, { encoding: 'utf8', maxBuffer: 1 << 28, ...options })
  if (ran.error) throw new Missing(`${name} is not on this machine`)
  if (ran.status !== 0) throw new Error(`${name} ${args.join(' ')}: ${ran.stderr.trim() || `status ${ran.status}`}`)
  return ran.stdout
}
