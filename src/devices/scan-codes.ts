/**
 * Scan codes of the 102-key PS/2 keyboard, by the names of `KeyboardEvent.code`.
 *
 * Source: IBM PS/2 Hardware Interface Technical Reference, "Keyboards (101- and 102-Key)", "Scan Code Sets".
 */

/** A key that is released and repeated like most: set 2 code (0xE0 prefix in the high byte), set 3 code. */
type KeyRow = readonly [code: string, set2: number, set3: number]

const E0 = 0xe000
const ROWS: readonly KeyRow[] = [
  ['Backquote', 0x0e, 0x0e],
  ['Digit1', 0x16, 0x16],
  ['Digit2', 0x1e, 0x1e],
  ['Digit3', 0x26, 0x26],
  ['Digit4', 0x25, 0x25],
  ['Digit5', 0x2e, 0x2e],
  ['Digit6', 0x36, 0x36],
  ['Digit7', 0x3d, 0x3d],
  ['Digit8', 0x3e, 0x3e],
  ['Digit9', 0x46, 0x46],
  ['Digit0', 0x45, 0x45],
  ['Minus', 0x4e, 0x4e],
  ['Equal', 0x55, 0x55],
  ['Backspace', 0x66, 0x66],
  ['Tab', 0x0d, 0x0d],
  ['KeyQ', 0x15, 0x15],
  ['KeyW', 0x1d, 0x1d],
  ['KeyE', 0x24, 0x24],
  ['KeyR', 0x2d, 0x2d],
  ['KeyT', 0x2c, 0x2c],
  ['KeyY', 0x35, 0x35],
  ['KeyU', 0x3c, 0x3c],
  ['KeyI', 0x43, 0x43],
  ['KeyO', 0x44, 0x44],
  ['KeyP', 0x4d, 0x4d],
  ['BracketLeft', 0x54, 0x54],
  ['BracketRight', 0x5b, 0x5b],
  ['Backslash', 0x5d, 0x5c],
  ['CapsLock', 0x58, 0x14],
  ['KeyA', 0x1c, 0x1c],
  ['KeyS', 0x1b, 0x1b],
  ['KeyD', 0x23, 0x23],
  ['KeyF', 0x2b, 0x2b],
  ['KeyG', 0x34, 0x34],
  ['KeyH', 0x33, 0x33],
  ['KeyJ', 0x3b, 0x3b],
  ['KeyK', 0x42, 0x42],
  ['KeyL', 0x4b, 0x4b],
  ['Semicolon', 0x4c, 0x4c],
  ['Quote', 0x52, 0x52],
  ['Enter', 0x5a, 0x5a],
  ['ShiftLeft', 0x12, 0x12],
  ['IntlBackslash', 0x61, 0x13],
  ['KeyZ', 0x1a, 0x1a],
  ['KeyX', 0x22, 0x22],
  ['KeyC', 0x21, 0x21],
  ['KeyV', 0x2a, 0x2a],
  ['KeyB', 0x32, 0x32],
  ['KeyN', 0x31, 0x31],
  ['KeyM', 0x3a, 0x3a],
  ['Comma', 0x41, 0x41],
  ['Period', 0x49, 0x49],
  ['Slash', 0x4a, 0x4a],
  ['ShiftRight', 0x59, 0x59],
  ['ControlLeft', 0x14, 0x11],
  ['AltLeft', 0x11, 0x19],
  ['Space', 0x29, 0x29],
  ['AltRight', E0 | 0x11, 0x39],
  ['ControlRight', E0 | 0x14, 0x58],
  ['Insert', E0 | 0x70, 0x67],
  ['Delete', E0 | 0x71, 0x64],
  ['ArrowLeft', E0 | 0x6b, 0x61],
  ['Home', E0 | 0x6c, 0x6e],
  ['End', E0 | 0x69, 0x65],
  ['ArrowUp', E0 | 0x75, 0x63],
  ['ArrowDown', E0 | 0x72, 0x60],
  ['PageUp', E0 | 0x7d, 0x6f],
  ['PageDown', E0 | 0x7a, 0x6d],
  ['ArrowRight', E0 | 0x74, 0x6a],
  ['NumLock', 0x77, 0x76],
  ['Numpad7', 0x6c, 0x6c],
  ['Numpad4', 0x6b, 0x6b],
  ['Numpad1', 0x69, 0x69],
  ['NumpadDivide', E0 | 0x4a, 0x77],
  ['Numpad8', 0x75, 0x75],
  ['Numpad5', 0x73, 0x73],
  ['Numpad2', 0x72, 0x72],
  ['Numpad0', 0x70, 0x70],
  ['NumpadMultiply', 0x7c, 0x7e],
  ['Numpad9', 0x7d, 0x7d],
  ['Numpad6', 0x74, 0x74],
  ['Numpad3', 0x7a, 0x7a],
  ['NumpadDecimal', 0x71, 0x71],
  ['NumpadSubtract', 0x7b, 0x84],
  ['NumpadAdd', 0x79, 0x7c],
  ['NumpadEnter', E0 | 0x5a, 0x79],
  ['Escape', 0x76, 0x08],
  ['F1', 0x05, 0x07],
  ['F2', 0x06, 0x0f],
  ['F3', 0x04, 0x17],
  ['F4', 0x0c, 0x1f],
  ['F5', 0x03, 0x27],
  ['F6', 0x0b, 0x2f],
  ['F7', 0x83, 0x37],
  ['F8', 0x0a, 0x3f],
  ['F9', 0x01, 0x47],
  ['F10', 0x09, 0x4f],
  ['F11', 0x78, 0x56],
  ['F12', 0x07, 0x5e],
  ['PrintScreen', E0 | 0x7c, 0x57],
  ['ScrollLock', 0x7e, 0x5f],
  ['Pause', 0x77, 0x62],
  ['MetaLeft', E0 | 0x1f, 0x8b],
  ['MetaRight', E0 | 0x27, 0x8c],
  ['ContextMenu', E0 | 0x2f, 0x8d],
]

/** The keys' names; a key's number is its place here. */
export const KEY_CODES: readonly string[] = ROWS.map((row) => row[0])
const KEY_NUMBERS: ReadonlyMap<string, number> = new Map(KEY_CODES.map((code, number) => [code, number]))

/** The number of the key with that `KeyboardEvent.code`, or −1. */
export function keyNumber(code: string): number {
  return KEY_NUMBERS.get(code) ?? -1
}

/** The set 3 make code of a key. */
export function set3Code(key: number): number {
  return ROWS[key]![2]
}

const PAUSE: number = keyNumber('Pause')
const PRINT_SCREEN: number = keyNumber('PrintScreen')

/** Pause has neither a break code nor a repeat in sets 1 and 2. */
export function isPause(key: number): boolean {
  return key === PAUSE
}

/** The bytes that set 2 sends when a key goes down (`make`) or up. */
export function set2Sequence(key: number, make: boolean): readonly number[] {
  if (key === PAUSE) return make ? [0xe1, 0x14, 0x77, 0xe1, 0xf0, 0x14, 0xf0, 0x77] : []
  if (key === PRINT_SCREEN) return make ? [0xe0, 0x12, 0xe0, 0x7c] : [0xe0, 0xf0, 0x7c, 0xe0, 0xf0, 0x12]
  const code = ROWS[key]![1]
  const bytes = code >= E0 ? [0xe0] : []
  if (!make) bytes.push(0xf0)
  bytes.push(code & 0xff)
  return bytes
}

/** The bytes that set 1 sends: those of set 2 as the translation of the controller makes them. */
export function set1Sequence(key: number, make: boolean): readonly number[] {
  const bytes: number[] = []
  let release = 0
  for (const byte of set2Sequence(key, make)) {
    if (byte === 0xf0) release = 0x80
    else {
      bytes.push(byte >= 0xe0 ? byte : translateScanCode(byte) | release)
      if (byte < 0xe0) release = 0
    }
  }
  return bytes
}

const TRANSLATION: readonly number[] = [
  0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29, 0x59, 0x65, 0x38, 0x2a,
  0x70, 0x1d, 0x10, 0x02, 0x5a, 0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11, 0x03, 0x5b, 0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05,
  0x04, 0x5c, 0x68, 0x39, 0x2f, 0x21, 0x14, 0x13, 0x06, 0x5d, 0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5e, 0x6a,
  0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5f, 0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60, 0x6c, 0x34, 0x35, 0x26,
  0x27, 0x19, 0x0c, 0x61, 0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e, 0x3a, 0x36, 0x1c, 0x1b, 0x75, 0x2b, 0x63,
  0x76, 0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b, 0x7c, 0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f, 0x52, 0x53,
  0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45, 0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54,
]

/** The controller's translation of a set 2 code to set 1; codes above 0x84 pass unchanged. */
export function translateScanCode(byte: number): number {
  if (byte === 0x83) return 0x41
  if (byte === 0x84) return 0x54
  return TRANSLATION[byte] ?? byte
}

/** How a key behaves in set 3. */
export const SET3_TYPEMATIC = 0
export const SET3_MAKE_BREAK = 1
export const SET3_MAKE = 2
export const SET3_TYPEMATIC_MAKE_BREAK = 3

const MAKE_BREAK = new Set(['CapsLock', 'ShiftLeft', 'ShiftRight', 'ControlLeft', 'AltLeft'])
const MAKE_ONLY =
  /^(F\d+|Numpad(?!Add).*|NumLock|Escape|PrintScreen|ScrollLock|Pause|Insert|Home|End|Page.*|AltRight|ControlRight|Meta.*|ContextMenu)$/

/** Each key's behaviour in set 3 after reset. */
export function set3Default(key: number): number {
  const code = KEY_CODES[key]!
  return MAKE_BREAK.has(code) ? SET3_MAKE_BREAK : MAKE_ONLY.test(code) ? SET3_MAKE : SET3_TYPEMATIC
}

const PLAIN = "`1234567890-=\bqwertyuiop[]\\asdfghjkl;'\nzxcvbnm,./ \t\x1b"
const SHIFTED = '~!@#$%^&*()_+\bQWERTYUIOP{}|ASDFGHJKL:"\nZXCVBNM<>? \t\x1b'
const TYPED: readonly string[] = [
  'Backquote',
  'Digit1',
  'Digit2',
  'Digit3',
  'Digit4',
  'Digit5',
  'Digit6',
  'Digit7',
  'Digit8',
  'Digit9',
  'Digit0',
  'Minus',
  'Equal',
  'Backspace',
  'KeyQ',
  'KeyW',
  'KeyE',
  'KeyR',
  'KeyT',
  'KeyY',
  'KeyU',
  'KeyI',
  'KeyO',
  'KeyP',
  'BracketLeft',
  'BracketRight',
  'Backslash',
  'KeyA',
  'KeyS',
  'KeyD',
  'KeyF',
  'KeyG',
  'KeyH',
  'KeyJ',
  'KeyK',
  'KeyL',
  'Semicolon',
  'Quote',
  'Enter',
  'KeyZ',
  'KeyX',
  'KeyC',
  'KeyV',
  'KeyB',
  'KeyN',
  'KeyM',
  'Comma',
  'Period',
  'Slash',
  'Space',
  'Tab',
  'Escape',
]

/** The key (and whether Shift) that types `character` on a US keyboard, or undefined. */
export function keyForCharacter(character: string): { readonly key: number; readonly shift: boolean } | undefined {
  const wanted = character === '\r' ? '\n' : character
  const plain = PLAIN.indexOf(wanted)
  const place = plain >= 0 ? plain : SHIFTED.indexOf(wanted)
  return place < 0 ? undefined : { key: keyNumber(TYPED[place]!), shift: plain < 0 }
}
