import { Database } from "bun:sqlite";
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { cpSync, rmSync } from "node:fs";
import { join } from "node:path";
import { marksOf } from "../../src/agent/mark.ts";
import { statusOf } from "../../src/agent/state.ts";
import { formatVersion } from "../../src/store/sqlite/schema.ts";
import { born, logged, said } from "../support/events.ts";
import { type Logged, openStore, scratch, verified } from "../support/damage.ts";
import { appendTo, creationOf, readAll, takingOver } from "../support/stores.ts";
import { fold } from "../../src/agent/fold.ts";

/** Made by the engines that were released with these formats; the last also before calls told what models can do. */
const fixtures = [1, 2, 3].map((format) => ({
  format,
  fixture: join(import.meta.dir, "..", "logs", `store-format-${format}.db`),
}));

type Kept = {
  readonly agent_id: string;
  readonly head: number;
  readonly draft_call: string | null;
};
describe.each(fixtures)("a store of format $format", ({ format, fixture }) => {
  let place = "";
  let kept: readonly Kept[] = [];
  beforeEach(() => {
    place = scratch();
    const path = join(place, "engram.db");
    cpSync(fixture, path);
    const db = new Database(path);
    kept = db.query<Kept, []>("SELECT agent_id, head, draft_call FROM agent").all();
    db.close(true);
  });
  afterEach(() => rmSync(place, { recursive: true }));

  const edit = (statement: string): void => {
    const db = new Database(join(place, "engram.db"));
    db.run(statement);
    db.close(true);
  };
  test("its logs are walked as they are, and a change in one is named", () => {
    expect(verified(place)).toEqual([]);
    const [{ agent_id: agentId } = { agent_id: "" }] = kept;
    edit(`UPDATE event SET at = at + 1 WHERE sequence = 2 AND agent = 1`);
    expect(verified(place)).toEqual([`agent ${agentId}: event 2 was changed`]);
  });

  test("it is brought up to date whole, and its agents go on", async () => {
    const store = openStore(place);
    for (const { agent_id: agentId, head, draft_call: call } of kept) {
      const log = await readAll(store, agentId);
      expect(log).toHaveLength(head);
      const state = fold(log);
      expect(await store.row(agentId, 0)).toMatchObject({
        status: statusOf(state),
        stats: state.stats,
        spec: state.spec,
        createdAtMs: state.createdAtMs,
      });
      expect((await store.readDraft(agentId, 0)) !== null).toBe(call !== null);
      await appendTo(store, agentId, [said("are you there?")], { wakeAtMs: 0 });
    }
    await store.close();
    expect(verified(place)).toEqual([]);
    const again = openStore(place);
    for (const { agent_id: agentId, head } of kept)
      expect(await again.row(agentId, 0)).toMatchObject({ sequence: head + 1 });
    await again.close();
    // Opened as it is now.
    const db = new Database(join(place, "engram.db"), { readonly: true });
    expect(db.query("PRAGMA user_version").get()).toEqual({ user_version: formatVersion });
    db.close(true);
  });

  test("what it keeps beside its logs goes on to count", async () => {
    const store = openStore(place);
    const marked = await Promise.all(
      kept.map(async ({ agent_id: agentId }) => {
        const log = await readAll(store, agentId);
        const forkedAt = log.findLastIndex(({ event }) => event.type === "AgentForked");
        const marks = marksOf(
          log.map(({ event }) => event),
          0,
        );
        const keys = marks.map(({ key }) => key);
        expect([...(await store.marks(agentId, keys)).values()]).toEqual([...marks]);
        const snapshot = await store.snapshot(agentId);
        return { marks: marks.length, forkedAt, snapshot };
      }),
    );
    expect(Math.max(...marked.map(({ marks }) => marks))).toBeGreaterThan(0);
    if (format > 1) {
      // They are of an older version of the state, and not gone on with.
      expect(marked.every(({ snapshot }) => snapshot === null)).toBe(true);
      expect(marked.some(({ forkedAt }) => forkedAt > 0)).toBe(true);
    }
    await store.close();
  });

  test("an agent of it can be put aside and made, beside those that it has", async () => {
    const events = [born(), said("1"), said("2")];
    const store = openStore(place);
    await store.stage("new", 0, creationOf("new", events).events.slice(0, 2), store.nowMs());
    expect(verified(place)).toEqual([]);
    await store.create(takingOver("new", 2, events, { wakeAtMs: 0 }));
    expect(await readAll(store, "new")).toEqual(logged(events));
    for (const { agent_id: agentId, head } of kept)
      expect(await readAll(store, agentId)).toHaveLength(head);
    await store.close();
    expect(verified(place)).toEqual([]);
  });

  test("an agent whose log was damaged before stays refused, and named, when it is brought up to date", async () => {
    const [bad, good] = kept;
    edit(`UPDATE event SET at = at + 1 WHERE sequence = 2 AND agent = 1`);
    const logs: Logged[] = [];
    const store = openStore(place, logs);
    await expect(store.row(bad?.agent_id ?? "", 0)).rejects.toMatchObject({
      code: "corrupt",
      message: expect.stringContaining("event 2 was changed"),
    });
    expect(await store.row(good?.agent_id ?? "", 0)).not.toBeNull();
    await store.close();
    expect(logs.filter(({ level }) => level === "error")).toHaveLength(1);
    expect(verified(place)).toEqual([`agent ${bad?.agent_id}: event 2 was changed`]);
  });
});
