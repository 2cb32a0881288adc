import { type Mark, marksOf } from "../../agent/mark.ts";
import { encodeEvent, genesisHash } from "../codec.ts";
import { chained, type Placed } from "../staging.ts";
import type { Head } from "./heads.ts";
import type { Dated } from "../store.ts";

/** Events and marks as the scripts take them, and the head behind them. */
export type Chained = {
  readonly args: readonly string[];
  readonly hash: Uint8Array;
  readonly head: Head;
};

export const beginning = (agentId: string): Head => ({
  sequence: 0,
  hash: genesisHash(agentId).toHex(),
});

export function chainedPage(
  from: Head,
  events: readonly Placed[],
  marks: readonly Mark[],
): Chained {
  const first = Uint8Array.fromHex(from.hash);
  const hashes = chained(first, from.sequence, events);
  const hash = hashes.at(-1) ?? first;
  const args = [`${events.length}`];
  for (const [index, { atMs, body }] of events.entries())
    args.push(`${atMs}`, body, hashes[index]?.toHex() ?? "");
  args.push(`${marks.length}`);
  for (const { key, sequence, digest } of marks) args.push(key, `${sequence} ${digest}`);
  const head: Head = { sequence: from.sequence + events.length, hash: hash.toHex() };
  return { args, hash, head };
}

export function chainedEvents(from: Head, events: readonly Dated[]): Chained {
  const placed = events.map(({ atMs, event }) => ({ atMs, body: encodeEvent(event) }));
  const facts = events.map(({ event }) => event);
  return chainedPage(from, placed, marksOf(facts, from.sequence));
}
