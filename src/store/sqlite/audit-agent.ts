import { type Stats, statusOf } from "../../agent/state.ts";
import { Fault, type Place } from "./audit-log.ts";
import { birthCheck, draftCheck, headCheck, leaseCheck, specCheck } from "./checks.ts";
import { stateVersion } from "../codec.ts";
import type { Held } from "./rows.ts";

/** An agent's row as it is found. Its columns are used once its checks hold: until then they may be of any type. */
export type FoundAgent = Held & {
  readonly created_at: number;
  readonly request_id: string | null;
  readonly request_digest: string | null;
  readonly birth_check: number;
  readonly spec: string;
  readonly parent: string;
  readonly spec_check: number;
  readonly lease_check: number;
  readonly wake: number | null;
};

/** What `stats` counts, in words. */
const statNames: Readonly<Record<keyof Stats, string>> = {
  steps: "steps",
  toolCalls: "tool calls",
  workedMs: "ms of work",
  promptTokens: "prompt tokens",
  completionTokens: "completion tokens",
  fuelUsed: "fuel",
};

/** That an agent's log ends where and as its row says. Throws Fault. */
export function checkHead(row: FoundAgent, { sequence, hash, state }: Place): void {
  if (state === null) throw new Fault("its log is empty");
  if (row.head !== sequence)
    throw new Fault(`its index row says ${row.head} events, its log ${sequence}`);
  if (!Bun.deepEquals(row.hash, hash))
    throw new Fault(`event ${sequence} is not the one that its index row ends with`);
}

/** That an agent's row is what its log gives, but for its end. Throws Fault. */
export function checkRow(row: FoundAgent, { state }: Place): void {
  checkChecks(row);
  if (state === null) return;
  const says = (what: string, kept: unknown, log: unknown): void => {
    if (!Bun.deepEquals(kept, log))
      throw new Fault(`its index row says ${brief(kept)}${what}, its log ${brief(log)}`);
  };
  // Another version may have folded the log to another state.
  if (row.version !== stateVersion) return;
  says("", row.status, statusOf(state));
  const stats = parsed(row.stats, "stats");
  for (const name of Object.keys(statNames).filter(isStat))
    says(` ${statNames[name]}`, field(stats, name), state.stats[name]);
  says(" as its reason", row.reason, state.reason);
  says(" as its parent", parsed(row.parent, "parent"), state.parent);
  says(" as the time of its creation", row.created_at, state.createdAtMs);
  says(" as the time of its last change", row.updated_at, state.updatedAtMs);
  const spec = parsed(row.spec, "spec");
  for (const [name, value] of Object.entries(state.spec))
    if (!Bun.deepEquals(field(spec, name), value))
      throw new Fault(`its index row has another ${name} than its log`);
}

/** Whether the row's end of the log is what was written. */
export const knowsHead = (row: FoundAgent): boolean => headCheck(row) === row.head_check;

/** That somebody will look at an agent that has work. Throws Fault. */
export function checkWake({ status, wake }: FoundAgent): void {
  if (status === "waiting_for_step" && wake === null)
    throw new Fault("it waits for a step, but has no wake time");
}

function checkChecks(row: FoundAgent): void {
  const groups = [
    ["its index row was changed: who it is, or when it was made", birthCheck(row), row.birth_check],
    ["its index row was changed: its goal, settings or parent", specCheck(row), row.spec_check],
    ["its index row was changed: its status, place or counts", headCheck(row), row.head_check],
    ["its index row was changed: who drives it", leaseCheck(row), row.lease_check],
    ["its draft was changed", draftCheck(row), row.draft_check],
  ] as const;
  for (const [fault, found, kept] of groups) if (found !== kept) throw new Fault(fault);
}

const isStat = (name: string): name is keyof Stats => Object.hasOwn(statNames, name);

const field = (value: unknown, name: string): unknown =>
  typeof value === "object" && value !== null
    ? Object.getOwnPropertyDescriptor(value, name)?.value
    : undefined;

const shownCharsMax = 60;

/** A stored value as a message can show it. */
function brief(value: unknown): string {
  const text = (typeof value === "string" && value) || (JSON.stringify(value) ?? "nothing");
  return text.length > shownCharsMax ? `${text.slice(0, shownCharsMax)}...` : text;
}

function parsed(json: unknown, column: string): unknown {
  try {
    return JSON.parse(String(json));
  } catch {
    throw new Fault(`its index row was changed: its ${column} cannot be read`);
  }
}
