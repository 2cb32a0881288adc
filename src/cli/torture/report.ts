import { tortureLimits } from "../../limits.ts";
import type { ClientCounts } from "./client.ts";
import type { LivesCounts } from "./engine.ts";
import type { StoryCounts } from "./stories.ts";
import type { Found } from "./subject.ts";
import type { Counts } from "./witness.ts";

/** Everything that is told at the end. */
export type Outcome = {
  readonly seed: number;
  readonly seconds: number;
  readonly clients: number;
  readonly agents: number;
  readonly lives: LivesCounts;
  readonly calls: ClientCounts;
  readonly stories: StoryCounts;
  readonly seen: Counts & { readonly toolResults: number };
  readonly goingMs: readonly number[];
  /** What `engram verify` said at its end. */
  readonly verified: string;
  readonly found: readonly Found[];
};

const number = (value: number): string => Math.round(value).toLocaleString("en-US");

/** The slowest and the median of some times. */
function times(values: readonly number[]): string {
  const sorted = values.toSorted((a, b) => a - b);
  const [median, slowest] = [sorted[Math.floor(sorted.length / 2)], sorted.at(-1)];
  if (median === undefined || slowest === undefined) return "never measured";
  return `median ${number(median)} ms, slowest ${number(slowest)} ms (${sorted.length} times)`;
}

/** The report, a line for each thing that was counted. */
export function reportText(outcome: Outcome): string {
  const { lives, calls, stories, seen } = outcome;
  const rows: readonly (readonly [string, string])[] = [
    ["seed", String(outcome.seed)],
    ["time", `${number(outcome.seconds)} s`],
    [
      "kills",
      `${number(lives.kills)}, ${number(lives.killsAtStart)} of them before the engine was ready`,
    ],
    ["stops by SIGTERM", number(lives.stops)],
    ["starts", number(lives.starts)],
    ["start to ready", times(lives.readyMs)],
    ["ready to all going again", times(outcome.goingMs)],
    ["clients", number(outcome.clients)],
    ["agents", number(outcome.agents)],
    ["turns", number(stories.turns)],
    ["messages acknowledged", number(calls.acknowledged)],
    ["events seen", number(seen.events)],
    ["deltas seen", `${number(seen.deltas)}, ${number(seen.bytes)} bytes`],
    ["tool results", number(seen.toolResults)],
    ["reconnects", number(calls.reconnects)],
    ["calls tried again", number(calls.retries)],
    ["connections dropped by clients", number(calls.drops)],
    [
      "answers begun anew",
      `${number(seen.begunAnew)}, by models that cannot go on, or in mid-thought`,
    ],
    [
      "agents set going again",
      `${number(stories.revived)}, whose step three kills in a row had hit`,
    ],
    ["engram verify", outcome.verified],
    ["violations", number(outcome.found.length)],
  ];
  return rows.map(([name, value]) => `  ${name.padEnd(32)}${value}\n`).join("");
}

/** A violation in a line. */
export const violationText = ({ rule, detail, agentId }: Found): string =>
  `violation: ${rule}${agentId === "" ? "" : ` (agent ${agentId})`}: ${detail}\n`;

/** The first violations, each with what its client heard before. */
export function violationsText(found: readonly Found[]): string {
  const shown = found.slice(0, tortureLimits.shownViolations);
  const blocks = shown.map(
    (violation) =>
      `\n${violationText(violation)}${violation.trace.map((line) => `    ${line}\n`).join("")}`,
  );
  const more = found.length - shown.length;
  return `${blocks.join("")}${more > 0 ? `\nand ${number(more)} more\n` : ""}`;
}
