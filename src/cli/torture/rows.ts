/** A line of the report: what was counted, and how much. */
export type Row = readonly [name: string, value: string];

/** A count as it is shown. */
export const number = (value: number): string => Math.round(value).toLocaleString("en-US");

/** The slowest and the median of some times. */
export function times(values: readonly number[]): string {
  const sorted = values.toSorted((a, b) => a - b);
  const [median, slowest] = [sorted[Math.floor(sorted.length / 2)], sorted.at(-1)];
  if (median === undefined || slowest === undefined) return "never measured";
  return `median ${number(median)} ms, slowest ${number(slowest)} ms (${sorted.length} times)`;
}
