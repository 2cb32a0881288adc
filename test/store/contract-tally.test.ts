import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import type { Event } from "../../src/agent/event.ts";
import type { Status } from "../../src/agent/state.ts";
import { storeLimits } from "../../src/limits.ts";
import { prepareSchema } from "../../src/store/sqlite/schema.ts";
import { openCounter } from "../../src/store/sqlite/tally.ts";
import { noAgents } from "../../src/store/tally.ts";
import {
  answered,
  born,
  callAfter,
  canceled,
  paused,
  said,
  spoke,
  turnFailed,
} from "../support/events.ts";
import { claiming, contract } from "../support/store-contract.ts";
import { appendTo, creationOf, holder } from "../support/stores.ts";

contract("the tally of a store", (at) => {
  test("of an empty store is nothing", async () => {
    expect(await at.store.tally(0)).toEqual({ agents: noAgents(), due: 0, dueSinceMs: null });
  });

  test("counts each agent once, under the status that its row shows", async () => {
    const question: Event = {
      type: "ToolRequested",
      head: { call: callAfter(1), usage: { promptTokens: 1, completionTokens: 1 } },
      callId: "call_2",
      name: "echo",
      inputJson: "{}",
      requiresConfirmation: true,
    };
    const kinds: readonly (readonly Event[])[] = [
      [],
      [spoke("x", 1)],
      [question],
      [paused()],
      [answered("x", 1)],
      [turnFailed],
      [canceled],
    ];
    for (const [kind, events] of kinds.entries())
      for (let copy = 0; copy <= kind; copy++)
        await at.store.create(creationOf(`a${kind}${copy}`, [born(), ...events]));
    const { agents } = await at.store.tally(0);
    const expected = noAgents();
    for (const { status } of await at.store.list(
      { status: null, limit: 100, beforeAgentId: null },
      0,
    ))
      expected[status]++;
    expect(agents).toEqual(expected);
    expect(Object.values(agents).toSorted((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    await at.store.remove("a60", 0, false);
    expect((await at.store.tally(0)).agents.canceled).toBe(6);
  });

  test("counts as processing who is held by a lease that runs, and has work", async () => {
    const { create, claim } = claiming(at);
    for (const agentId of ["a", "b", "c"]) await create(agentId, 10);
    await create("later", 500);
    const counted = async (nowMs: number): Promise<readonly number[]> => {
      const { agents } = await at.store.tally(nowMs);
      return [agents.processing, agents.waiting_for_step, agents.paused];
    };
    expect(await counted(10)).toEqual([0, 4, 0]);
    const leases = await claim("w", 20, 120);
    expect(await counted(20)).toEqual([3, 1, 0]);
    await at.store.renew(leases.slice(0, 1), 220);
    expect(await counted(119)).toEqual([3, 1, 0]);
    expect(await counted(120)).toEqual([1, 3, 0]);
    await appendTo(at.store, leases[0]!.agentId, [paused()], { atMs: 130 });
    expect(await counted(130)).toEqual([0, 3, 1]);
    expect(await counted(130)).toEqual([0, 3, 1]);
  });

  test("does not take a wake time that a client set for a lease", async () => {
    const { create, claimOne } = claiming(at);
    await create("a", 10);
    await claimOne("w", 10, 100);
    await appendTo(at.store, "a", [said("more")], { atMs: 150, wakeAtMs: 300 });
    const { agents, due } = await at.store.tally(200);
    expect([agents.processing, agents.waiting_for_step, due]).toEqual([0, 1, 0]);
  });

  test("tells how many are due with nobody to drive them, and since when", async () => {
    const { create, claimOne } = claiming(at);
    const waiting = async (nowMs: number): Promise<readonly (number | null)[]> => {
      const { due, dueSinceMs } = await at.store.tally(nowMs);
      return [due, dueSinceMs];
    };
    await create("never", null);
    await create("first", 10);
    for (let n = 0; n < 40; n++) await create(`then${n}`, 20);
    await create("later", 30);
    expect(await waiting(9)).toEqual([0, null]);
    expect(await waiting(10)).toEqual([1, 10]);
    expect(await waiting(29)).toEqual([41, 10]);
    const lease = await at.store.claim({ worker: "w", untilMs: 100 }, 15, 1);
    expect(await waiting(30)).toEqual([41, 20]);
    await at.store.release(holder("first", lease[0]!.epoch), null, null);
    await at.store.claim({ worker: "w", untilMs: 100 }, 30, 40);
    expect(await waiting(40)).toEqual([1, 30]);
    await claimOne("w", 40, 100);
    expect(await waiting(99)).toEqual([0, null]);
    // The worker is gone: they wait for another.
    expect(await waiting(100)).toEqual([41, 100]);
  });

  test("is as it was behind a restart, but for leases", async () => {
    await claiming(at).create("a", 10);
    await at.create("b", spoke("x", 1));
    const before = await at.store.tally(20);
    await at.reopen();
    const { agents, due } = await at.store.tally(20);
    expect({ agents, due }).toEqual({ agents: before.agents, due: before.due });
  });
});

describe("the tally of a long SQLite file", () => {
  /** More than two slices of each, with thousands that are due at the same time. */
  const filled = (): Database => {
    const db = new Database(":memory:", { strict: true });
    prepareSchema(db, "memory");
    const statuses: readonly Status[] = ["waiting_for_step", "completed"];
    let kinds = 0;
    const insert = (count: number, status: Status, lease: string): void =>
      void db.run(
        `WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ${count})
         INSERT INTO agent SELECT NULL, '${kinds++}-' || n, 0, NULL, NULL, 0, '', '', 0, 0, '${status}', '', 1,
           x'', '', 1, 0, ${lease}, NULL, 0, 0, 0 FROM n`,
      );
    for (const status of statuses)
      for (const lease of ["NULL, 0, 0, 0, 0, 70, 0", "NULL, 0, 0, 0, 0, n, 0"])
        insert(storeLimits.tallySlice + 2, status, lease);
    insert(storeLimits.tallyRows * 2, "waiting_for_step", "'w', 1, 1, 0, 0, 900000, 900000");
    insert(storeLimits.tallyRows, "waiting_for_step", "NULL, 1, 0, 0, 0, 900000, 0");
    insert(3, "paused", "'w', 1, 1, 0, 0, 900000, 900000");
    return db;
  };

  test("counts every agent once, and lets others run between its slices", async () => {
    const db = filled();
    const counter = openCounter(db, (read) => read());
    let turns = 0;
    let counting = true;
    const turn = (): void => {
      turns++;
      if (counting) setImmediate(turn);
    };
    setImmediate(turn);
    const { tallySlice: slice, tallyRows: rows } = storeLimits;
    const { agents, due, dueSinceMs } = await counter.tally(slice);
    counting = false;
    expect(agents).toEqual({
      ...noAgents(),
      waiting_for_step: 2 * (slice + 2) + rows,
      processing: 2 * rows,
      completed: 2 * (slice + 2),
      paused: 3,
    });
    expect(due).toBe(2 * (slice + 2) + 2 * slice);
    expect(dueSinceMs).toBe(1);
    expect(turns).toBeGreaterThan(10);
    const driven = await counter.driven(slice);
    expect(new Set(driven).size).toBe(2 * rows);
    expect(driven.length).toBe(2 * rows);
    counter.finalize();
    db.close(true);
  });
});
