import { EngramError } from "../errors.ts";
import type { Lease } from "../store/store.ts";
import { Interrupt } from "./interrupts.ts";
import type { Parts } from "./parts.ts";
import { startWorkMeter, type WorkMeter } from "./work-meter.ts";

/** The steps under way in this process, and their leases, which are lengthened while they run. */
export interface Running {
  readonly size: () => number;
  /** Whether the step of this very lease is under way. */
  has(lease: Lease): boolean;
  start(lease: Lease): void;
  /** Lengthens the leases where that is overdue: after a stall they would be taken for a dead engine's. */
  catchUp(): Promise<void>;
  /** Ends every step with its agent due again at once, also those started later; resolves when all have let go. */
  handOver(): Promise<void>;
}

/** Drives the agent of a lease; `work` is lengthened with the lease. */
export type Drive = (lease: Lease, work: WorkMeter, signal: AbortSignal) => Promise<void>;

type Entry = {
  readonly lease: Lease;
  readonly work: WorkMeter;
  readonly controller: AbortController;
  done: Promise<void>;
};

/** `ended` is called behind each step. */
export function makeRunning(
  { store, clock, log, settings }: Parts,
  drive: Drive,
  ended: () => void,
): Running {
  const entries = new Map<string, Entry>();
  let handingOver = false;
  let cancelRenewal: (() => void) | null = null;
  /** Renews at a third of a lease's time, so that two renewals may fail. */
  const intervalMs = settings.leaseTtlMs / 3;
  let renewedMs = clock.monotonicMs();

  const armRenewal = (): void => {
    cancelRenewal ??= clock.after(intervalMs, () => {
      cancelRenewal = null;
      if (entries.size > 0) void renew().finally(armRenewal);
    });
  };
  const renew = async (): Promise<void> => {
    renewedMs = clock.monotonicMs();
    try {
      const held = new Set(entries.values());
      const holders = [...held].map(({ lease, work }) => ({ ...lease, workedMs: work.workedMs() }));
      const stale = await store.renew(holders, store.nowMs() + settings.leaseTtlMs);
      for (const agentId of stale) {
        const entry = entries.get(agentId);
        if (entry !== undefined && held.has(entry)) entry.controller.abort(new Interrupt("fenced"));
      }
    } catch (error) {
      log("warn", "could not renew leases", { reason: EngramError.of(error).message });
    }
  };

  return {
    size: () => entries.size,
    has: (lease) => entries.get(lease.agentId)?.lease === lease,
    start: (lease) => {
      const controller = new AbortController();
      const work = startWorkMeter(clock, lease.workedMs);
      const entry: Entry = { lease, work, controller, done: Promise.resolve() };
      // A step of the same agent that still winds down has lost its lease to this one.
      entries.get(lease.agentId)?.controller.abort(new Interrupt("fenced"));
      entries.set(lease.agentId, entry);
      if (handingOver) controller.abort(new Interrupt("handOver"));
      entry.done = drive(lease, work, controller.signal).finally(() => {
        if (entries.get(lease.agentId) === entry) entries.delete(lease.agentId);
        ended();
      });
      if (cancelRenewal === null) renewedMs = clock.monotonicMs();
      armRenewal();
    },
    catchUp: async () => {
      if (entries.size > 0 && clock.monotonicMs() - renewedMs > 2 * intervalMs) await renew();
    },
    handOver: async () => {
      handingOver = true;
      while (entries.size > 0) {
        for (const { controller } of entries.values()) controller.abort(new Interrupt("handOver"));
        await Promise.all([...entries.values()].map(({ done }) => done));
      }
      cancelRenewal?.();
    },
  };
}
