import type { Clock } from "../../clock.ts";
import { storeLimits } from "../../limits.ts";

/** Throws away what no creation took from aside, and what is left of deleted agents. */
export interface Sweeper {
  /** Looks now; resolves when nothing is left that can be thrown away. Never rejects. */
  sweep(): Promise<void>;
  /** Something was put aside: looks when that has stood there for too long. */
  later(): void;
  stop(): void;
}

export type SweeperParts = {
  readonly clock: Clock;
  readonly nowMs: () => number;
  /** Removes a page of what came before a time. Answers when the oldest of the rest came, 0: there is more now; null: nothing is left. */
  readonly remove: (beforeMs: number) => Promise<number | null>;
};

export function makeSweeper({ clock, nowMs, remove }: SweeperParts): Sweeper {
  let cancel: (() => void) | null = null;
  let stopped = false;
  const arm = (delayMs: number): void => {
    if (stopped) return;
    cancel ??= clock.after(delayMs, () => {
      cancel = null;
      void run();
    });
  };
  const run = async (): Promise<void> => {
    try {
      let oldestMs: number | null = 0;
      while (oldestMs === 0) oldestMs = await remove(nowMs() - storeLimits.stagedKeptMs);
      if (oldestMs !== null) arm(Math.max(1, oldestMs + storeLimits.stagedKeptMs - nowMs()));
    } catch {
      arm(storeLimits.stagedKeptMs); // The disk may be better then.
    }
  };
  return {
    sweep: run,
    later: () => arm(storeLimits.stagedKeptMs),
    stop: () => {
      stopped = true;
      cancel?.();
    },
  };
}
