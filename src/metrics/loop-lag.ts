import type { Clock } from "../clock.ts";
import { metricsLimits } from "../limits.ts";

/** By how much timers were late, in ms. */
export type Lag = { readonly p99Ms: number; readonly maxMs: number };

/**
 * Measures by a timer how long others hold the event loop. It runs from the first look on for as long as somebody looks:
 * an engine that nobody scrapes sleeps.
 */
export function makeLoopLag(clock: Clock): {
  /** Of the time since the look before; null: there was none for long. */
  take(): Lag | null;
} {
  let lateMs: number[] = [];
  let running = false;
  const measure = (): void => {
    const dueMs = clock.monotonicMs() + metricsLimits.lagIntervalMs;
    clock.after(metricsLimits.lagIntervalMs, () => {
      lateMs.push(Math.max(0, clock.monotonicMs() - dueMs));
      running = lateMs.length < metricsLimits.lagSamplesMax;
      if (running) measure();
    });
  };
  return {
    take: () => {
      const sorted = lateMs.toSorted((a, b) => a - b);
      lateMs = [];
      if (!running) {
        running = true;
        measure();
      }
      const p99Ms = sorted[Math.ceil(sorted.length * 0.99) - 1];
      const maxMs = sorted.at(-1);
      return p99Ms === undefined || maxMs === undefined ? null : { p99Ms, maxMs };
    },
  };
}
