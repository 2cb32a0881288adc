import type { Clock } from "../clock.ts";
import { serverLimits } from "../limits.ts";

/** All deadlines of the port in one timer, which runs only while there is a deadline. */
export type Sweep = {
  /** Calls `onLate` once, `delayMs` from now or at most one sweep interval later; the result cancels it. */
  watch: (delayMs: number, onLate: () => void) => () => void;
};

type Deadline = { readonly dueMs: number; readonly onLate: () => void };

/** Time is the clock's monotonic one, so neither a drip of bytes nor a changed wall clock moves a deadline. */
export const makeSweep = (clock: Clock): Sweep => {
  const deadlines = new Set<Deadline>();
  let armed = false;
  const arm = (): void => {
    if (armed || deadlines.size === 0) return;
    armed = true;
    clock.after(serverLimits.sweepIntervalMs, sweep);
  };
  const sweep = (): void => {
    armed = false;
    const nowMs = clock.monotonicMs();
    try {
      for (const deadline of deadlines) {
        if (deadline.dueMs > nowMs) continue;
        deadlines.delete(deadline);
        deadline.onLate();
      }
    } finally {
      arm();
    }
  };
  return {
    watch: (delayMs, onLate) => {
      const deadline = { dueMs: clock.monotonicMs() + delayMs, onLate };
      deadlines.add(deadline);
      arm();
      return () => void deadlines.delete(deadline);
    },
  };
};
