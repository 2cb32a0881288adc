import type { Clock } from "../clock.ts";
import { EngramError } from "../errors.ts";
import { redisLimits } from "../limits.ts";
import type { Log } from "../log.ts";
import { isRefusal } from "./redis-faults.ts";

/** Looks again and again whether the store is there, and tells the log when that changes. */
export interface Watch {
  /**
   * The first look, repeated at each of `changes`: until it succeeds and `isReady`, or `openMs` is over; from then on
   * there is one each `heartbeatMs`. Fails where no waiting helps.
   */
  first(changes: (changed: () => void) => void, isReady: () => boolean): Promise<void>;
  stop(): void;
}

export function makeWatch(clock: Clock, log: Log, look: () => Promise<void>): Watch {
  let stopped = false;
  let cancel = (): void => {};
  let trouble = "";

  const lookNow = async (): Promise<EngramError | null> => {
    try {
      await look();
      if (trouble !== "") log("info", "Redis serves the store again");
      trouble = "";
      return null;
    } catch (error) {
      const fault = EngramError.of(error);
      if (fault.message !== trouble && !stopped)
        log("warn", "the store is unavailable", { message: fault.message });
      trouble = fault.message;
      return fault;
    }
  };
  const arm = (): void => {
    if (!stopped)
      cancel = clock.after(redisLimits.heartbeatMs, () => {
        void lookNow().then(arm);
      });
  };
  return {
    first: async (changes, isReady) => {
      const deadlineMs = clock.monotonicMs() + redisLimits.openMs;
      let fault: EngramError | null = null;
      for (;;) {
        const { promise, resolve } = Promise.withResolvers<void>();
        changes(resolve);
        fault = await lookNow();
        if (fault === null && isReady()) break;
        if (fault !== null && (fault.code === "failed_precondition" || isRefusal(fault)))
          throw new EngramError("failed_precondition", fault.message, { cause: fault });
        const leftMs = deadlineMs - clock.monotonicMs();
        if (leftMs <= 0) break;
        const cancelWait = clock.after(leftMs, resolve);
        await promise;
        cancelWait();
      }
      changes(() => {});
      arm();
    },
    stop: () => {
      stopped = true;
      cancel();
    },
  };
}
