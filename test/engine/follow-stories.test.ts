import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { type Follower, openFollower } from "../../src/engine/follow.ts";
import { openMemoryStore } from "../../src/store/memory.ts";
import type { Store } from "../../src/store/store.ts";
import { anyMove, openStory } from "../support/draft-stories.ts";
import { makeManualClock } from "../support/manual-clock.ts";
import { quickBackends, slowDiskMs } from "../support/quick-stores.ts";
import { seeded } from "../support/seed.ts";
import { readAll } from "../support/stores.ts";
import { makeWatcher, type Watcher } from "../support/watcher.ts";

const agentId = "a";

type Reader = { readonly follower: Follower; readonly watcher: Watcher; readonly pace: number };

const attach = (store: Store, after: number, head: number, pace: number): Reader => {
  const stopping = new AbortController().signal;
  const parts = { store, clock: makeManualClock(), stopping };
  const watcher = makeWatcher(after);
  watcher.attach(head);
  return { follower: openFollower(parts, agentId, { after, head, deltas: true }), watcher, pace };
};

/** Takes once; false: there was nothing. */
const takeOnce = async ({ follower, watcher }: Reader): Promise<boolean> => {
  const items = await follower.take();
  for (const item of items) watcher.take(item);
  return items.length > 0;
};

/** Until there was nothing twice: an empty look may say that the next one is not. */
const takeAll = async (reader: Reader): Promise<void> => {
  for (let empty = 0; empty < 2;) empty = (await takeOnce(reader)) ? 0 : empty + 1;
};

const anyAttachment = fc.record({
  /** Of how many moves it comes. */
  beforeMove: fc.nat({ max: 25 }),
  /** From which event on, counted back from the head. */
  back: fc.nat({ max: 6 }),
  /** It takes once in so many moves; a laggard not before the end. */
  pace: fc.constantFrom(1, 1, 2, 3, 1_000),
});

describe.each(quickBackends)("a follower: $name", ({ name, fixture }) => {
  test(
    "is given every event once and each text in pieces, whenever it comes and however slow it is",
    async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.array(anyMove, { minLength: 3, maxLength: 25, size: "max" }),
          fc.array(anyAttachment, { minLength: 1, maxLength: 4 }),
          async (moves, attachments) => {
            const place = fixture();
            const store = place.open();
            try {
              const story = await openStory(store, agentId);
              const readers: Reader[] = [];
              for (const [index, move] of moves.entries()) {
                for (const { beforeMove, back, pace } of attachments)
                  if (beforeMove === index) {
                    const after = Math.max(0, story.head() - back);
                    readers.push(attach(store, after, story.head(), pace));
                  }
                await story.play(move);
                for (const reader of readers)
                  if (index % reader.pace === reader.pace - 1) await takeOnce(reader);
              }
              const log = await readAll(store, agentId);
              for (const reader of readers) {
                await takeAll(reader);
                const { seen, faults } = reader.watcher;
                expect(faults).toEqual([]);
                expect(seen).toEqual(log.slice(log.length - seen.length));
                expect(seen.at(-1)?.sequence ?? story.head()).toBe(story.head());
                reader.follower.close();
              }
            } finally {
              await store.close();
              place.drop();
            }
          },
        ),
        seeded(name === "memory" ? 400 : 40),
      );
    },
    slowDiskMs,
  );
});

test("a follower that does not read reads nothing and keeps nothing", async () => {
  const store = openMemoryStore(makeManualClock());
  let reads = 0;
  const counted: Store = {
    ...store,
    read: async (...args) => (reads++, store.read(...args)),
    readDraft: async (...args) => (reads++, store.readDraft(...args)),
  };
  const story = await openStory(store, agentId);
  const reader = attach(counted, 1, 1, 1);
  for (let round = 0; round < 200; round++) {
    await story.play({ kind: "write", of: "text", contents: ["a ", "b "] });
    await story.play({ kind: "whole" });
  }
  for (let round = 0; round < 300; round++)
    await story.play({ kind: "write", of: "text", contents: ["c", "d"] });
  expect(reads).toBe(0);
  await takeAll(reader);
  expect(reader.watcher.faults).toEqual([]);
  expect(reader.watcher.seen.length).toBe(story.head() - 1);
  expect(reader.watcher.textBytes()).toBe(600);
  // Two pages of events and three of pieces, at most twice looked for each, and the looks that found nothing more.
  expect(reads).toBeLessThan(20);
});

test("a follower waits until something changes, is woken or has waited long enough", async () => {
  const store = openMemoryStore(makeManualClock());
  const story = await openStory(store, agentId);
  const clock = makeManualClock();
  const stopping = new AbortController();
  const parts = { store, clock, stopping: stopping.signal };
  const follower = openFollower(parts, agentId, { after: 1, head: 1, deltas: false });
  expect(await follower.take()).toEqual([]);
  const silent = follower.wait(15_000);
  clock.advance(15_000);
  expect(await silent).toBe(false);
  const told = follower.wait(15_000);
  await story.play({ kind: "say" });
  expect(await told).toBe(true);
  expect((await follower.take()).length).toBe(1);
  expect(await follower.wait(15_000)).toBe(true);
  expect(await follower.take()).toEqual([]);
  const woken = follower.wait(15_000);
  follower.wake();
  expect(await woken).toBe(true);
  expect(clock.waiting()).toBe(0);
  follower.close();
  await story.play({ kind: "say" });
});
