import type { Clock } from "../../src/clock.ts";

export type ManualClock = Clock & {
  /** Moves the time on, firing what falls due on the way in the order of its time. */
  readonly advance: (byMs: number) => void;
  /** Settles once a timer waits. */
  readonly armed: () => Promise<void>;
};

type Timer = { readonly dueMs: number; readonly fn: () => void };

/** A clock that moves only by `advance`. */
export const makeManualClock = (): ManualClock => {
  let nowMs = 1_000_000;
  const timers = new Set<Timer>();
  const waiting: (() => void)[] = [];
  const nextDue = (untilMs: number): Timer | undefined =>
    [...timers].filter(({ dueMs }) => dueMs <= untilMs).toSorted((a, b) => a.dueMs - b.dueMs)[0];
  return {
    nowMs: () => nowMs,
    monotonicMs: () => nowMs,
    after: (delayMs, fn) => {
      const timer = { dueMs: nowMs + delayMs, fn };
      timers.add(timer);
      for (const wake of waiting.splice(0)) wake();
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
    armed: async () => {
      if (timers.size > 0) return;
      await new Promise<void>((resolve) => waiting.push(resolve));
    },
  };
};
