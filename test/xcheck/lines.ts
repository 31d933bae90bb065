/** The monitor's lines in what a machine printed: one per case, and the `E` that ends them. */
export function linesOf(text: string): string[] {
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => /^([rpl][0-9a-f]{2} |R$|E$)/.test(line))
}
