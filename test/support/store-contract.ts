import { afterEach, beforeEach, describe, expect } from "bun:test";
import type { Event } from "../../src/agent/event.ts";
import type { Lease, Store } from "../../src/store/store.ts";
import { born } from "./events.ts";
import { makeManualClock, type ManualClock } from "./manual-clock.ts";
import { backends, creationOf, type Fixture } from "./stores.ts";

/** An empty store for each test, closed and removed behind it. */
export type Opened = {
  readonly backend: string;
  /** The one that is open now. */
  readonly store: Store;
  readonly clock: ManualClock;
  /** Closes it and opens it again. */
  reopen(): Promise<void>;
  /** A new agent with these events behind its first, which nobody drives. */
  create(agentId: string, ...more: readonly Event[]): Promise<void>;
};

/** What every store has to hold to. */
export function contract(title: string, clauses: (at: Opened) => void): void {
  describe.each(backends)(`${title}: $name`, ({ name, fixture }) => {
    let place: Fixture;
    let store: Store;
    let clock: ManualClock;
    beforeEach(() => {
      clock = makeManualClock();
      place = fixture(clock);
      store = place.open();
    });
    afterEach(async () => {
      await store.close();
      place.drop();
    });
    clauses({
      backend: name,
      get store() {
        return store;
      },
      get clock() {
        return clock;
      },
      reopen: async () => {
        await store.close();
        store = place.open();
      },
      create: async (agentId, ...more) => {
        await store.create(creationOf(agentId, [born(), ...more]));
      },
    });
  });
}

/** What a refusal with this code looks like. */
export const codeIs = (code: string): unknown => expect.objectContaining({ code });

/** Agents that are due at a time, and workers that claim them for 100 ms, ten at most. */
export function claiming(at: Opened): {
  readonly create: (agentId: string, wakeAtMs: number | null) => Promise<void>;
  readonly claim: (worker: string, nowMs: number, untilMs?: number) => Promise<readonly Lease[]>;
  readonly claimOne: (worker: string, nowMs: number, untilMs?: number) => Promise<Lease>;
} {
  const claim = (worker: string, nowMs: number, untilMs = nowMs + 100): Promise<readonly Lease[]> =>
    at.store.claim({ worker, untilMs }, nowMs, 10);
  return {
    create: async (agentId, wakeAtMs) => {
      await at.store.create(creationOf(agentId, [born()], { wakeAtMs }));
    },
    claim,
    /** Fails where there are more. */
    claimOne: async (worker, nowMs, untilMs) => {
      const [lease, ...more] = await claim(worker, nowMs, untilMs);
      expect(more).toEqual([]);
      return lease!;
    },
  };
}
