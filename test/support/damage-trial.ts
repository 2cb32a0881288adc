import { Database } from "bun:sqlite";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { EngramError, messageOf } from "../../src/errors.ts";
import { makeKnownDamage } from "../../src/store/sqlite/damage.ts";
import { openReads } from "../../src/store/sqlite/reads.ts";
import {
  agentIds,
  contents,
  copyStore,
  type Logged,
  openStore,
  type Readable,
  scratch,
  type Seen,
  seenOf,
  verified,
} from "./damage.ts";

/** Everything that clients see of a store. */
type View = {
  readonly agents: ReadonlyMap<string, Seen>;
  readonly listed: readonly string[];
};

const refused = "refused: corrupt";

async function viewOf(store: Readable): Promise<View> {
  const agents = new Map<string, Seen>();
  for (const agentId of agentIds) agents.set(agentId, await seenOf(store, agentId));
  return { agents, listed: await listedBy(store) };
}

async function listedBy(store: Readable): Promise<readonly string[]> {
  try {
    const rows = await store.list({ status: null, limit: 50, beforeAgentId: null }, 0);
    return rows.map((row) => JSON.stringify({ ...row, status: "" }));
  } catch (error) {
    if (error instanceof EngramError && error.code === "corrupt") return ["nothing"];
    throw error;
  }
}

/** What an engine shows; the reason where it does not start. */
async function servedView(folder: string, logs: Logged[] = []): Promise<View | string> {
  let store;
  try {
    store = openStore(folder, logs);
  } catch (error) {
    if (error instanceof EngramError) return error.message;
    throw error;
  }
  try {
    return await viewOf(store);
  } finally {
    await store.close();
  }
}

/** What the reading half shows that nobody has warned, as while a large store is still walked. */
async function unwarnedView(folder: string): Promise<View | string> {
  const db = new Database(join(folder, "engram.db"), { strict: true });
  try {
    const reads = openReads(
      db,
      makeKnownDamage(() => {}),
    );
    try {
      return await viewOf(reads);
    } finally {
      reads.finalize();
    }
  } catch (error) {
    return messageOf(error);
  } finally {
    db.close(true);
  }
}

export type Sample = {
  readonly folder: string;
  readonly contents: string;
  readonly view: View;
};

/** A store as it is before any damage. */
export async function sampleOf(folder: string): Promise<Sample> {
  const place = scratch();
  copyStore(folder, place);
  const held = contents(place);
  const view = await servedView(place);
  if (typeof view === "string") throw new Error(`the sample does not open: ${view}`);
  return { folder, contents: held, view };
}

/** What came of a damage, and what of it must not be. */
export type Trial = { readonly kind: string; readonly problems: readonly string[] };

/** Damages a copy of the sample and looks what verify says, what an engine serves, and what a reader without a warning is shown. */
export async function tryDamage(
  sample: Sample,
  place: string,
  damage: (place: string) => void,
): Promise<Trial> {
  copyStore(sample.folder, place);
  damage(place);
  const problems: string[] = [];
  const differs = contentsIn(place) !== sample.contents;
  const faults = verified(place);
  if (differs && faults.length === 0) problems.push("verify is silent about a changed row");
  const logs: Logged[] = [];
  const served = await servedView(place, logs);
  // A large store is opened before its structure is looked at.
  if (typeof served !== "string" || served.includes("may spread")) {
    copyStore(sample.folder, place);
    damage(place);
    const unwarned = await unwarnedView(place);
    if (typeof unwarned !== "string")
      problems.push(
        ...shownOf(unwarned, sample.view).changed.filter((what) => !what.endsWith(" is absent")),
      );
  }
  if (typeof served === "string") {
    if (faults.length === 0) problems.push(`verify is silent, but no engine starts: ${served}`);
    if (served.includes("\n")) problems.push("the refusal has more than one line");
    return { kind: "refused to start", problems };
  }
  const { changed, refusals } = shownOf(served, sample.view);
  problems.push(...changed);
  if (refusals > 0 && faults.length === 0) problems.push("verify is silent about a refused agent");
  if (
    refusals > 0 &&
    !logs.some(({ level, message }) => level === "error" && /verify/.test(message))
  )
    problems.push("a refused agent is not in the log");
  if (served.listed.includes("nothing")) return { kind: "no listing", problems };
  const kind = refusals > 0 ? "agent refused" : faults.length > 0 ? "found" : "harmless";
  return { kind, problems };
}

function contentsIn(place: string): string {
  try {
    return contents(place);
  } catch (error) {
    return messageOf(error);
  }
}

/** What is shown otherwise than it was, and how many agents are refused. */
function shownOf(
  now: View,
  before: View,
): { readonly changed: string[]; readonly refusals: number } {
  const changed: string[] = [];
  let refusals = 0;
  for (const [agentId, was] of before.agents) {
    const is = now.agents.get(agentId) ?? {};
    for (const [part, value] of Object.entries(was))
      if (is[part] !== value && is[part] !== refused)
        changed.push(`${agentId}'s ${part} ${whatOf(part, is[part], value)}`);
    if (Object.values(is).includes(refused)) refusals++;
  }
  for (const row of now.listed)
    if (!before.listed.includes(row) && row !== "nothing")
      changed.push(`listed as ${row.slice(0, 200)}`);
  return { changed, refusals };
}

/** What is found by a key is absent where the key was changed; nothing but the whole walk can find that. */
function whatOf(part: string, now: string | undefined, before: string): string {
  const isPart =
    part === "marks" &&
    now?.startsWith("[") === true &&
    listOf(now).every((item) => listOf(before).includes(item));
  if (now === "null" || now === '{"status":""}' || now === "refused: not_found" || isPart)
    return "is absent";
  return `is shown as ${now?.slice(0, 200)}`;
}

const listOf = (json: string): readonly string[] =>
  JSON.parse(json).map((item: unknown) => JSON.stringify(item));

/** Turns one bit of a file around. */
export function flip(path: string, at: number, bit: number): void {
  const bytes = readFileSync(path);
  bytes.writeUInt8(bytes.readUInt8(at) ^ (1 << bit), at);
  writeFileSync(path, bytes);
}

/** The same numbers for the same seed. */
export function randomOf(seed: number): (below: number) => number {
  let state = Math.imul(seed + 1, 2_654_435_761);
  return (below) => {
    state = (state + 0x9e_37_79_b9) | 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x85_eb_ca_6b);
    mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2_b2_ae_35);
    return ((mixed ^ (mixed >>> 16)) >>> 0) % below;
  };
}
