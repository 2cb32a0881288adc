import { redisLimits, turnLimits } from "../../limits.ts";
import { wakes } from "../hints.ts";
import type { Base } from "./base.ts";
import { firstOf } from "./merge.ts";
import { scripts } from "./scripts.ts";
import type { Shard } from "./shards.ts";
import { listOf, numberOf, textOf } from "./values.ts";
import type { Holder, Lease, LeaseWish, Store } from "../store.ts";

/** A lease as the scripts give it; null: none was. */
export function leaseOf(agentId: string, reply: unknown): Lease | null {
  if (!Array.isArray(reply)) return null;
  const [epoch, claims, recovered, workedMs] = listOf(reply).map(numberOf);
  return {
    agentId,
    epoch: epoch ?? 0,
    claims: claims ?? 0,
    recovered: recovered === 1,
    workedMs: workedMs ?? 0,
  };
}

const nobody: ReadonlySet<string> = new Set();

export const leases = (base: Base): Pick<Store, "claim" | "renew" | "release" | "nextWakeMs"> => ({
  claim: async (wish, nowMs, limit, skip = nobody) => {
    if (limit === 0) return [];
    const most = limit + redisLimits.triedAgentsMax + skip.size;
    const due = (await dueAgents(base, nowMs, most)).filter((agentId) => !skip.has(agentId));
    const trusted = { wish, nowMs, claimsBelow: turnLimits.claimsTrusted };
    const taken: Lease[] = [];
    const refused: Tried[] = [];
    for (let at = 0; at < due.length && taken.length < limit;) {
      const ids = due.slice(at, at + limit - taken.length);
      at += ids.length;
      const { leases: more, tried } = await claimEach(base, ids, trusted);
      taken.push(...more);
      refused.push(...tried);
    }
    const [least] = refused.toSorted((a, b) => a.claims - b.claims);
    if (taken.length === 0 && least !== undefined) {
      const anyone = { wish, nowMs, claimsBelow: Infinity };
      taken.push(...(await claimEach(base, [least.agentId], anyone)).leases);
    }
    base.hints.send(wakes);
    return taken;
  },
  renew: async (holders, untilMs) => {
    const held = new Map<string, readonly Holder[]>();
    // Of several leases of one agent the newest counts.
    for (const holder of holders)
      held.set(holder.agentId, [...(held.get(holder.agentId) ?? []), holder]);
    const ids = byShard(base, [...held.keys()]);
    const stale = await fromAny(
      ids.map(([shard, agents]) => {
        const those = agents.flatMap((agentId) => held.get(agentId) ?? []);
        return renewIn(base, shard, those, untilMs);
      }),
    );
    const gone = new Set(stale.flat());
    return holders.filter((holder) => gone.has(holder)).map(({ agentId }) => agentId);
  },
  release: async ({ agentId, epoch, workedMs }, after, wakeAtMs) => {
    const shard = base.shards.of(agentId);
    const reply = listOf(
      await base.run(shard, scripts.release, {
        keys: [shard.agent(agentId), shard.wake, shard.index, shard.channel],
        args: [
          agentId,
          `${epoch}`,
          `${workedMs}`,
          `${after ?? ""}`,
          `${wakeAtMs ?? ""}`,
          ...base.telling(shard),
        ],
      }),
    );
    if (reply[0] === "conflict") return false;
    base.hints.send(wakes);
    return true;
  },
  nextWakeMs: (skip = nobody) =>
    base.hints.asking(async () => {
      // One more than can be passed over.
      const last = `${skip.size}`;
      const firsts = await fromAny(
        base.shards.all.map((shard) =>
          base.ask(shard, "ZRANGE", shard.wake, "0", last, "WITHSCORES"),
        ),
      );
      const times = firsts.flatMap((reply) => wakesIn(reply, skip).slice(0, 1));
      return times.length === 0 ? null : Math.min(...times);
    }),
});

/** The wake times in an answer of agents with theirs, but of those to be passed over. */
function wakesIn(reply: unknown, skip: ReadonlySet<string>): readonly number[] {
  const flat = listOf(reply);
  const times: number[] = [];
  for (let at = 0; at < flat.length; at += 2)
    if (!skip.has(textOf(flat[at]))) times.push(numberOf(flat[at + 1]));
  return times;
}

/**
 * What came of those that succeeded. A server of a Cluster that is down leaves its own agents where they are, and the
 * others' work goes on; hints tell when it is back. Fails where all have failed.
 */
async function fromAny<T>(asked: readonly Promise<T>[]): Promise<readonly T[]> {
  const outcomes = await Promise.allSettled(asked);
  const found = outcomes.flatMap((it) => (it.status === "fulfilled" ? [it.value] : []));
  const failed = outcomes.find((it) => it.status === "rejected");
  if (found.length === 0 && failed !== undefined) throw failed.reason;
  return found;
}

/** Those longest due first, of all shards; among equals, those that sort first. */
async function dueAgents(base: Base, nowMs: number, limit: number): Promise<readonly string[]> {
  type Due = { readonly agentId: string; readonly wakeAtMs: number };
  const failures: unknown[] = [];
  const sources = base.shards.all.map((shard) => {
    let given = 0;
    return async (_after: Due | null, count: number): Promise<readonly Due[]> => {
      const range = ["-inf", `${nowMs}`, "WITHSCORES", "LIMIT", `${given}`, `${count}`];
      // Of a server that is down nobody can be claimed.
      const [reply] = await Promise.allSettled([
        base.ask(shard, "ZRANGEBYSCORE", shard.wake, ...range),
      ]);
      if (reply.status === "rejected") failures.push(reply.reason);
      const flat = reply.status === "fulfilled" ? listOf(reply.value) : [];
      const found: Due[] = [];
      for (let at = 0; at < flat.length; at += 2)
        found.push({ agentId: textOf(flat[at]), wakeAtMs: numberOf(flat[at + 1]) });
      given += found.length;
      return found;
    };
  });
  const first = firstOf(sources, (a, b) =>
    a.wakeAtMs === b.wakeAtMs ? a.agentId < b.agentId : a.wakeAtMs < b.wakeAtMs,
  );
  const due = await first.take(limit);
  if (failures.length >= base.shards.all.length) throw failures[0];
  return due.map(({ agentId }) => agentId);
}

function byShard(base: Base, agentIds: readonly string[]): [Shard, string[]][] {
  const of = new Map<Shard, string[]>();
  for (const agentId of agentIds) {
    const shard = base.shards.of(agentId);
    const ids = of.get(shard) ?? [];
    of.set(shard, ids);
    ids.push(agentId);
  }
  return [...of];
}

type ClaimWish = {
  readonly wish: LeaseWish;
  readonly nowMs: number;
  /** Who was claimed in vain that often is refused. */
  readonly claimsBelow: number;
};

/** An agent that was refused, and how often it was claimed in vain. */
type Tried = { readonly agentId: string; readonly claims: number };

type Claimed = { readonly leases: readonly Lease[]; readonly tried: readonly Tried[] };

/** Leases those that are still due, in the order given: another engine may have been quicker. */
async function claimEach(
  base: Base,
  ids: readonly string[],
  claimWish: ClaimWish,
): Promise<Claimed> {
  const found = new Map(
    (
      await fromAny(byShard(base, ids).map(([shard, of]) => claimIn(base, shard, of, claimWish)))
    ).flat(),
  );
  return {
    leases: ids.flatMap((agentId) => leaseOf(agentId, found.get(agentId)) ?? []),
    tried: ids.flatMap((agentId) => {
      const claims = found.get(agentId);
      return typeof claims === "number" ? [{ agentId, claims }] : [];
    }),
  };
}

/** Of each agent what the script answers: its lease, how often it was claimed where it is refused, or nothing. */
async function claimIn(
  base: Base,
  shard: Shard,
  ids: readonly string[],
  { wish, nowMs, claimsBelow }: ClaimWish,
): Promise<readonly (readonly [string, unknown])[]> {
  const below = claimsBelow === Infinity ? "inf" : `${claimsBelow}`;
  const reply = await base.run(shard, scripts.claim, {
    keys: [shard.wake, shard.index, shard.channel, ...ids.map(shard.agent)],
    args: [wish.worker, `${wish.untilMs}`, `${nowMs}`, below, ...base.telling(shard), ...ids],
  });
  const answers = listOf(reply);
  return ids.map((agentId, index) => [agentId, answers[index]] as const);
}

/** The stale ones. */
async function renewIn(
  base: Base,
  shard: Shard,
  holders: readonly Holder[],
  untilMs: number,
): Promise<readonly Holder[]> {
  const reply = await base.run(shard, scripts.renew, {
    keys: [shard.wake, ...holders.map(({ agentId }) => shard.agent(agentId))],
    args: [
      `${untilMs}`,
      ...holders.flatMap(({ agentId, epoch, workedMs }) => [agentId, `${epoch}`, `${workedMs}`]),
    ],
  });
  const kept = listOf(reply);
  return holders.filter((_, index) => kept[index] !== 1);
}
