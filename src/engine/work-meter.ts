import type { Clock } from "../clock.ts";

/**
 * How long an agent has worked since its newest event, by the monotonic clock: what a crash left unrecorded, and the
 * time since this worker has it. A clock that is set changes nothing of it.
 */
export interface WorkMeter {
  /** Whole ms. */
  workedMs(): number;
  /** So much stands in the log now. */
  recorded(ms: number): void;
  /** Counts what nobody measured. */
  add(ms: number): void;
}

export function startWorkMeter(clock: Clock, beforeMs: number): WorkMeter {
  const startMs = clock.monotonicMs();
  let offsetMs = beforeMs;
  return {
    workedMs: () => Math.max(0, Math.round(clock.monotonicMs() - startMs + offsetMs)),
    recorded: (ms) => {
      offsetMs -= ms;
    },
    add: (ms) => {
      offsetMs += ms;
    },
  };
}
