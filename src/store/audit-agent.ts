import { type Stats, statusOf } from "../agent/state.ts";
import { Fault, type Place } from "./audit-log.ts";

/** An agent's row as it is found. */
export type FoundAgent = {
  readonly id: number;
  readonly agent_id: string;
  readonly created_at: unknown;
  readonly updated_at: unknown;
  readonly status: unknown;
  readonly reason: unknown;
  readonly head: number;
  readonly hash: unknown;
  readonly stats: unknown;
  readonly spec: unknown;
  readonly parent: unknown;
  readonly wake: unknown;
  readonly draft_call: unknown;
  readonly draft_pieces: unknown;
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

/** That an agent's row is what its log gives. Throws Fault. */
export function checkRow(row: FoundAgent, { sequence, hash, state }: Place): void {
  if (state === null) throw new Fault("its log is empty");
  if (!Bun.deepEquals(row.hash, hash))
    throw new Fault(`its index row does not have the hash of event ${sequence}`);
  const says = (what: string, kept: unknown, log: unknown): void => {
    if (!Bun.deepEquals(kept, log))
      throw new Fault(`its index row says ${brief(kept)}${what}, its log ${brief(log)}`);
  };
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
  if (statusOf(state) === "waiting_for_step" && typeof row.wake !== "number")
    throw new Fault("it waits for a step, but has no wake time");
}

const isStat = (name: string): name is keyof Stats => Object.hasOwn(statNames, name);

const field = (value: unknown, name: string): unknown =>
  typeof value === "object" && value !== null
    ? Object.getOwnPropertyDescriptor(value, name)?.value
    : undefined;

const shownCharsMax = 60;

/** A stored value as a message can show it. */
export function brief(value: unknown): string {
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
