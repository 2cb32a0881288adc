import type { Clock } from "../../src/clock.ts";

export type ManualClock = Clock & {
  /** Moves both times on, firing what falls due on the way in the order of its time. */
  readonly advance: (byMs: number) => void;
  /** Sets the wall clock forth, or back by a negative time; nothing falls due by it. */
  readonly jump: (byMs: number) => void;
  /** How many timers wait. */
  readonly waiting: () => number;
};

type Timer = { readonly dueMs: number; readonly fn: () => void };

/** A clock that moves only by `advance` and `jump`, its wall time from `startMs` on. */
export const makeManualClock = (startMs = Date.UTC(2026, 5, 1)): ManualClock => {
  /** Neither time is taken for the other: they differ from the start. */
  let monotonicMs = 7_000;
  let wallAheadMs = startMs - monotonicMs;
  const timers = new Set<Timer>();
  const nextDue = (untilMs: number): Timer | undefined =>
    [...timers].filter(({ dueMs }) => dueMs <= untilMs).toSorted((a, b) => a.dueMs - b.dueMs)[0];
  return {
    nowMs: () => monotonicMs + wallAheadMs,
    monotonicMs: () => monotonicMs,
    after: (delayMs, fn) => {
      const timer = { dueMs: monotonicMs + delayMs, fn };
      timers.add(timer);
      return () => void timers.delete(timer);
    },
    advance: (byMs) => {
      const untilMs = monotonicMs + byMs;
      for (let timer = nextDue(untilMs); timer !== undefined; timer = nextDue(untilMs)) {
        timers.delete(timer);
        monotonicMs = Math.max(monotonicMs, timer.dueMs);
        timer.fn();
      }
      monotonicMs = untilMs;
    },
    jump: (byMs) => {
      wallAheadMs += byMs;
    },
    waiting: () => timers.size,
  };
};

/** Moves the clock on, step by step with turns of the loop between, until what is awaited has come. */
export const advanceUntil = async <T>(
  clock: ManualClock,
  stepMs: number,
  awaited: Promise<T>,
): Promise<T> => {
  const isOver = awaited.then(
    () => true,
    () => true,
  );
  const turn = (): Promise<false> =>
    new Promise((resolve) => void setImmediate(() => resolve(false)));
  while (!(await Promise.race([isOver, turn()]))) clock.advance(stepMs);
  return awaited;
};
