import type { Audience } from "./world.ts";

/** A client whose agent lost its engine. */
export type Loser = {
  readonly name: string;
  /** When the dead engine's lease ends: what the client is told before, that engine had written. */
  readonly leaseEndsMs: number;
};

/** Who waits for an agent whose engine was killed, and for how long. */
export type Takeovers = Audience & {
  /** Everyone who waits for something of an agent. */
  underWay(): readonly string[];
  /**
   * The engine that drove these clients' agents was killed at `sinceMs`. Resolves when each was told something new by its
   * agent, needs nothing more of it, or something else has gone wrong besides.
   */
  lost(losers: readonly Loser[], sinceMs: number): Promise<void>;
  /** Something else goes wrong: who waits now may wait longer. */
  disturb(): void;
  waiting(): readonly string[];
  /** From the kill to the agent's next news at its client, in ms. */
  readonly takenMs: readonly number[];
  /** Agents whose take-over was not measured, because something else had gone wrong too. */
  readonly disturbed: () => number;
};

/** `nowMs` goes on evenly. */
export function makeTakeovers(nowMs: () => number): Takeovers {
  const underWay = new Map<string, number>();
  const waiting = new Map<string, Loser & { readonly sinceMs: number }>();
  const takenMs: number[] = [];
  let disturbed = 0;
  let settled = (): void => {};

  const drop = (name: string): void => {
    if (waiting.delete(name) && waiting.size === 0) settled();
  };
  const disturb = (): void => {
    disturbed += waiting.size;
    waiting.clear();
    settled();
  };
  return {
    enter: (name) => {
      // One client may be in several conversations at once.
      underWay.set(name, (underWay.get(name) ?? 0) + 1);
      return () => {
        const left = (underWay.get(name) ?? 1) - 1;
        if (left > 0) return void underWay.set(name, left);
        underWay.delete(name);
        drop(name);
      };
    },
    news: (name, byAgent) => {
      const loser = waiting.get(name);
      if (loser === undefined || !byAgent || nowMs() < loser.leaseEndsMs) return;
      takenMs.push(nowMs() - loser.sinceMs);
      drop(name);
    },
    underWay: () => [...underWay.keys()],
    lost: (losers, sinceMs) => {
      disturb();
      const { promise, resolve } = Promise.withResolvers<void>();
      settled = resolve;
      for (const loser of losers)
        if (underWay.has(loser.name)) waiting.set(loser.name, { ...loser, sinceMs });
      if (waiting.size === 0) resolve();
      return promise;
    },
    disturb,
    waiting: () => [...waiting.keys()],
    takenMs,
    disturbed: () => disturbed,
  };
}
