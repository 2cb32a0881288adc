import type { Clock } from "../../clock.ts";
import { EngramError } from "../../errors.ts";
import { redisLimits } from "../../limits.ts";
import type { Log } from "../../log.ts";
import { isRefusal, redisFault } from "./faults.ts";

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

  const lookNow = (): Promise<EngramError | null> => look().then(() => null, redisFault);
  const say = (fault: EngramError | null): void => {
    const message = fault?.message ?? "";
    if (message === trouble || stopped) return;
    trouble = message;
    if (fault === null) log("info", "Redis serves the store again");
    else log("warn", "the store is unavailable", { reason: message });
  };
  const beat = async (): Promise<void> => {
    say(await lookNow());
    arm();
  };
  const arm = (): void => {
    if (!stopped) cancel = clock.after(redisLimits.heartbeatMs, () => void beat());
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
        if (fault?.code === "failed_precondition" || fault?.code === "corrupt") throw fault;
        if (fault !== null && isRefusal(fault))
          throw new EngramError("failed_precondition", fault.message, { cause: fault });
        const leftMs = deadlineMs - clock.monotonicMs();
        if (leftMs <= 0) break;
        const cancelWait = clock.after(leftMs, resolve);
        await promise;
        cancelWait();
      }
      changes(() => {});
      say(fault);
      arm();
    },
    stop: () => {
      stopped = true;
      cancel();
    },
  };
}
