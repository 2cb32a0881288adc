import { EngramError } from "../../../errors.ts";
import { storeLimits } from "../../../limits.ts";
import { brief } from "../../audit/row.ts";
import { places } from "./look.ts";
import { formatFault, knownFormats } from "../formats.ts";
import type { Reader } from "./reader.ts";
import type { Shard } from "../shards.ts";
import { listOf, numberOf, textOf, textOrNull } from "../values.ts";

/** What the shards say of the store. */
export type FoundStore = {
  readonly ids: readonly (string | null)[];
  /** An engine has once seen all shards to have the identity. */
  readonly isWhole: boolean;
  /** Of each shard, how many agents it lists. */
  readonly agents: readonly number[];
};

/** Fails with failed_precondition on a store of an unknown format. */
export async function findStore({ shards, ask }: Reader): Promise<FoundStore> {
  const { first } = shards;
  const [whole, metas, agents] = await Promise.all([
    ask(first, "HGET", first.store, "whole"),
    Promise.all(shards.all.map((shard) => ask(shard, "HMGET", shard.store, "id", "format"))),
    Promise.all(shards.all.map((shard) => ask(shard, "ZLEXCOUNT", shard.index, "[all:", "(all;"))),
  ]);
  const ids = metas.map((meta) => textOrNull(listOf(meta)[0]));
  // Each shard says what was written in it.
  const formats = metas.map((meta) => listOf(meta)[1]).filter((format) => format !== null);
  const fault = formatFault(knownFormats, Math.max(0, ...formats.map(numberOf)));
  if (fault !== null && formats.length > 0) throw new EngramError("failed_precondition", fault);
  return { ids, isWhole: whole === "1", agents: agents.map(numberOf) };
}

/** What is wrong with the identity of a store, in plain words. */
export function* identityFaults(
  { shards }: Reader,
  { ids, isWhole, agents }: FoundStore,
): Generator<string> {
  const id = ids[shards.first.number] ?? null;
  for (const { number, store } of shards.all) {
    const its = ids[number] ?? null;
    const mayLack = number > 0 && !isWhole && agents[number] === 0;
    if (its === null && !mayLack) yield `${store} does not say which store it is of`;
    else if (its !== null && id !== null && its !== id)
      yield `${store} is of store ${its}, ${shards.first.store} of ${id}`;
  }
}

/** The agents that a shard lists, a page at a time; `fault` is told what else in its index and among its wake times belongs to none. */
export async function* listedIn(
  reader: Reader,
  shard: Shard,
  fault: (text: string) => void,
): AsyncGenerator<readonly string[]> {
  const { shards, ask } = reader;
  const belongs = (agentId: string): boolean => shards.of(agentId) === shard;
  const strange = await Promise.all([
    ask(shard, "ZCOUNT", shard.index, "-inf", "(0"),
    ask(shard, "ZCOUNT", shard.index, "(0", "+inf"),
  ]);
  // Only where all have the same score they stand in the order of their letters.
  if (strange.some((count) => count !== 0)) fault(`${shard.index} has scores that are not 0`);
  for await (const members of indexPages(reader, shard)) {
    const [listed, others]: [string[], string[]] = [[], []];
    for (const member of members) {
      const colon = member.indexOf(":");
      const [place, agentId] = [member.slice(0, colon), member.slice(colon + 1)];
      if (!places.includes(place) || !belongs(agentId))
        fault(`${shard.index} has ${brief(member)}, which does not belong there`);
      else if (place === "all") listed.push(agentId);
      else others.push(member);
    }
    for (const member of await strays(reader, shard, { key: shard.index, members: others }))
      fault(`agent ${idIn(member)}: it is in the index as ${brief(member)}, but not listed`);
    yield listed;
  }
  for await (const members of wakePages(reader, shard))
    for (const agentId of await strays(reader, shard, { key: shard.wake, members }))
      fault(`agent ${brief(agentId)}: it has a wake time, but is not listed`);
}

const idIn = (member: string): string => brief(member.slice(member.indexOf(":") + 1));

async function* indexPages({ ask }: Reader, shard: Shard): AsyncGenerator<readonly string[]> {
  const limit = storeLimits.readEventsMax;
  for (let from = "-"; ;) {
    const range = [from, "+", "LIMIT", "0", `${limit}`];
    const members = listOf(await ask(shard, "ZRANGEBYLEX", shard.index, ...range)).map(textOf);
    if (members.length > 0) yield members;
    if (members.length < limit) return;
    from = `(${members.at(-1) ?? ""}`;
  }
}

/** Each that is there all the time comes once at least, whatever else changes meanwhile. */
async function* wakePages({ ask }: Reader, shard: Shard): AsyncGenerator<readonly string[]> {
  let cursor = "0";
  do {
    const count = `${storeLimits.readEventsMax}`;
    const [next, flat] = listOf(await ask(shard, "ZSCAN", shard.wake, cursor, "COUNT", count));
    yield listOf(flat)
      .map(textOf)
      .filter((_, index) => index % 2 === 0);
    cursor = textOf(next);
  } while (cursor !== "0");
}

/** Those members of a sorted set, each of an agent, whose agents are not listed. */
async function strays(
  { ask }: Reader,
  shard: Shard,
  { key, members }: { readonly key: string; readonly members: readonly string[] },
): Promise<readonly string[]> {
  const listing = (member: string): Promise<unknown> => {
    const agentId = key === shard.wake ? member : member.slice(member.indexOf(":") + 1);
    return ask(shard, "ZSCORE", shard.index, `all:${agentId}`);
  };
  const listed = await Promise.all(members.map(listing));
  const suspects = members.filter((_, index) => listed[index] === null);
  // An agent is listed as long as it is there: what was removed since is no stray.
  const looks = suspects.map(async (member) => {
    const there = (): Promise<unknown> => ask(shard, "ZSCORE", key, member);
    const [before, listedNow, then] = await Promise.all([there(), listing(member), there()]);
    return before !== null && listedNow === null && then !== null;
  });
  const isStray = await Promise.all(looks);
  return suspects.filter((_, index) => isStray[index]);
}
