import type { BlockBackend } from '../contracts/index.js'
import { VirtkitError } from '../contracts/index.js'

/** The layout of a diskette. Sectors have 512 bytes. */
export interface FloppyGeometry {
  readonly cylinders: number
  readonly heads: number
  /** Sectors per track. */
  readonly sectors: number
  /** Values of the rate select bits at which it can be read: 0 500 kb/s, 1 300, 2 250, 3 1000. */
  readonly rates: readonly number[]
  /** Nanoseconds per revolution: 300 or 360 a minute. */
  readonly revolution: number
}

const RPM_300 = 200e6
const RPM_360 = 60e9 / 360

/** The formats that are told apart by their size in KiB. A 5¼-inch double-density disk turns faster in a 1.2 MB drive. */
export const FLOPPY_FORMATS: ReadonlyMap<number, FloppyGeometry> = new Map<number, FloppyGeometry>([
  [160, { cylinders: 40, heads: 1, sectors: 8, rates: [1, 2], revolution: RPM_300 }],
  [180, { cylinders: 40, heads: 1, sectors: 9, rates: [1, 2], revolution: RPM_300 }],
  [320, { cylinders: 40, heads: 2, sectors: 8, rates: [1, 2], revolution: RPM_300 }],
  [360, { cylinders: 40, heads: 2, sectors: 9, rates: [1, 2], revolution: RPM_300 }],
  [720, { cylinders: 80, heads: 2, sectors: 9, rates: [2], revolution: RPM_300 }],
  [1200, { cylinders: 80, heads: 2, sectors: 15, rates: [0], revolution: RPM_360 }],
  [1440, { cylinders: 80, heads: 2, sectors: 18, rates: [0], revolution: RPM_300 }],
  [1680, { cylinders: 80, heads: 2, sectors: 21, rates: [0], revolution: RPM_300 }],
  [2880, { cylinders: 80, heads: 2, sectors: 36, rates: [3], revolution: RPM_300 }],
])

/** The geometry of an image by its size; throws `bad-image` for a size that no diskette has. */
export function floppyGeometry(image: BlockBackend): FloppyGeometry {
  const geometry = FLOPPY_FORMATS.get(image.size / 1024)
  if (geometry === undefined) {
    const sizes = [...FLOPPY_FORMATS.keys()].join(', ')
    throw new VirtkitError('bad-image', `a floppy image of ${image.size} bytes: expected one of ${sizes} KiB`)
  }
  return geometry
}
