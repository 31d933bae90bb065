/**
 * The counters of the MC146818A as arithmetic on its register bytes: field formats, adding any number of seconds at once,
 * and the time to the next alarm. Source: Motorola MC146818A data sheet, "Time, Calendar, and Alarm Data Modes".
 */

/** Register B's DM (4: binary, else BCD) and 24/12 (2: 24-hour) bits. */
export type CalendarFormat = number

const BINARY = 4
const HOURS_24 = 2
const PM = 0x80
const SECONDS_A_DAY = 86400
/** A hundred years in which every fourth is a leap year, as the chip counts them. */
const DAYS_A_CENTURY = 36525
const DAYS_BEFORE_MONTH: readonly number[] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334]

/** A field's byte for a value of 0–99. */
export function encodeField(value: number, format: CalendarFormat): number {
  return (format & BINARY) !== 0 ? value : (Math.floor(value / 10) << 4) | (value % 10)
}

/** A field's value. A byte that is no BCD number counts as ten times its high digit plus its low one. */
export function decodeField(byte: number, format: CalendarFormat): number {
  return (format & BINARY) !== 0 ? byte : (byte >> 4) * 10 + (byte & 15)
}

/** The hours field, which depends on the 12-hour mode as well: there bit 7 is PM, and midnight is 12 AM. */
export const hourField: {
  encode(hour: number, format: CalendarFormat): number
  decode(byte: number, format: CalendarFormat): number
} = {
  encode(hour, format) {
    if ((format & HOURS_24) !== 0) return encodeField(hour, format)
    return encodeField(hour % 12 === 0 ? 12 : hour % 12, format) | (hour >= 12 ? PM : 0)
  },
  decode(byte, format) {
    if ((format & HOURS_24) !== 0) return decodeField(byte, format)
    return (decodeField(byte & 0x7f, format) % 12) + ((byte & PM) !== 0 ? 12 : 0)
  },
}

function secondOfDay(registers: Uint8Array, format: CalendarFormat): number {
  return (
    hourField.decode(registers[4]!, format) * 3600 +
    decodeField(registers[2]!, format) * 60 +
    decodeField(registers[0]!, format)
  )
}

/** Days of the present century before the given date; month 1–12, others wrap. */
function dayOfCentury(year: number, month: number, day: number): number {
  const m = (month + 11) % 12
  const leapDay = year % 4 === 0 && m >= 2 ? 1 : 0
  return year * 365 + Math.floor((year + 3) / 4) + DAYS_BEFORE_MONTH[m]! + leapDay + day - 1
}

/**
 * Counts `count` seconds on in the registers 0–9 and the century at 0x32. Fields that hold no time or date before are
 * carried over arithmetically, so that the result always is one.
 */
export function addSeconds(registers: Uint8Array, count: number, format: CalendarFormat): void {
  const total = secondOfDay(registers, format) + count
  const days = Math.floor(total / SECONDS_A_DAY)
  const second = total % SECONDS_A_DAY
  registers[0] = encodeField(second % 60, format)
  registers[2] = encodeField(Math.floor(second / 60) % 60, format)
  registers[4] = hourField.encode(Math.floor(second / 3600), format)
  if (days === 0) return
  const weekday = decodeField(registers[6]!, format)
  registers[6] = encodeField(((weekday + 6 + days) % 7) + 1, format)
  const year = decodeField(registers[9]!, format) % 100
  const date = dayOfCentury(year, decodeField(registers[8]!, format), decodeField(registers[7]!, format)) + days
  if (date >= DAYS_A_CENTURY) {
    const century = decodeField(registers[0x32]!, format) + Math.floor(date / DAYS_A_CENTURY)
    registers[0x32] = encodeField(century % 100, format)
  }
  setDate(registers, date < 0 ? 0 : date % DAYS_A_CENTURY, format)
}

function setDate(registers: Uint8Array, date: number, format: CalendarFormat): void {
  const cycle = Math.floor(date / 1461)
  const inCycle = date % 1461
  // The first year of each four is the leap year.
  const yearOfCycle = inCycle < 366 ? 0 : Math.floor((inCycle - 1) / 365)
  const dayOfYear = yearOfCycle === 0 ? inCycle : (inCycle - 1) % 365
  let month = 11
  while (month > 0 && dayOfYear < monthStart(month, yearOfCycle === 0)) month--
  registers[7] = encodeField(dayOfYear - monthStart(month, yearOfCycle === 0) + 1, format)
  registers[8] = encodeField(month + 1, format)
  registers[9] = encodeField(cycle * 4 + yearOfCycle, format)
}

function monthStart(month: number, leap: boolean): number {
  return DAYS_BEFORE_MONTH[month]! + (leap && month >= 2 ? 1 : 0)
}

/** An alarm byte of 11xxxxxx matches always; any other must equal the field's byte. */
function matches(alarm: number, byte: number): boolean {
  return alarm >= 0xc0 || alarm === byte
}

/** Seconds (1–86400) until the time equals the alarm, counting from the registers; 0 when it never does. */
export function secondsToAlarm(registers: Uint8Array, format: CalendarFormat): number {
  const start = secondOfDay(registers, format)
  let at = start + 1
  while (at <= start + SECONDS_A_DAY) {
    const second = at % SECONDS_A_DAY
    const inHour = second % 3600
    if (!matches(registers[5]!, hourField.encode(Math.floor(second / 3600), format))) at += 3600 - inHour
    else if (!matches(registers[3]!, encodeField(Math.floor(inHour / 60), format))) at += 60 - (inHour % 60)
    else if (!matches(registers[1]!, encodeField(inHour % 60, format))) at += 1
    else return at - start
  }
  return 0
}
