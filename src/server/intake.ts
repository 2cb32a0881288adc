import type { Clock } from "../clock.ts";

/** How fast what is large is read, of all calls together: to take it in keeps everybody else waiting. */
export type Intake = {
  /** To be called before more is read. Resolves once so many bytes were worth their time; little always is. */
  took(bytes: number): Promise<void>;
};

export type IntakeRate = {
  readonly bytesPerMs: number;
  /** So much may come at once, after a while in which little came. */
  readonly burstBytes: number;
};

/** Who comes first is let go on first. */
export function makeIntake(clock: Clock, { bytesPerMs, burstBytes }: IntakeRate): Intake {
  const burstMs = burstBytes / bytesPerMs;
  /** By when all that was taken would have come evenly. */
  let evenMs = clock.monotonicMs() - burstMs;
  return {
    took: async (bytes) => {
      const nowMs = clock.monotonicMs();
      evenMs = Math.max(evenMs, nowMs - burstMs) + bytes / bytesPerMs;
      const waitMs = evenMs - nowMs;
      if (waitMs > 0) await new Promise<void>((resolve) => void clock.after(waitMs, resolve));
    },
  };
}
