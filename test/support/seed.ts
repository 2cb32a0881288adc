/** How often a property is tried, from a seed that stays the same unless TEST_SEED names another. */
export const seeded = (numRuns: number): { readonly numRuns: number; readonly seed: number } => ({
  numRuns,
  seed: Number(Bun.env["TEST_SEED"] ?? 20_260_131),
});
