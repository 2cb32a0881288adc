import type { ClientCounts } from "./client.ts";
import { number, type Row } from "./rows.ts";
import type { StoryCounts } from "./stories.ts";
import type { Found } from "./subject.ts";
import type { Counts } from "./witness.ts";
import { tortureLimits } from "./torture-limits.ts";

/** Everything that is told at the end. */
export type Outcome = {
  readonly seed: number;
  readonly seconds: number;
  readonly clients: number;
  readonly agents: number;
  /** What was done to the engines. */
  readonly deeds: readonly Row[];
  readonly calls: ClientCounts;
  readonly stories: StoryCounts;
  readonly seen: Counts & { readonly toolResults: number };
  /** What the looks at the store itself came to. */
  readonly verified: readonly Row[];
  readonly found: readonly Found[];
};

/** The report, a line for each thing that was counted. */
export function reportText(outcome: Outcome): string {
  const { calls, stories, seen } = outcome;
  const rows: readonly Row[] = [
    ["seed", String(outcome.seed)],
    ["time", `${number(outcome.seconds)} s`],
    ...outcome.deeds,
    ["clients", number(outcome.clients)],
    ["agents", number(outcome.agents)],
    ["turns", number(stories.turns)],
    ["messages acknowledged", number(calls.acknowledged)],
    ["events seen", number(seen.events)],
    ["deltas seen", `${number(seen.deltas)}, ${number(seen.bytes)} bytes`],
    ["tool results", number(seen.toolResults)],
    ["reconnects", number(calls.reconnects)],
    ["calls tried again", number(calls.retries)],
    [
      "streams left by clients",
      `${number(calls.drops + calls.silences)}, ${number(calls.silences)} of them because they were silent`,
    ],
    [
      "answers begun anew",
      `${number(seen.begunAnew)}, by models that cannot go on, or in mid-thought`,
    ],
    [
      "agents set going again",
      `${number(stories.revived)}, whose step three kills in a row had hit`,
    ],
    ...outcome.verified,
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
