import { redisLimits, turnLimits } from "../../limits.ts";
import type { Base } from "./base.ts";
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
    const trusted = { wish, nowMs, claimsBelow: turnLimits.claimsTrusted };
    const taken: Lease[] = [];
    const refused: Tried[] = [];
    const passed = new Set(skip);
    for (let isMore = true; isMore && taken.length < limit;) {
      // Looked for anew each time: whom another engine has taken is not due any more.
      const count = limit - taken.length + passed.size;
      const due = await firstToWake(base, nowMs, count);
      const fresh = due.filter(({ agentId }) => !passed.has(agentId));
      const ids = fresh.slice(0, limit - taken.length).map(({ agentId }) => agentId);
      const { leases: more, tried } = await claimEach(base, ids, trusted);
      taken.push(...more);
      refused.push(...tried);
      for (const agentId of ids) passed.add(agentId);
      for (const { agentId } of more) passed.delete(agentId);
      const left = skip.size + redisLimits.triedAgentsMax - passed.size;
      isMore = due.length === count && left > 0;
    }
    const [least] = refused.toSorted((a, b) => a.claims - b.claims);
    if (taken.length === 0 && least !== undefined && wish.trustedOnly !== true) {
      const anyone = { wish, nowMs, claimsBelow: Infinity };
      taken.push(...(await claimEach(base, [least.agentId], anyone)).leases);
    }
    if (taken.length > 0) base.hints.woken(wish.untilMs);
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
    base.hints.woken(reply[1]);
    return true;
  },
  nextWakeMs: (skip = nobody) =>
    base.hints.asking(async () => {
      // One more than can be passed over.
      const first = await firstToWake(base, Infinity, skip.size + 1);
      return first.find(({ agentId }) => !skip.has(agentId))?.wakeAtMs ?? null;
    }),
});

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

type Wake = { readonly agentId: string; readonly wakeAtMs: number };

/** Of all agents that wake up to a time the first, at most `count`; among equals, those that sort first. */
async function firstToWake(base: Base, upToMs: number, count: number): Promise<readonly Wake[]> {
  const args = [upToMs === Infinity ? "+inf" : `${upToMs}`, `${count}`];
  const replies = await fromAny(
    base.groups.map(({ at, all }) =>
      base.run(at, scripts.wakes, { keys: all.map(({ wake }) => wake), args }),
    ),
  );
  const found = replies.flatMap((reply) => {
    const flat = listOf(reply);
    return flat.flatMap((agentId, at): readonly Wake[] =>
      at % 2 === 0 ? [{ agentId: textOf(agentId), wakeAtMs: numberOf(flat[at + 1]) }] : [],
    );
  });
  const inOrder = (a: Wake, b: Wake): number =>
    a.wakeAtMs - b.wakeAtMs || (a.agentId < b.agentId ? -1 : 1);
  return found.toSorted(inOrder).slice(0, count);
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
