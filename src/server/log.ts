import type { Clock } from "../clock.ts";
import { serverLimits } from "../limits.ts";
import type { Log } from "../log.ts";

/** A warning that a stranger can cause: one line an interval, with the number left out since the last one. */
export const makeThrottledWarning = (
  log: Log,
  clock: Clock,
): ((message: string, fields: Record<string, unknown>) => void) => {
  let nextMs = Number.NEGATIVE_INFINITY;
  let suppressed = 0;
  return (message, fields) => {
    const nowMs = clock.monotonicMs();
    if (nowMs < nextMs) {
      suppressed += 1;
      return;
    }
    log("warn", message, suppressed > 0 ? { ...fields, suppressed } : fields);
    nextMs = nowMs + serverLimits.refusalLogIntervalMs;
    suppressed = 0;
  };
};
