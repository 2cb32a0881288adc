import { EngramError } from "../errors.ts";
import { engineLimits } from "../limits.ts";
import type { Lease, LeaseWish } from "../store/store.ts";
import { Interrupt } from "./interrupts.ts";
import type { Parts } from "./parts.ts";

/** Room for one more step, kept until it is settled: with the lease that was got, or null. */
export type Reservation = { readonly wish: LeaseWish; settle(lease: Lease | null): void };

/** Takes due agents as there is room, each driven by one worker at a time. Sleeps until the store's next wake time. */
export interface Scheduler {
  /** Room for a step whose lease comes with an append; null: none, the agent waits its turn. */
  reserve(): Reservation | null;
  /** Looks for due agents now. */
  poke(): void;
  /** Takes no more work, hands over what is under way, and resolves when every lease is let go of. */
  drain(): Promise<void>;
}

type Running = { readonly lease: Lease; readonly controller: AbortController; done: Promise<void> };

export function startScheduler(
  parts: Parts,
  workerId: string,
  drive: (lease: Lease, signal: AbortSignal) => Promise<void>,
): Scheduler {
  const { store, clock, log, settings } = parts;
  const running = new Map<string, Running>();
  let reserved = 0;
  let draining = false;
  let looking = false;
  let lookAgain = false;
  let cancelWake = (): void => {};
  let cancelRenewal: (() => void) | null = null;

  const room = (): number => settings.concurrency - running.size - reserved;
  const wish = (): LeaseWish => ({
    worker: workerId,
    untilMs: clock.nowMs() + settings.leaseTtlMs,
  });

  const start = (lease: Lease): void => {
    const controller = new AbortController();
    const entry: Running = { lease, controller, done: Promise.resolve() };
    // A step of the same agent that still winds down has lost its lease to this one.
    running.get(lease.agentId)?.controller.abort(new Interrupt("fenced"));
    running.set(lease.agentId, entry);
    entry.done = drive(lease, controller.signal).finally(() => {
      if (running.get(lease.agentId) === entry) running.delete(lease.agentId);
      poke();
    });
    if (draining) controller.abort(new Interrupt("handOver"));
    armRenewal();
  };

  /** Lengthens all leases at a third of their time, so that two renewals may fail. */
  const armRenewal = (): void => {
    cancelRenewal ??= clock.after(settings.leaseTtlMs / 3, () => {
      cancelRenewal = null;
      if (running.size > 0) void renew().finally(armRenewal);
    });
  };
  const renew = async (): Promise<void> => {
    try {
      const leases = [...running.values()].map(({ lease }) => lease);
      const stale = await store.renew(leases, clock.nowMs() + settings.leaseTtlMs);
      for (const agentId of stale) {
        const entry = running.get(agentId);
        if (entry !== undefined && leases.includes(entry.lease))
          entry.controller.abort(new Interrupt("fenced"));
      }
    } catch (error) {
      log("warn", "could not renew leases", { message: EngramError.of(error).message });
    }
  };

  const look = async (): Promise<void> => {
    do {
      lookAgain = false;
      cancelWake();
      if (draining || room() <= 0) return;
      const nowMs = clock.nowMs();
      const nextMs = await store.nextWakeMs();
      if (nextMs === null) continue;
      if (nextMs > nowMs) {
        cancelWake = clock.after(nextMs - nowMs, poke);
        continue;
      }
      const free = room();
      if (free <= 0) return;
      reserved += free;
      try {
        const leases = await store.claim(wish(), nowMs, free);
        for (const lease of leases) start(lease);
      } finally {
        reserved -= free;
      }
      lookAgain = true;
    } while (lookAgain);
  };
  const poke = (): void => {
    lookAgain = true;
    if (looking || draining) return;
    looking = true;
    void look()
      .catch((error: unknown) => {
        log("warn", "could not look for work", { message: EngramError.of(error).message });
        cancelWake = clock.after(engineLimits.storeRetryMs, poke);
      })
      .finally(() => {
        looking = false;
        if (lookAgain) poke(); // Asked for between the last look and here.
      });
  };

  poke();
  return {
    reserve: () => {
      if (draining || room() <= 0) return null;
      reserved++;
      return {
        wish: wish(),
        settle: (lease) => {
          reserved--;
          if (lease !== null) start(lease);
        },
      };
    },
    poke,
    drain: async () => {
      draining = true;
      cancelWake();
      for (const { controller } of running.values()) controller.abort(new Interrupt("handOver"));
      await Promise.all([...running.values()].map(({ done }) => done));
      cancelRenewal?.();
    },
  };
}
