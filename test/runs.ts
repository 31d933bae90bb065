/** Number of runs for a property: `base`, or scaled so that FC_NUM_RUNS is what a base of 100 means. */
export function runs(base: number): number {
  const wanted = Number(process.env.FC_NUM_RUNS ?? '')
  return Number.isFinite(wanted) && wanted > 0 ? Math.max(1, Math.round((base * wanted) / 100)) : base
}
