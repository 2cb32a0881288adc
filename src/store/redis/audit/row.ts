import { type AgentState, isStatus } from "../../../agent/state.ts";
import { Fault, type Place } from "../../audit/log.ts";
import { checkFacts, checkHead, field, parsed } from "../../audit/row.ts";
import { stateVersion } from "../../codec.ts";
import type { Reader } from "./reader.ts";
import { infoOf, specOf } from "../row.ts";
import { hashOf, listOf, textOrNull } from "../values.ts";

const names = [
  "head",
  "hash",
  "status",
  "info",
  "spec",
  "request",
  "worker",
  "lease",
  "epoch",
  "claims",
  "worked",
  "draft",
  "draftAt",
  "snapshotAt",
] as const;

type Name = (typeof names)[number];

/** What an agent's hash says, but for its snapshot, as it is found. */
export type FoundRow = ReadonlyMap<Name, string>;

/** null: there is no such agent. */
export async function findRow({ shards, ask }: Reader, agentId: string): Promise<FoundRow | null> {
  const shard = shards.of(agentId);
  const values = listOf(await ask(shard, "HMGET", shard.agent(agentId), ...names));
  const row = new Map<Name, string>();
  for (const [index, name] of names.entries()) {
    const value = textOrNull(values[index]);
    if (value !== null) row.set(name, value);
  }
  return row.has("head") ? row : null;
}

/** Throws Fault. */
export function textIn(row: FoundRow, name: Name): string {
  const text = row.get(name);
  if (text === undefined) throw new Fault(`its index row was changed: its ${name} is missing`);
  return text;
}

/** A whole number as the store writes it. Throws Fault. */
export function numberIn(row: FoundRow, name: Name): number {
  const number = wholeNumber(textIn(row, name));
  if (number === null) throw new Fault(`its index row was changed: its ${name} is no number`);
  return number;
}

/** null: where the row does not say. Throws Fault. */
export const numberOrNull = (row: FoundRow, name: Name): number | null =>
  row.has(name) ? numberIn(row, name) : null;

/** null: text that is none, or not as the store writes it. */
export const wholeNumber = (text: string): number | null =>
  /^(?:0|[1-9]\d{0,15})$/.test(text) ? Number(text) : null;

/** That an agent's row is what its log gives. Throws Fault. */
export function checkRow(row: FoundRow, place: Place): void {
  checkHead({ head: numberIn(row, "head"), hash: hashOf(textIn(row, "hash")) }, place);
  if (!isStatus(textIn(row, "status"))) throw new Fault("its index row was changed: its status");
  const info = parsed(textIn(row, "info"), "info");
  const spec = parsed(textIn(row, "spec"), "spec");
  const { state } = place;
  // Another version may have folded the log to another state.
  if (state !== null && versionIn(info) === stateVersion)
    checkAll(row, { info: completed(info, state), spec }, state);
  for (const name of ["epoch", "claims"] as const) numberIn(row, name);
  // An agent that came from a file may have worked a part of a millisecond.
  if (!(Number(textIn(row, "worked")) >= 0))
    throw new Fault("its index row was changed: its worked is no time");
  if (textIn(row, "worker") === "" && numberIn(row, "lease") !== 0)
    throw new Fault("nobody drives it, but it has a lease");
}

const versionIn = (info: unknown): unknown => field(info, "version") ?? 1;

/** The first engines said no version, and of a creation not when its last event was but when they wrote it. */
const completed = (info: unknown, { updatedAtMs }: AgentState): unknown =>
  field(info, "version") === undefined ? { ...Object(info), version: 1, updatedAtMs } : info;

function checkAll(
  row: FoundRow,
  { info, spec }: { readonly info: unknown; readonly spec: unknown },
  state: AgentState,
): void {
  checkFacts(
    {
      status: row.get("status"),
      reason: field(info, "reason"),
      stats: field(info, "stats"),
      parent: field(spec, "parent"),
      createdAtMs: field(info, "createdAtMs"),
      updatedAtMs: field(info, "updatedAtMs"),
      spec: field(spec, "spec"),
    },
    state,
  );
  const same = (kept: unknown, json: string): boolean => Bun.deepEquals(kept, JSON.parse(json));
  if (!same(info, infoOf(state)) || !same(spec, specOf(state)))
    throw new Fault("its index row says more than its log gives");
}
