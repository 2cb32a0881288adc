import { type Clock, evenClock } from "../../clock.ts";
import { redisLimits } from "../../limits.ts";

/** The store's own time as this engine knows it: as last told, going on by the engine's monotonic clock. */
export interface StoreTime {
  /** Never goes back, once told. */
  nowMs(): number;
  /** What it should be now; null: not told yet. */
  guess(): number | null;
  /** What was answered to a question that was sent at `sentMs` of the monotonic clock, and answered just now. */
  learn(toldMs: number, sentMs: number): void;
}

export function makeStoreTime(clock: Clock): StoreTime {
  const wall = evenClock(clock);
  let aheadMs: number | null = null;
  let learnedMs = 0;
  let latestMs = Number.NEGATIVE_INFINITY;
  const guess = (): number | null =>
    aheadMs === null ? null : Math.round(clock.monotonicMs() + aheadMs);
  return {
    nowMs: () => {
      const nowMs = guess();
      if (nowMs === null) return wall();
      latestMs = Math.max(latestMs, nowMs);
      return latestMs;
    },
    guess,
    learn: (toldMs, sentMs) => {
      const gotMs = clock.monotonicMs();
      const isLate = gotMs - sentMs > redisLimits.timeErrorMsMax;
      if (aheadMs !== null && isLate && gotMs - learnedMs < redisLimits.timeKeptMs) return;
      learnedMs = gotMs;
      aheadMs = toldMs - (sentMs + gotMs) / 2;
    },
  };
}
