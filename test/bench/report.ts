/** A bar that a figure must not pass; null: it could not be measured here. */
export type Goal = {
  readonly name: string;
  readonly figure: number | null;
  readonly atMost: number;
  readonly unit: string;
};

/** Where a group prints what it measured. */
export type Report = {
  line(text: string): void;
  /** The first column is text, the others are figures. */
  table(head: readonly string[], rows: readonly (readonly string[])[]): void;
  goal(goal: Goal): void;
  /** Goals that were missed or could not be measured. */
  readonly unmet: readonly Goal[];
};

const padded = (row: readonly string[], widths: readonly number[]): string =>
  row
    .map((cell, at) => (at === 0 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0)))
    .join("  ");

const verdict = ({ figure, atMost }: Goal): string => {
  if (figure === null) return "NOT MEASURED";
  return figure <= atMost ? "ok" : "MISSED";
};

/** A report on stdout. */
export const openReport = (): Report => {
  const unmet: Goal[] = [];
  const line = (text: string): void => console.log(text);
  return {
    line,
    table: (head, rows) => {
      const all = [head, ...rows];
      const widths = head.map((_, at) => Math.max(...all.map((row) => row[at]?.length ?? 0)));
      for (const row of all) line(`  ${padded(row, widths)}`);
      line("");
    },
    goal: (goal) => {
      const { name, figure, atMost, unit } = goal;
      const result = verdict(goal);
      if (result !== "ok") unmet.push(goal);
      const bar = `at most ${atMost} ${unit}`;
      line(`  goal  ${name}: ${bar}, is ${figure?.toFixed(2) ?? "unknown"}: ${result}`);
    },
    unmet,
  };
};
