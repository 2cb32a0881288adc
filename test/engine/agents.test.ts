import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { Event, LoggedEvent } from "../../src/agent/event.ts";
import { fold } from "../../src/agent/fold.ts";
import type { AgentState } from "../../src/agent/state.ts";
import { type Agents, makeAgents } from "../../src/engine/agents.ts";
import { engineLimits } from "../../src/limits.ts";
import { encodeEvent, encodeState } from "../../src/store/codec.ts";
import { openMemoryStore } from "../../src/store/memory.ts";
import type { Store } from "../../src/store/store.ts";
import { born, paused, resumed, said, spoke } from "../support/events.ts";
import { anyHistory } from "../support/histories.ts";
import { makeManualClock } from "../support/manual-clock.ts";
import { seeded } from "../support/seed.ts";

const openStore = (): Store => openMemoryStore(makeManualClock());

/** Writes a log as a worker does; where `due` says so with a snapshot. Answers the state at each event. */
async function write(
  store: Store,
  log: readonly LoggedEvent[],
  due: (state: AgentState) => boolean,
): Promise<readonly AgentState[]> {
  const [first, ...rest] = log;
  let state = fold([first!]);
  const states = [state];
  const times = { nowMs: 0, wakeAtMs: null, wish: null };
  await store.create({
    agentId: "a",
    atMs: first!.atMs,
    staged: 0,
    events: [first!],
    headHash: null,
    snapshot: false,
    state,
    request: null,
    moved: null,
    ...times,
  });
  for (const logged of rest) {
    const after = state.sequence;
    state = fold([logged], state);
    states.push(state);
    await store.append({
      agentId: "a",
      after,
      atMs: logged.atMs,
      events: [logged.event],
      state,
      snapshot: due(state),
      epoch: null,
      leaseUntilMs: null,
      dropDraft: false,
      ...times,
    });
  }
  return states;
}

const charsOf = (log: readonly LoggedEvent[]): number =>
  log.reduce((sum, { event }) => sum + encodeEvent(event).length, 0);

type Counts = { readonly events: number; readonly chars: number };

/** Counts what is read of logs. */
function counted(store: Store): { readonly store: Store; readonly read: () => Counts } {
  let read = { events: 0, chars: 0 };
  return {
    read: () => read,
    store: {
      ...store,
      read: async (...args) => {
        const page = await store.read(...args);
        read = { events: read.events + page.length, chars: read.chars + charsOf(page) };
        return page;
      },
    },
  };
}

describe("an agent that is loaded", () => {
  test("from any snapshot and the events behind it is what the whole log folds to", async () => {
    let fromSnapshots = 0;
    await fc.assert(
      fc.asyncProperty(anyHistory, fc.array(fc.nat({ max: 80 })), async ({ log }, places) => {
        const inner = openStore();
        const taken = new Set(places);
        const states = await write(inner, log, ({ sequence }) => taken.has(sequence));
        const { store, read } = counted(inner);
        const whole = fold(log);
        expect(await makeAgents(store).load("a")).toEqual(whole);
        const newest = Math.max(0, ...places.filter((it) => it > 1 && it <= log.length));
        expect(read().events).toBe(log.length - newest);
        fromSnapshots += Math.sign(newest);
        const agents = makeAgents(store);
        for (let sequence = 1; sequence <= log.length; sequence += 7)
          expect(await agents.at("a", sequence)).toEqual(states[sequence - 1]!);
      }),
      seeded(60),
    );
    expect(fromSnapshots).toBeGreaterThan(30);
  });

  test("is read from the store once, then only what is new", async () => {
    const inner = openStore();
    const log = logOf(300, talk);
    await write(inner, log.slice(0, 200), () => false);
    const { store, read } = counted(inner);
    const agents = makeAgents(store);
    await agents.load("a");
    await agents.load("a");
    expect(read().events).toBe(200);
  });
});

test("a load lets others have their turns, however few events a page has", async () => {
  const store = openStore();
  const log = logOf(20, essays);
  await write(store, log, () => false);
  const single: Store = {
    ...store,
    read: async (...asked) => (await store.read(...asked)).slice(0, 1),
  };
  let turns = 0;
  const count = (): void => {
    turns++;
    turning = setImmediate(count);
  };
  let turning = setImmediate(count);
  try {
    expect(await makeAgents(single).load("a")).toEqual(fold(log));
  } finally {
    clearImmediate(turning);
  }
  expect(turns).toBeGreaterThanOrEqual(log.length - 2);
});

const talk = (sequence: number): Event =>
  sequence % 2 === 0 ? said("What is the weather like?") : spoke("It rains.", sequence - 1);
const pauses = (sequence: number): Event => (sequence % 2 === 0 ? paused("so") : resumed);
const essays = (sequence: number): Event =>
  sequence % 2 === 0 ? said("Tell me more.") : spoke("It rains. ".repeat(400), sequence - 1);
/** A conversation with large messages, then nothing but pauses. */
const heavy = (sequence: number): Event =>
  sequence <= 20 ? said("x".repeat(100_000)) : pauses(sequence);

const logOf = (length: number, eventAt: (sequence: number) => Event): readonly LoggedEvent[] =>
  Array.from({ length }, (_, index) => ({
    sequence: index + 1,
    atMs: index * 1_000,
    event: index === 0 ? born() : eventAt(index + 1),
  }));

/** What a life with the engine's own snapshots costs. */
async function lived(log: readonly LoggedEvent[]) {
  const store = openStore();
  const agents: Agents = makeAgents(store);
  let snapshots = 0;
  let snapshotChars = 0;
  let unsaved = 0;
  let unsavedMost = 0;
  await write(store, log, (state) => {
    const due = agents.snapshotDue("a", state);
    agents.keep("a", state, { snapshot: due, recordedMs: 0 });
    unsaved = due ? 0 : unsaved + 1;
    unsavedMost = Math.max(unsavedMost, unsaved);
    if (due) {
      snapshots++;
      snapshotChars += encodeState(state).length;
    }
    return due;
  });
  const cold = counted(store);
  expect(await makeAgents(cold.store).load("a")).toEqual(fold(log));
  return { snapshots, snapshotChars, unsavedMost, read: cold.read() };
}

describe("snapshots of a long life", () => {
  test.each([
    ["a conversation", 6_000, talk],
    ["long answers", 1_000, essays],
    ["pauses", 6_000, pauses],
    ["large messages, then pauses", 20_000, heavy],
  ] as const)(
    "of %s cost about twice its log, and bound what a load reads",
    async (_, length, eventAt) => {
      const log = logOf(length, eventAt);
      const { snapshots, snapshotChars, unsavedMost, read } = await lived(log);
      expect(snapshots).toBeGreaterThan(1);
      expect(read.events).toBeLessThanOrEqual(unsavedMost);
      expect(snapshotChars).toBeLessThan(2.5 * charsOf(log));
      const state = encodeState(fold(log)).length;
      const least = engineLimits.snapshotEventsMin * engineLimits.eventCharsLeast;
      expect(read.chars).toBeLessThan(Math.max(least, 1.2 * state));
    },
  );

  test("are none of a state that is large", async () => {
    const large = (sequence: number): Event =>
      sequence <= 50 ? said("x".repeat(100_000)) : pauses(sequence);
    const { snapshots, read } = await lived(logOf(600, large));
    expect({ snapshots, events: read.events }).toEqual({ snapshots: 0, events: 600 });
  });
});
