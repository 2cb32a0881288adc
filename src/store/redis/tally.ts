import type { Status } from "../../agent/state.ts";
import { redisLimits } from "../../limits.ts";
import type { Base } from "./base.ts";
import { scripts } from "./scripts.ts";
import type { Shard } from "./shards.ts";
import { listOf, numberOf, textOf } from "./values.ts";
import type { Tally } from "../store.ts";
import { noAgents } from "../tally.ts";

/** Where the index has agents of a status; those that workers hold stand apart. */
const places = {
  waiting_for_step: "waiting_for_step",
  held: "processing",
  waiting_for_input: "waiting_for_input",
  waiting_for_confirmation: "waiting_for_confirmation",
  paused: "paused",
  completed: "completed",
  failed: "failed",
  canceled: "canceled",
} as const satisfies Record<string, Status>;

type Part = Tally & { readonly shard: Shard; readonly held: readonly string[] };

/**
 * Counts by the order of the sorted sets alone, whatever their size. Only the agents that workers hold are looked at one
 * by one, since a lease may have run out: as many as there are steps under way. Fails where a server is down, as the rest
 * would be a wrong number.
 */
export async function tallyAgents(base: Base, nowMs: number): Promise<Tally> {
  const parts = await Promise.all(base.shards.all.map((shard) => countIn(base, shard, nowMs)));
  const expired = await Promise.all(parts.map((part) => expiredIn(base, part, nowMs)));
  const agents = noAgents();
  for (const part of parts)
    for (const status of Object.values(places)) agents[status] += part.agents[status];
  for (const count of expired) {
    agents.processing -= count;
    agents.waiting_for_step += count;
  }
  const since = parts.flatMap(({ dueSinceMs }) => dueSinceMs ?? []);
  return {
    agents,
    due: parts.reduce((sum, { due }) => sum + due, 0),
    dueSinceMs: since.length === 0 ? null : Math.min(...since),
  };
}

async function countIn(base: Base, shard: Shard, nowMs: number): Promise<Part> {
  const reply = await base.run(shard, scripts.tally, {
    keys: [shard.index, shard.wake],
    args: [`${nowMs}`, `${redisLimits.heldLooksMax}`, ...Object.keys(places)],
  });
  const [counts, due, first, held] = listOf(reply);
  const found = listOf(counts).map(numberOf);
  const agents = noAgents();
  for (const [at, status] of Object.values(places).entries()) agents[status] = found[at] ?? 0;
  return {
    shard,
    agents,
    due: numberOf(due),
    dueSinceMs: numberOf(due) === 0 ? null : numberOf(first),
    held: listOf(held).map((member) => textOf(member).slice("held:".length)),
  };
}

async function expiredIn(base: Base, { shard, held }: Part, nowMs: number): Promise<number> {
  if (held.length === 0) return 0;
  const keys = held.map(shard.agent);
  return numberOf(await base.run(shard, scripts.expired, { keys, args: [`${nowMs}`] }));
}
