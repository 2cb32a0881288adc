import { EngramError } from "../errors.ts";
import { engineLimits, turnLimits } from "../limits.ts";
import type { Lease, LeaseWish } from "../store/store.ts";
import type { Fleet } from "./fleet.ts";
import type { Parts } from "./parts.ts";
import { type Drive, makeRunning, type Running } from "./running.ts";

/** Room for one more step, kept until it is settled: with the lease that was got, or null. */
export type Reservation = { readonly wish: LeaseWish; settle(lease: Lease | null): void };

/** Takes due agents as there is room, each driven by one worker at a time. Sleeps until the store's next wake time. */
export interface Scheduler {
  /** Room for a step whose lease comes with an append; null: none, the agent waits its turn. */
  reserve(): Reservation | null;
  /** Looks for due agents now: one became due without a lease. */
  poke(): void;
  /** Steps under way. */
  running(): number;
  /** Takes no more work, hands over what is under way, and resolves when every lease is let go of. */
  drain(): Promise<void>;
}

export function startScheduler(
  parts: Parts & { readonly fleet: Fleet },
  workerId: string,
  drive: Drive,
): Scheduler {
  const { store, settings } = parts;
  let reserved = 0;
  let settled = (): void => {};
  let draining = false;
  const room = (): number => (draining ? 0 : settings.concurrency - running.size() - reserved);
  const wish = (): LeaseWish => ({
    worker: workerId,
    untilMs: store.nowMs() + settings.leaseTtlMs,
    trustedOnly: suspects.some(),
  });
  const giveBack = (steps: number): void => {
    reserved -= steps;
    if (reserved === 0) settled();
  };

  const lookout = makeLookout(parts, room, async (nowMs) => {
    const free = Math.min(room(), engineLimits.claimsAtOnce);
    reserved += free;
    let leases: readonly Lease[];
    try {
      await running.catchUp();
      leases = await store.claim(wish(), nowMs, free, parts.fleet.left());
      for (const lease of leases) running.start(lease);
    } finally {
      giveBack(free);
    }
    for (const lease of leases) await suspects.trial(lease);
    return leases.length > 0;
  });
  const running = makeRunning(parts, drive, lookout.hasRoom);
  const suspects = makeSuspects(parts, running);

  lookout.poke();
  return {
    reserve: () => {
      if (room() <= 0) return null;
      reserved++;
      return {
        wish: wish(),
        settle: (lease) => {
          if (lease !== null) running.start(lease);
          giveBack(1);
          if (lease === null) lookout.hasRoom(); // What was kept may be another's.
        },
      };
    },
    poke: lookout.poke,
    running: running.size,
    drain: async () => {
      draining = true;
      lookout.stop();
      await running.handOver();
      if (reserved > 0) await new Promise<void>((resolve) => (settled = resolve));
      await running.handOver(); // What was asked for before the drain may have brought a lease since.
    },
  };
}

/**
 * Agents that workers before have died with, until their step here has come to something. Which of them was to blame is
 * not known: a harmless one that two engines left without a word would die a third time with the one that is. So no two
 * of them are driven at once.
 */
function makeSuspects(
  { store, clock }: Parts,
  running: Pick<Running, "has">,
): {
  readonly some: () => boolean;
  /** Waits for what comes of the step where the agent is one, but not for long: others may be taken then. */
  trial(lease: Lease): Promise<void>;
} {
  /** Each with what ends the watch over it. */
  const suspects = new Map<Lease, () => void>();
  return {
    some: () => {
      for (const [lease, clear] of suspects) if (!running.has(lease)) clear();
      return suspects.size > 0;
    },
    trial: async (lease) => {
      if (lease.claims <= turnLimits.claimsTrusted) return;
      const { promise: over, resolve } = Promise.withResolvers<void>();
      const clear = (): void => {
        suspects.delete(lease);
        unfollow();
        resolve();
      };
      const unfollow = store.follow(lease.agentId, clear);
      suspects.set(lease, clear);
      const cancel = clock.after(engineLimits.suspectMs, resolve);
      await over;
      cancel();
    },
  };
}

/**
 * Watches for due agents: at a poke, when the store's next wake time comes, and when that may have come nearer, be it by
 * another engine, which may die with what it took; one look at a time. Without room there is none, until there is.
 */
function makeLookout(
  { store, clock, log, settings, fleet }: Parts & { readonly fleet: Fleet },
  room: () => number,
  take: (nowMs: number) => Promise<boolean>,
): {
  poke(): void;
  /** There may be room again: looks where none was left for the last look. */
  hasRoom(): void;
  stop(): void;
} {
  let looking = false;
  let again = false;
  let starved = false;
  let cancelWake = (): void => {};

  const look = async (): Promise<void> => {
    while (again) {
      again = false;
      cancelWake();
      starved = room() <= 0;
      if (starved) return;
      const left = fleet.left();
      const nextMs = await store.nextWakeMs(left);
      const nowMs = store.nowMs();
      if (nextMs === null || nextMs > nowMs) {
        const delayMs = Math.min(
          nextMs === null ? Infinity : nextMs - nowMs,
          left.size > 0 ? settings.leaseTtlMs : Infinity, // They may be this engine's again by then.
        );
        if (delayMs < Infinity) cancelWake = clock.after(delayMs, poke);
        continue;
      }
      starved = room() <= 0;
      if (starved) return;
      const took = await take(nowMs);
      again ||= took; // Or someone has poked meanwhile.
      if (!again) cancelWake = clock.after(engineLimits.emptyClaimMs, poke);
    }
  };
  let trouble = "";
  const poke = (): void => {
    again = true;
    if (looking) return;
    looking = true;
    void look()
      .then(() => (trouble = ""))
      .catch((error: unknown) => {
        const reason = EngramError.of(error).message;
        // A store may be away for days; it is said once.
        if (reason !== trouble) log("warn", "could not look for work", { reason });
        trouble = reason;
        cancelWake = clock.after(engineLimits.storeRetryMs, poke);
      })
      .finally(() => {
        looking = false;
        if (again) poke(); // Asked for between the last look and here.
      });
  };
  const unfollow = store.followWakes(poke);
  return {
    poke,
    hasRoom: () => {
      if (starved) poke();
    },
    stop: () => {
      unfollow();
      cancelWake();
    },
  };
}
