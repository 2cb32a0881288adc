import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { Event } from "../../src/agent/event.ts";
import { fold } from "../../src/agent/fold.ts";
import { messageKey } from "../../src/agent/mark.ts";
import { storeLimits } from "../../src/limits.ts";
import type { Engine } from "../../src/engine/engine.ts";
import type { Store } from "../../src/store/store.ts";
import { openMemoryStore } from "../../src/store/memory.ts";
import { born, logged, said, spoke } from "../support/events.ts";
import { verified } from "../support/damage.ts";
import { makeManualClock } from "../support/manual-clock.ts";
import { makeLife, mortalStore } from "../support/mortal.ts";
import { openStage } from "../support/stage.ts";
import { codeIs } from "../support/store-contract.ts";
import { creationOf, folderFixture, readAll } from "../support/stores.ts";

const { readEventsMax } = storeLimits;

/** A conversation with a message id each, which fills pages and a little more. */
const conversation = (pages: number): readonly Event[] => [
  born({ waitForInput: true }),
  ...Array.from({ length: (pages * readEventsMax) / 2 + 1 }, (_, n) => [
    said(`${n}`, { messageId: `m${n}`, digest: "d" }),
    spoke(`so ${n}`, 2 * n + 2),
  ]).flat(),
];

/** What it does with events that come into being. */
const watched = (store: Store) => {
  const steps: string[] = [];
  const watching: Store = {
    ...store,
    stage: async (agentId, after, events, nowMs) => {
      steps.push(`stage ${events.length} behind ${after}`);
      expect(await store.row(agentId, 0)).toBeNull();
      await store.stage(agentId, after, events, nowMs);
    },
    create: (creation) => {
      steps.push(`create with ${creation.staged} and ${creation.events.length}`);
      return store.create(creation);
    },
  };
  return { store: watching, steps };
};

const wishes = { metadata: { copy: "yes" }, request: { requestId: "r", digest: "d" } };

describe("a fork", () => {
  const opened = async (events: readonly Event[]) => {
    const { store, steps } = watched(openMemoryStore(makeManualClock()));
    await store.create(creationOf("p", events));
    steps.length = 0;
    const engine = openStage(() => store).start({ concurrency: 0 });
    return { store, steps, engine };
  };
  const isCopy = async (store: Store, agentId: string, events: readonly Event[]) => {
    const log = await readAll(store, agentId);
    expect(log.slice(0, -1)).toEqual([...logged(events)]);
    expect(log.at(-1)?.event).toMatchObject({
      type: "AgentForked",
      parent: { agentId: "p", sequence: events.length },
      metadata: { copy: "yes" },
    });
    const { status, parent, stats } = (await store.row(agentId, 0))!;
    expect({ status, parent, stats }).toEqual({
      status: "waiting_for_input",
      parent: { agentId: "p", sequence: events.length },
      stats: fold(log).stats,
    });
    const marks = await store.marks(agentId, ["m0", "m1", "m300"].map(messageKey));
    expect([...marks.keys()]).toEqual([]);
    return log;
  };

  test("of a log that is a page is one call of the store", async () => {
    const events = conversation(1).slice(0, readEventsMax);
    const { store, steps, engine } = await opened(events);
    const { agentId } = await engine.fork("p", 0, wishes);
    expect(steps).toEqual([`create with 0 and ${readEventsMax + 1}`]);
    await isCopy(store, agentId, events);
    await engine.drain();
  });
  test("of a longer one is put aside page by page, and begins with a snapshot", async () => {
    const events = conversation(2);
    const { store, steps, engine } = await opened(events);
    const { agentId } = await engine.fork("p", 0, wishes);
    expect(steps).toEqual([
      `stage ${readEventsMax} behind 0`,
      `stage ${readEventsMax} behind ${readEventsMax}`,
      `stage 3 behind ${2 * readEventsMax}`,
      // Nothing that a creation takes over is left to it.
      `create with ${events.length} and 1`,
    ]);
    const log = await isCopy(store, agentId, events);
    expect(await store.snapshot(agentId)).toEqual(fold(log));
    await engine.drain();
  });
  test("of a place in the middle ends there", async () => {
    const events = conversation(3);
    const { store, steps, engine } = await opened(events);
    for (const at of [readEventsMax, readEventsMax + 1, 2 * readEventsMax]) {
      const request = { requestId: `r${at}`, digest: "d" };
      const { agentId } = await engine.fork("p", at, { ...wishes, request });
      await isCopy(store, agentId, events.slice(0, at));
    }
    expect(steps.filter((step) => step.startsWith("create"))).toEqual([
      `create with 0 and ${readEventsMax + 1}`,
      `create with ${readEventsMax + 1} and 1`,
      `create with ${2 * readEventsMax} and 1`,
    ]);
    await engine.drain();
  });
  test("that was made is answered again, though its parent is deleted meanwhile, and copies nothing", async () => {
    const { store, steps, engine } = await opened(conversation(3));
    const { agentId } = await engine.fork("p", 0, wishes);
    await engine.remove("p", true);
    steps.length = 0;
    expect(await engine.fork("p", 0, wishes)).toMatchObject({ agentId });
    expect(steps).toEqual([]);
    const other = { ...wishes, request: { requestId: "s", digest: "d" } };
    await expect(engine.fork("p", 0, other)).rejects.toEqual(codeIs("not_found"));
    await engine.drain();
    await store.close();
  });

  test("of an agent that is deleted meanwhile fails, and nothing of it is seen", async () => {
    const { store, engine } = await opened(conversation(2));
    const { stage } = store;
    const deleting = {
      ...store,
      stage: async (...args: Parameters<Store["stage"]>) => {
        await stage(...args);
        if (args[1] > 0) await store.remove("p", 1, true);
      },
    };
    const other = openStage(() => deleting).start({ concurrency: 0 });
    await expect(other.fork("p", 0, wishes)).rejects.toEqual(codeIs("not_found"));
    expect(await store.list({ status: null, limit: 9, beforeAgentId: null }, 0)).toEqual([]);
    await other.drain();
    await engine.drain();
  });
});

describe("an engine that dies while it forks a long log", () => {
  let place: ReturnType<typeof folderFixture>;
  beforeEach(() => {
    place = folderFixture();
  });
  afterEach(() => place.drop());

  const events = conversation(2);
  const forking = (store: Store): Engine => openStage(() => store).start({ concurrency: 0 });

  /** Dies at the nth place where it may, on a store that is opened again; false: it did not come so far. */
  const diesAt = async (nth: number): Promise<boolean> => {
    const store = place.open();
    let points = 0;
    const life = makeLife(
      () => ++points === nth,
      () => {},
    );
    const done = forking(mortalStore(store, life))
      .fork("p", 0, wishes)
      .then(() => true);
    const survived = await Promise.race([done, life.died.then(() => false)]);
    await store.close();
    return !survived;
  };

  test("leaves no part of the fork; the same call makes it once", async () => {
    const parent = place.open();
    await parent.create(creationOf("p", events));
    await parent.close();
    let deaths = 0;
    while (await diesAt(deaths + 1)) {
      deaths++;
      const store = place.open();
      const rows = await store.list({ status: null, limit: 9, beforeAgentId: null }, 0);
      const forks = rows.filter(({ agentId }) => agentId !== "p");
      for (const { agentId } of forks)
        expect(await readAll(store, agentId)).toHaveLength(events.length + 1);
      const engine = forking(store);
      const { agentId } = await engine.fork("p", 0, wishes);
      expect(forks.every((fork) => fork.agentId === agentId)).toBe(true);
      expect(await readAll(store, agentId)).toHaveLength(events.length + 1);
      await store.remove(agentId, 1, true);
      await store.close();
      expect(verified(place.folder)).toEqual([]);
    }
    // Before and behind each of three pages and the creation.
    expect(deaths).toBe(8);
  });
});
