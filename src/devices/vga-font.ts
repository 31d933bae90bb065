/**
 * A character generator of our own, drawn as strokes: for a guest that writes to text memory without a video BIOS having
 * loaded a font. Printable ASCII, arrows, and the line and block characters of code page 437.
 */

/** Bytes per character, one per row, leftmost dot in bit 7. */
export const VGA_FONT_HEIGHT = 16

/**
 * Polylines per character from 0x20, on a grid of columns 0–6 and rows 0–15 (capitals stand on row 11 and reach up to row
 * 2): each point is a column and a row in hexadecimal. A stroke is two dots wide, one with a leading minus.
 */
const STROKES: readonly string[] = [
  '',
  '2228 2a2b',
  '1214 4244',
  '121b 414b 0555 0858',
  '54431304061747585a4b1b0a 212c',
  '0203 5a5b 530a',
  '5b151322324345080a1b3b58',
  '2224',
  '4224294b',
  '1234391b',
  '0458 0854 0656',
  '242a 0757',
  '2a2b1d',
  '0757',
  '2a2b',
  '520b',
  '1242535a4b1b0a0312 4419',
  '04222b 0b4b',
  '03124253550a0b5b',
  '03124253554626 46575a4b1b0a',
  '4b420858',
  '52020646575a4b1b0a',
  '534212030a1b4b5a574606',
  '025254282b',
  '124253554616050312 16070a1b4b5a5746',
  '0a1b4b5a53421203061757',
  '2526 292a',
  '2526 292a1c',
  '43074b',
  '0656 0959',
  '13571b',
  '03124253552728 2a2b',
  '4b1b0a03124253593928263555',
  '0b052232555b 0858',
  '0b024253554606 46575a4b0b',
  '534212030a1b4b5a',
  '023254593b0b02',
  '52020b5b 0646',
  '52020b 0646',
  '534212030a1b4b5a5737',
  '020b 525b 0656',
  '1232 222b 1b3b',
  '424a3b1b0a09 3252',
  '020b 5206 165b',
  '020b5b',
  '0b022535525b',
  '0b025b52',
  '1242535a4b1b0a0312',
  '0b024253564707',
  '1242535a4b1b0a0312 385c',
  '0b024253554606 365b',
  '53421203051646575a4b1b0a',
  '0252 222b',
  '020a1b4b5a52',
  '02062b3b5652',
  '020a1b28384b5a52',
  '025b 520b',
  '0204262b 52543626',
  '0252530a0b5b',
  '42222b4b',
  '025b',
  '12323b1b',
  '04223254',
  '0d6d',
  '1234',
  '1545565b1b0a091858',
  '020b4b5a564505',
  '564515060a1b4b5a',
  '525b1b0a061555',
  '0858564515060a1b4b5a',
  '534232232b 0646',
  '555d4e1e0d 5b1b0a061555',
  '020b 072545565b',
  '2223 15252b 1b4b',
  '4243 35454d3e1e0d',
  '020b 5508 285b',
  '12222b 1b4b',
  '0b0545565b -353b',
  '0b05 072545565b',
  '1545565a4b1b0a0615',
  '0e0545565a4b0b',
  '5e5515060a1b5b',
  '0b05 07254556',
  '56451506071848595a4b1b0a',
  '232a3b4b5a 0545',
  '050a1b3b59 555b',
  '05072b3b5755',
  '050a1b4b5a55 -373b',
  '055b 550b',
  '050a1b5b 555d4e1e0d',
  '05550b5b',
  '5242333617383a4b5b',
  '222d',
  '0212232647282a1b0b',
  '041323344453',
]

/** More characters drawn by strokes. */
const MORE_STROKES: Readonly<Record<number, string>> = {
  16: '03570b',
  17: '53075b',
  24: '222b 05223255',
  25: '222b 082b3b58',
  26: '0757 34573a',
  27: '0757 24072a',
  249: '2728',
  250: '-3737',
}

/** Line characters: weight (0, 1, 2) of the arms up, right, down and left. */
const LINES: Readonly<Record<number, string>> = {
  179: '1010',
  196: '0101',
  218: '0110',
  191: '0011',
  192: '1100',
  217: '1001',
  195: '1110',
  180: '1011',
  194: '0111',
  193: '1101',
  197: '1111',
  186: '2020',
  205: '0202',
  201: '0220',
  187: '0022',
  200: '2200',
  188: '2002',
  204: '2220',
  185: '2022',
  203: '0222',
  202: '2202',
  206: '2222',
}

/** Block characters: two row patterns that alternate, first row, row after the last. */
const BLOCKS: Readonly<Record<number, readonly [number, number, number, number]>> = {
  176: [0x22, 0x88, 0, 16],
  177: [0x55, 0xaa, 0, 16],
  178: [0xdd, 0x77, 0, 16],
  219: [0xff, 0xff, 0, 16],
  220: [0xff, 0xff, 8, 16],
  221: [0xf0, 0xf0, 0, 16],
  222: [0x0f, 0x0f, 0, 16],
  223: [0xff, 0xff, 0, 8],
  254: [0x7e, 0x7e, 4, 11],
}

/** Builds the font: 256 characters of {@link VGA_FONT_HEIGHT} bytes. */
export function vgaFont(): Uint8Array {
  const font = new Uint8Array(256 * VGA_FONT_HEIGHT)
  const glyph = (code: number): Uint8Array => font.subarray(code * VGA_FONT_HEIGHT, (code + 1) * VGA_FONT_HEIGHT)
  STROKES.forEach((strokes, i) => {
    drawStrokes(glyph(0x20 + i), strokes)
  })
  for (const [code, strokes] of Object.entries(MORE_STROKES)) drawStrokes(glyph(Number(code)), strokes)
  for (const [code, arms] of Object.entries(LINES)) drawArms(glyph(Number(code)), arms)
  for (const [code, [even, odd, from, to]] of Object.entries(BLOCKS)) {
    for (let row = from; row < to; row++) glyph(Number(code))[row] = (row & 1) !== 0 ? odd : even
  }
  return font
}

function drawStrokes(glyph: Uint8Array, strokes: string): void {
  for (const stroke of strokes.split(' ')) {
    const pen = stroke.startsWith('-') ? 0x80 : 0xc0
    const points = stroke.replace('-', '').match(/../g) ?? []
    for (let i = 0; i + 1 < points.length; i++) drawLine(glyph, points[i]!, points[i + 1]!, pen)
  }
}

function drawLine(glyph: Uint8Array, from: string, to: string, pen: number): void {
  const [x0, y0, x1, y1] = [...from, ...to].map((digit) => Number.parseInt(digit, 16)) as [
    number,
    number,
    number,
    number,
  ]
  const steps = Math.max(Math.abs(x1 - x0), Math.abs(y1 - y0), 1)
  for (let step = 0; step <= steps; step++) {
    const x = Math.round(x0 + ((x1 - x0) * step) / steps)
    const y = Math.round(y0 + ((y1 - y0) * step) / steps)
    glyph[y]! |= pen >> x
  }
}

/**
 * Draws the arms of a line character. A double arm is a solid band at first; carving out the lanes of all arms afterwards
 * leaves corners and crossings open where they should be.
 */
function drawArms(glyph: Uint8Array, arms: string): void {
  const double = arms.includes('2')
  const [left, right, top, bottom] = double ? [1, 6, 5, 9] : [3, 4, 7, 7]
  const fill = (fromX: number, toX: number, fromY: number, toY: number, on: boolean): void => {
    const mask = (0xff >> fromX) & (0xff << (7 - toX))
    for (let y = fromY; y <= toY; y++) glyph[y] = on ? glyph[y]! | mask : glyph[y]! & ~mask
  }
  for (const on of double ? [true, false] : [true]) {
    const [l, r, t, b] = on ? [left, right, top, bottom] : [3, 4, 6, 8]
    if (arms[0] !== '0') fill(l, r, 0, b, on)
    if (arms[1] !== '0') fill(l, 7, t, b, on)
    if (arms[2] !== '0') fill(l, r, t, 15, on)
    if (arms[3] !== '0') fill(0, r, t, b, on)
  }
}
