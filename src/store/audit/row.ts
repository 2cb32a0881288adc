import { type AgentState, type Stats, statusOf } from "../../agent/state.ts";
import { Fault, type Place } from "./log.ts";

/** What `stats` counts, in words. */
const statNames: Readonly<Record<keyof Stats, string>> = {
  steps: "steps",
  toolCalls: "tool calls",
  workedMs: "ms of work",
  promptTokens: "prompt tokens",
  completionTokens: "completion tokens",
  fuelUsed: "fuel",
};

/** That an agent's log ends where and as its index row says. Throws Fault. */
export function checkHead(
  row: { readonly head: number; readonly hash: unknown },
  { sequence, hash, state }: Place,
): void {
  if (state === null) throw new Fault("its log is empty");
  if (row.head !== sequence)
    throw new Fault(`its index row says ${row.head} events, its log ${sequence}`);
  if (!Bun.deepEquals(row.hash, hash))
    throw new Fault(`event ${sequence} is not the one that its index row ends with`);
}

/** What an index row says of an agent, as it is found. */
export type FoundFacts = Readonly<
  Record<"status" | "reason" | "stats" | "parent" | "createdAtMs" | "updatedAtMs" | "spec", unknown>
>;

/** That an index row says what the log gives. Throws Fault. */
export function checkFacts(facts: FoundFacts, state: AgentState): void {
  const says = (what: string, kept: unknown, log: unknown): void => {
    if (!Bun.deepEquals(kept, log))
      throw new Fault(`its index row says ${brief(kept)}${what}, its log ${brief(log)}`);
  };
  says("", facts.status, statusOf(state));
  for (const name of Object.keys(statNames).filter(isStat))
    says(` ${statNames[name]}`, field(facts.stats, name), state.stats[name]);
  says(" as its reason", facts.reason, state.reason);
  says(" as its parent", facts.parent, state.parent);
  says(" as the time of its creation", facts.createdAtMs, state.createdAtMs);
  says(" as the time of its last change", facts.updatedAtMs, state.updatedAtMs);
  for (const [name, value] of Object.entries(state.spec))
    if (!Bun.deepEquals(field(facts.spec, name), value))
      throw new Fault(`its index row has another ${name} than its log`);
}

const isStat = (name: string): name is keyof Stats => Object.hasOwn(statNames, name);

/** A field of what may be anything. */
export const field = (value: unknown, name: string): unknown =>
  typeof value === "object" && value !== null
    ? Object.getOwnPropertyDescriptor(value, name)?.value
    : undefined;

const shownCharsMax = 60;

/** A stored value as a message can show it. */
export function brief(value: unknown): string {
  const text = (typeof value === "string" && value) || (JSON.stringify(value) ?? "nothing");
  return text.length > shownCharsMax ? `${text.slice(0, shownCharsMax)}...` : text;
}

/** What a part of an index row says. Throws Fault. */
export function parsed(json: unknown, part: string): unknown {
  try {
    return JSON.parse(String(json));
  } catch {
    throw new Fault(`its index row was changed: its ${part} cannot be read`);
  }
}
