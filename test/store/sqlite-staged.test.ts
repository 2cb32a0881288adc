import { Database } from "bun:sqlite";
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { join } from "node:path";
import type { Event } from "../../src/agent/event.ts";
import { storeLimits } from "../../src/limits.ts";
import { openSqliteStore } from "../../src/store/sqlite/sqlite.ts";
import type { Store } from "../../src/store/store.ts";
import { scratch, verified } from "../support/damage.ts";
import { born, logged, said } from "../support/events.ts";
import { startInline } from "../support/inline-writer.ts";
import { makeManualClock, type ManualClock } from "../support/manual-clock.ts";
import { quiet, until } from "../support/stage.ts";
import { codeIs } from "../support/store-contract.ts";
import { creationOf, readAll, takingOver } from "../support/stores.ts";

/** What holds of events that stand aside in SQLite beyond the contract. */

const { stagedEventsMax, stagedKeptMs } = storeLimits;

let place = "";
let clock: ManualClock;
let store: Store;
/** How many rows each commit has taken away. */
let removed: number[];
beforeEach(() => {
  place = scratch();
  clock = makeManualClock();
  open();
});
afterEach(async () => {
  await store.close();
  rmSync(place, { recursive: true });
});

const ask = <Row>(text: string): Row[] => {
  const db = new Database(join(place, "engram.db"), { readonly: true });
  try {
    return db.query<Row, []>(text).all();
  } finally {
    db.close(true);
  }
};
const countOf = (table: string): number =>
  ask<{ count: number }>(`SELECT count(*) AS count FROM ${table}`)[0]!.count;
const rows = (): number => countOf("event") + countOf("mark");
const edit = (statement: string): void => {
  const db = new Database(join(place, "engram.db"));
  db.run(statement);
  db.close(true);
};

function open(): void {
  removed = [];
  store = openSqliteStore(place, {
    clock,
    log: () => {},
    startThread: (path) => {
      const thread = startInline(path);
      return {
        ...thread,
        commit: async (writes) => {
          const before = rows();
          const committed = await thread.commit(writes);
          removed.push(Math.max(0, before - rows()));
          return committed;
        },
      };
    },
  });
}

const many = (count: number, word = ""): readonly Event[] => [
  born(),
  ...Array.from({ length: count - 1 }, (_, n) =>
    said(`${word}${n}`, { messageId: `${n}`, digest: word }),
  ),
];
const stage = (agentId: string, events: readonly Event[], after = 0): Promise<void> =>
  store.stage(agentId, after, creationOf(agentId, events).events.slice(after), store.nowMs());
const gone = (): Promise<void> => until("all is removed", () => countOf("staged") === 0);
const count = 2 * stagedEventsMax + 9;

describe("what no creation takes", () => {
  test("stands there for its time, and is then removed a page at a time", async () => {
    await store.create(creationOf("b", many(9), { wakeAtMs: 0 }));
    const before = rows();
    await stage("a", many(count));
    clock.advance(stagedKeptMs - 1);
    await quiet();
    expect(countOf("event")).toBe(9 + count);
    expect(verified(place)).toEqual([]);
    removed = [];
    clock.advance(1);
    await gone();
    expect(rows()).toBe(before);
    expect(removed.filter((it) => it > 0)).toEqual([
      2 * stagedEventsMax,
      2 * stagedEventsMax,
      // Of each event but the first there is a mark.
      9 + 8,
    ]);
    expect(await readAll(store, "b")).toHaveLength(9);
    expect(verified(place)).toEqual([]);
    await quiet();
    removed = [];
    clock.advance(3 * stagedKeptMs);
    await quiet();
    // Nobody looks where nothing stands aside.
    expect(removed).toEqual([]);
  });
  test("stands there for as long again with each page", async () => {
    const events = many(count);
    await stage("a", events.slice(0, 9));
    clock.advance(stagedKeptMs - 1);
    await stage("a", events, 9);
    await stage("b", many(2));
    for (const byMs of [1, stagedKeptMs - 2]) {
      clock.advance(byMs);
      await quiet();
    }
    expect(countOf("staged")).toBe(2);
    await store.create(takingOver("a", count, events, { wakeAtMs: 0 }));
    clock.advance(1);
    await gone();
    expect(await readAll(store, "a")).toEqual(logged(events));
    expect(countOf("event")).toBe(count);
    expect(verified(place)).toEqual([]);
  });
  test("is removed behind a start, while its id and others' numbers are free for use", async () => {
    await stage("a", many(count, "old"));
    await store.close();
    open();
    const events = many(9, "new");
    await stage("a", events);
    await store.create(creationOf("b", many(5), { wakeAtMs: 0 }));
    await store.create(takingOver("a", 9, events, { wakeAtMs: 0 }));
    await gone();
    expect(removed.length).toBeGreaterThan(2);
    expect(await readAll(store, "a")).toEqual(logged(events));
    expect(await readAll(store, "b")).toHaveLength(5);
    expect(rows()).toBe(9 + 8 + 5 + 4);
    expect(verified(place)).toEqual([]);
  });
  test("is removed too where the log was not the one that was named", async () => {
    await stage("a", many(9));
    await expect(
      store.create(takingOver("a", 9, many(9), { headHash: "00".repeat(32) })),
    ).rejects.toEqual(codeIs("invalid_argument"));
    expect(verified(place)).toEqual([]);
    clock.advance(stagedKeptMs);
    await gone();
    expect(rows()).toBe(0);
  });
  test("is left alone by a store that is closed meanwhile", async () => {
    await stage("a", many(9));
    await store.close();
    clock.advance(stagedKeptMs);
    expect(clock.waiting()).toBe(0);
    expect(verified(place)).toEqual([]);
    open();
    await gone();
    expect(rows()).toBe(0);
  });
});

describe("verify, beside an engine that has events aside", () => {
  const events = many(9);
  beforeEach(async () => {
    await store.create(creationOf("b", many(3), { wakeAtMs: 0 }));
    await stage("a", events);
  });
  test.each([
    [
      "an event of them",
      "UPDATE event SET at = at + 1 WHERE agent = 2 AND sequence = 3",
      "event 3 was changed",
    ],
    ["one is missing", "DELETE FROM event WHERE agent = 2 AND sequence = 4", "event 4 is missing"],
    [
      "a mark of them",
      "UPDATE mark SET digest = 'x' WHERE agent = 2 AND key = 'message 3'",
      "the mark of event 5 was changed",
    ],
    ["where they end", "UPDATE staged SET head = 8", "was changed"],
    ["whose they are", "UPDATE staged SET agent_id = 'c'", "was changed"],
    ["the agent's number", "UPDATE staged SET agent = 1", "which is there"],
    ["that they are there", "DELETE FROM staged", "9 rows of its table event belong to no agent"],
  ])("names what was changed: %s", (_, statement, fault) => {
    expect(verified(place)).toEqual([]);
    edit(statement);
    expect(verified(place).join("\n")).toContain(fault);
  });
  test("a changed row is neither taken over nor removed, nor others' events with it", async () => {
    edit("UPDATE staged SET agent = 1, head = 3");
    await expect(store.create(takingOver("a", 3, many(3)))).rejects.toEqual(codeIs("corrupt"));
    clock.advance(2 * stagedKeptMs);
    await quiet();
    await store.close();
    open();
    await quiet();
    expect(await readAll(store, "b")).toHaveLength(3);
    expect(countOf("staged")).toBe(1);
  });
});

test("a number is not given twice, whoever was deleted or made in between", async () => {
  const events = many(5);
  await store.create(creationOf("b", many(2), { wakeAtMs: 0 }));
  await stage("a", events.slice(0, 2));
  await store.remove("b", 1, true);
  await store.create(creationOf("c", many(3), { wakeAtMs: 0 }));
  await stage("d", many(4));
  await stage("a", events, 2);
  await store.create(takingOver("d", 4, many(4), { wakeAtMs: 0 }));
  await store.remove("d", 1, true);
  await store.create(takingOver("a", 5, events, { wakeAtMs: 0 }));
  expect(await readAll(store, "a")).toEqual(logged(events));
  expect(await readAll(store, "c")).toEqual(logged(many(3)));
  expect(verified(place)).toEqual([]);
});
