import type { Clock } from "../clock.ts";

/** How long a stream has been silent, whatever woke its writer meanwhile. */
export type Silence = {
  /** Something was sent. */
  broken(): void;
  /** Until the next heartbeat is due; 0 or less: now. */
  leftMs(): number;
};

export function makeSilence(clock: Clock, heartbeatMs: number): Silence {
  let brokenMs = clock.monotonicMs();
  return {
    broken: () => {
      brokenMs = clock.monotonicMs();
    },
    leftMs: () => brokenMs + heartbeatMs - clock.monotonicMs(),
  };
}
