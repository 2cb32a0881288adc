import type { Audience } from "./world.ts";

/** Who is under way, and how long after each start of the engine everyone was going again. */
export type Recovery = Audience & {
  /** An engine is ready; resolves when everyone who was under way then was told something new. */
  begin(): Promise<void>;
  /** The engine is gone: who was not going by then does not count. */
  end(): void;
  /** Those who still wait since the engine was ready. */
  waiting(): readonly string[];
  /** In ms, one for each start after which everyone was going again. */
  readonly goingMs: readonly number[];
};

export function makeRecovery(): Recovery {
  const underWay = new Set<string>();
  const goingMs: number[] = [];
  let waiting = new Set<string>();
  let sinceMs = 0;
  let going = (): void => {};

  const news = (name: string): void => {
    if (!waiting.delete(name) || waiting.size > 0) return;
    goingMs.push(performance.now() - sinceMs);
    going();
  };
  return {
    enter: (name) => {
      underWay.add(name);
      return () => {
        underWay.delete(name);
        news(name);
      };
    },
    news,
    begin: () => {
      waiting = new Set(underWay);
      sinceMs = performance.now();
      const { promise, resolve } = Promise.withResolvers<void>();
      going = resolve;
      if (waiting.size === 0) resolve();
      return promise;
    },
    end: () => {
      waiting = new Set();
      going();
    },
    waiting: () => [...waiting],
    goingMs,
  };
}
