/** A grouped bar chart of ratios on a logarithmic axis, as SVG. */

/** One colour of bars. */
export interface Series {
  readonly label: string
  /** In CSS. */
  readonly colour: string
  /** One for each row; undefined where there is none, with {@link Panel.rows} in the same order. */
  readonly values: readonly (number | undefined)[]
}

/** One axis with its bars. */
export interface Panel {
  readonly title: string
  readonly rows: readonly string[]
  readonly series: readonly Series[]
}

/** A picture of panels, one below the other. */
export interface Chart {
  readonly title: string
  /** What 1 means, and which side is better. */
  readonly note: string
  readonly panels: readonly Panel[]
}

const WIDTH = 920
const LEFT = 132
const RIGHT = 76
/** Room for the number of the longest bar to the left. */
const INSET = 30
const BAR = 9
const GROUP_GAP = 7
const HEAD = 54
const PANEL_HEAD = 62
const PANEL_GAP = 30
const TICKS = [1, 2, 5]

const inXml = (text: string): string => text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;')

/** The ends of an axis that holds the values and 1: powers of ten times 1, 2 or 5. */
export function logDomain(values: readonly number[]): [number, number] {
  const least = Math.min(0.5, ...values)
  const most = Math.max(2, ...values)
  const steps = Array.from({ length: 13 }, (_, n) => n - 6).flatMap((power) => TICKS.map((t) => t * 10 ** power))
  const low = steps.filter((step) => step <= least * 1.000001).at(-1) ?? steps[0]!
  const high = steps.find((step) => step >= most * 0.999999) ?? steps.at(-1)!
  return [low, high]
}

/** The marks of an axis. */
export function logTicks(low: number, high: number): number[] {
  const first = Math.floor(Math.log10(low))
  const powers = Array.from({ length: Math.ceil(Math.log10(high)) - first + 1 }, (_, n) => first + n)
  return powers
    .flatMap((power) => TICKS.map((t) => Number((t * 10 ** power).toPrecision(1))))
    .filter((tick) => tick >= low * 0.999 && tick <= high * 1.001)
}

function panelHeight(panel: Panel): number {
  return PANEL_HEAD + panel.rows.length * (panel.series.length * BAR + GROUP_GAP)
}

function drawPanel(panel: Panel, top: number): string[] {
  const present = panel.series.flatMap(({ values }) => values).filter((v): v is number => v !== undefined && v > 0)
  const [low, high] = logDomain(present)
  const x = (value: number): number =>
    LEFT +
    INSET +
    ((Math.log(value) - Math.log(low)) / (Math.log(high) - Math.log(low))) * (WIDTH - LEFT - INSET - RIGHT)
  const at = (n: number): string => n.toFixed(1)
  const bottom = top + panelHeight(panel)
  const first = top + PANEL_HEAD
  const parts = [`<text x="16" y="${top + 14}" class="panel">${inXml(panel.title)}</text>`]
  let legend = LEFT
  for (const { label, colour } of panel.series) {
    parts.push(
      `<rect x="${legend}" y="${top + 24}" width="11" height="11" fill="${colour}"/>`,
      `<text x="${legend + 16}" y="${top + 34}">${inXml(label)}</text>`,
    )
    legend += 30 + label.length * 7
  }
  for (const tick of logTicks(low, high)) {
    parts.push(
      `<line x1="${at(x(tick))}" y1="${first - 4}" x2="${at(x(tick))}" y2="${bottom}" class="${tick === 1 ? 'one' : 'grid'}"/>`,
      `<text x="${at(x(tick))}" y="${first - 8}" text-anchor="middle" class="tick">${tick}</text>`,
    )
  }
  panel.rows.forEach((row, n) => {
    const y = first + n * (panel.series.length * BAR + GROUP_GAP) + GROUP_GAP / 2
    const middle = y + (panel.series.length * BAR) / 2 + 4
    parts.push(`<text x="${LEFT - 8}" y="${at(middle)}" text-anchor="end">${inXml(row)}</text>`)
    panel.series.forEach(({ colour, values }, k) => {
      const value = values[n]
      const barTop = y + k * BAR
      if (value === undefined || !(value > 0)) {
        parts.push(`<text x="${at(x(1) + 4)}" y="${at(barTop + 8)}" class="value">no result</text>`)
        return
      }
      const from = Math.min(x(1), x(value))
      const length = Math.max(1, Math.abs(x(value) - x(1)))
      const label = value < 1 ? `x="${at(from - 4)}" text-anchor="end"` : `x="${at(from + length + 4)}"`
      parts.push(
        `<rect x="${at(from)}" y="${at(barTop)}" width="${at(length)}" height="${BAR - 1}" fill="${colour}"/>`,
        `<text ${label} y="${at(barTop + 7.5)}" class="value">${value.toFixed(2)}</text>`,
      )
    })
  })
  return parts
}

/** The picture as a document. */
export function drawChart(chart: Chart): string {
  const height = HEAD + chart.panels.reduce((sum, panel) => sum + panelHeight(panel) + PANEL_GAP, 0)
  const parts: string[] = []
  let top = HEAD
  for (const panel of chart.panels) {
    parts.push(...drawPanel(panel, top))
    top += panelHeight(panel) + PANEL_GAP
  }
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" role="img">`,
    `<title>${inXml(chart.title)}</title>`,
    `<desc>${inXml(chart.note)}</desc>`,
    '<style>text{font:12px sans-serif;fill:#222}.title{font-size:16px;font-weight:bold}.panel{font-size:14px;font-weight:bold}',
    '.tick,.value{font-size:9px;fill:#555}.grid{stroke:#ddd}.one{stroke:#222;stroke-width:1.5}</style>',
    `<rect width="${WIDTH}" height="${height}" fill="#fff"/>`,
    `<text x="16" y="24" class="title">${inXml(chart.title)}</text>`,
    `<text x="16" y="42">${inXml(chart.note)}</text>`,
    ...parts,
    '</svg>',
    '',
  ].join('\n')
}
