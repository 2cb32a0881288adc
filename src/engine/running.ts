import { EngramError } from "../errors.ts";
import type { Lease } from "../store/store.ts";
import { Interrupt } from "./interrupts.ts";
import type { Parts } from "./parts.ts";

/** The steps under way in this process, and their leases, which are lengthened while they run. */
export interface Running {
  readonly size: () => number;
  start(lease: Lease): void;
  /** Ends every step with its agent due again at once, also those started later; resolves when all have let go. */
  handOver(): Promise<void>;
}

type Entry = { readonly lease: Lease; readonly controller: AbortController; done: Promise<void> };

/** `ended` is called behind each step. */
export function makeRunning(
  { store, clock, log, settings }: Parts,
  drive: (lease: Lease, signal: AbortSignal) => Promise<void>,
  ended: () => void,
): Running {
  const entries = new Map<string, Entry>();
  let handingOver = false;
  let cancelRenewal: (() => void) | null = null;

  /** Renews at a third of a lease's time, so that two renewals may fail. */
  const armRenewal = (): void => {
    cancelRenewal ??= clock.after(settings.leaseTtlMs / 3, () => {
      cancelRenewal = null;
      if (entries.size > 0) void renew().finally(armRenewal);
    });
  };
  const renew = async (): Promise<void> => {
    try {
      const leases = [...entries.values()].map(({ lease }) => lease);
      const stale = await store.renew(leases, clock.nowMs() + settings.leaseTtlMs);
      for (const agentId of stale) {
        const entry = entries.get(agentId);
        if (entry !== undefined && leases.includes(entry.lease))
          entry.controller.abort(new Interrupt("fenced"));
      }
    } catch (error) {
      log("warn", "could not renew leases", { message: EngramError.of(error).message });
    }
  };

  return {
    size: () => entries.size,
    start: (lease) => {
      const controller = new AbortController();
      const entry: Entry = { lease, controller, done: Promise.resolve() };
      // A step of the same agent that still winds down has lost its lease to this one.
      entries.get(lease.agentId)?.controller.abort(new Interrupt("fenced"));
      entries.set(lease.agentId, entry);
      if (handingOver) controller.abort(new Interrupt("handOver"));
      entry.done = drive(lease, controller.signal).finally(() => {
        if (entries.get(lease.agentId) === entry) entries.delete(lease.agentId);
        ended();
      });
      armRenewal();
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
