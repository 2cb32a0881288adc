import type { Clock } from "../../src/clock.ts";

export type ManualClock = Clock & {
  /** Moves the time on, firing what falls due on the way in the order of its time. */
  readonly advance: (byMs: number) => void;
  /** How many timers wait. */
  readonly waiting: () => number;
};

type Timer = { readonly dueMs: number; readonly fn: () => void };

/** A clock that moves only by `advance`. */
export const makeManualClock = (): ManualClock => {
  let nowMs = 1_000_000;
  const timers = new Set<Timer>();
  const nextDue = (untilMs: number): Timer | undefined =>
    [...timers].filter(({ dueMs }) => dueMs <= untilMs).toSorted((a, b) => a.dueMs - b.dueMs)[0];
  return {
    nowMs: () => nowMs,
    monotonicMs: () => nowMs,
    after: (delayMs, fn) => {
      const timer = { dueMs: nowMs + delayMs, fn };
      timers.add(timer);
      return () => void timers.delete(timer);
    },
    advance: (byMs) => {
      const untilMs = nowMs + byMs;
      for (let timer = nextDue(untilMs); timer !== undefined; timer = nextDue(untilMs)) {
        timers.delete(timer);
        nowMs = Math.max(nowMs, timer.dueMs);
        timer.fn();
      }
      nowMs = untilMs;
    },
    waiting: () => timers.size,
  };
};
