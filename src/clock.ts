/** Time, handed in, so that a test can move it. */
export interface Clock {
  /** Wall time in ms since the epoch: what events carry. It may jump. */
  nowMs(): number;
  /** Time in ms from an arbitrary start that never goes back: what waits are measured by. */
  monotonicMs(): number;
  /** Calls `fn` once after `delayMs` (bounded by `timerMsMax`; arm again for the rest); the result cancels it. */
  after(delayMs: number, fn: () => void): () => void;
}

/** setTimeout takes a 32-bit delay; a larger one fires at once. */
export const timerMsMax = 2 ** 31 - 1;

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  after: (delayMs, fn) => {
    const timer = setTimeout(fn, Math.max(0, Math.min(delayMs, timerMsMax)));
    return () => clearTimeout(timer);
  },
};

/** Wall time as it was at the start, going on evenly: it neither jumps nor goes back while the process lives. */
export function evenClock(clock: Clock): () => number {
  const startMs = clock.nowMs() - clock.monotonicMs();
  return () => Math.round(startMs + clock.monotonicMs());
}
