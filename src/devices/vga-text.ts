import type { VgaMemory } from './vga-memory.js'
import type { VgaRegisters } from './vga-registers.js'
import { CRTC_CURSOR_OFF, CRTC_CURSOR_START } from './vga-registers.js'
import { VgaScan } from './vga-scan.js'

/** Code page 437 as Unicode; what a character generator draws for 0x00–0x1F included. NUL reads as a space. */
export const CP437: string =
  ' ☺☻♥♦♣♠•◘○◙♂♀♪♫☼►◄↕‼¶§▬↨↑↓→←∟↔▲▼' +
  ' !"#$%&\'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~⌂' +
  'ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐' +
  '└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u00a0'

/** What a text mode shows. */
export interface VgaTextCells {
  readonly columns: number
  readonly rows: number
  /** Row by row: character code in bits 7–0, attribute in bits 15–8. */
  readonly cells: Uint16Array
  /** Where the cursor is, or undefined while it is off or outside the screen. */
  readonly cursor: { readonly column: number; readonly row: number } | undefined
}

/** Reads the characters on the screen, following start address, split screen and addressing mode as the display does. */
export function readTextCells(registers: VgaRegisters, memory: VgaMemory): VgaTextCells {
  const scan = new VgaScan(registers)
  const columns = registers.visibleCharacters
  const lines = registers.visibleLines
  const cells: number[] = []
  let rows = 0
  let cursor: VgaTextCells['cursor']
  const cursorOn = (registers.crtc[CRTC_CURSOR_START]! & CRTC_CURSOR_OFF) === 0
  scan.begin()
  for (let line = 0; line < lines; line++, scan.next()) {
    if (!scan.rowStart) continue
    for (let column = 0; column < columns; column++) {
      const counter = scan.counter(column)
      cells.push(memory.words[scan.planeAddress(counter)]! & 0xffff)
      if (cursorOn && counter === registers.cursor) cursor ??= { column, row: rows }
    }
    rows++
  }
  return { columns, rows, cells: Uint16Array.from(cells), cursor }
}

/** The rows of {@link readTextCells} as strings of Unicode characters, each `columns` long. */
export function textRows(screen: VgaTextCells): string[] {
  const rows: string[] = []
  for (let row = 0; row < screen.rows; row++) {
    let text = ''
    for (let column = 0; column < screen.columns; column++) {
      text += CP437[screen.cells[row * screen.columns + column]! & 0xff]!
    }
    rows.push(text)
  }
  return rows
}
