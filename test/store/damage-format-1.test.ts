import { Database } from "bun:sqlite";
import { afterEach, beforeEach, expect, test } from "bun:test";
import { cpSync, rmSync } from "node:fs";
import { join } from "node:path";
import { statusOf } from "../../src/agent/state.ts";
import { said } from "../support/events.ts";
import { type Logged, openStore, scratch, verified } from "../support/damage.ts";
import { appendTo, readAll } from "../support/stores.ts";
import { fold } from "../../src/agent/fold.ts";

/** Made by the engine that was released with format 1. */
const fixture = join(import.meta.dir, "..", "logs", "store-format-1.db");

type Kept = {
  readonly agent_id: string;
  readonly head: number;
  readonly draft_call: string | null;
};
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
  expect(logs.map(({ level }) => level)).toEqual(["error"]);
  expect(verified(place)).toEqual([`agent ${bad?.agent_id}: event 2 was changed`]);
});
