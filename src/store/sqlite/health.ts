import type { Clock } from "../../clock.ts";
import { storeLimits } from "../../limits.ts";
import type { Log } from "../../log.ts";
import type { Refusal } from "./commit.ts";

/** Whether the disk takes writes. While it does not, it is asked again and again, ever more seldom. */
export interface Health {
  /** Why writes are refused; null: they are taken. */
  fault(): Refusal | null;
  failed(why: Refusal): void;
  succeeded(): void;
  /** It is not asked any more. */
  stop(): void;
}

export type HealthParts = {
  readonly clock: Clock;
  readonly log: Log;
  /** Asks the disk: what comes of it is told by `failed` or `succeeded`. */
  readonly probe: () => void;
  /** Called when writes are taken again. */
  readonly recovered: () => void;
};

export function watchHealth({ clock, log, probe, recovered }: HealthParts): Health {
  const { probeMsFirst, probeMsMax } = storeLimits;
  let fault: Refusal | null = null;
  let cancel = (): void => {};
  let delayMs: number = probeMsFirst;
  let wellSinceMs: number | null = null;
  let stopped = false;

  return {
    fault: () => fault,
    failed: (why) => {
      if (fault === null) log("error", "the store takes no writes", { reason: why.message });
      fault = why;
      // A disk that is well for a moment only is not asked more often for that.
      if (wellSinceMs !== null && clock.monotonicMs() - wellSinceMs > probeMsMax)
        delayMs = probeMsFirst;
      wellSinceMs = null;
      cancel();
      if (stopped) return;
      cancel = clock.after(delayMs, probe);
      delayMs = Math.min(delayMs * 2, probeMsMax);
    },
    succeeded: () => {
      if (fault === null) return;
      fault = null;
      wellSinceMs = clock.monotonicMs();
      cancel();
      log("info", "the store takes writes again");
      recovered();
    },
    stop: () => {
      stopped = true;
      cancel();
    },
  };
}
