import { Database } from "bun:sqlite";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { chainHash, snapshotHash } from "../../src/store/codec.ts";
import type { Store } from "../../src/store/store.ts";
import { said } from "../support/events.ts";
import {
  agentIds,
  copyStore,
  type Logged,
  makeSamples,
  openStore,
  scratch,
  seenOf,
  verified,
} from "../support/damage.ts";
import { type Sample, sampleOf } from "../support/damage-trial.ts";
import { appendTo, holder } from "../support/stores.ts";

let place = "";
let data: Sample;
beforeAll(async () => {
  const samples = await makeSamples();
  data = await sampleOf(samples.data);
});
afterAll(() => rmSync(dirname(data.folder), { recursive: true }));
beforeEach(() => {
  place = scratch();
  copyStore(data.folder, place);
});
afterEach(() => rmSync(place, { recursive: true }));

const file = (): string => join(place, "engram.db");
const edit = (...statements: readonly string[]): void => {
  const db = new Database(file());
  for (const statement of statements) db.run(statement);
  db.close(true);
};
const of = (agentId: string): string =>
  `agent = (SELECT id FROM agent WHERE agent_id = '${agentId}')`;
const corrupt = expect.objectContaining({ code: "corrupt" });

const withStore = async <T>(use: (store: Store) => Promise<T>, logs: Logged[] = []): Promise<T> => {
  const store = openStore(place, logs);
  try {
    return await use(store);
  } finally {
    await store.close();
  }
};
/** Everything about the agent is refused and named, and every other agent is as it was. */
const refusesAlone = async (agentId: string, fault: string): Promise<void> => {
  const logs: Logged[] = [];
  await withStore(async (store) => {
    const seen = await seenOf(store, agentId);
    for (const part of Object.values(seen)) expect(part).toBe("refused: corrupt");
    const message = await store.row(agentId, 0).catch((error: Error) => error.message);
    expect(message).toContain(`agent ${agentId} is damaged in the store: ${fault}`);
    await expect(store.remove(agentId, 0, false)).rejects.toEqual(corrupt);
    const hold = holder(agentId, 1);
    const call = { afterSequence: 1, nowMs: 0, tools: null, continuedLength: 0 };
    await expect(store.writeDraft(hold, call, [])).rejects.toEqual(corrupt);
    const leases = await store.claim({ worker: "w", untilMs: 2e15 }, 1.5e15, 99);
    expect(leases.map((lease) => lease.agentId)).not.toContain(agentId);
    for (const other of agentIds.filter((id) => id !== agentId))
      expect(await seenOf(store, other)).toEqual(data.view.agents.get(other)!);
    const listed = await store.list({ status: null, limit: 9, beforeAgentId: null }, 0);
    for (const other of agentIds.filter((id) => id !== agentId))
      expect(listed.map((row) => row.agentId)).toContain(other);
    // Nobody else has to suffer.
    await appendTo(
      store,
      agentIds.find((id) => id !== agentId)!,
      [said("on")],
      { wakeAtMs: 0 },
    );
  }, logs);
  expect(logs.filter(({ level }) => level === "error")).toEqual([
    { level: "error", message: expect.stringMatching(new RegExp(`engram verify .*${agentId}`)) },
  ]);
};

test("a store that nobody changed is found so", () => {
  expect(verified(place)).toEqual([]);
});

/** A change by hand, and how it is called. */
const changes: readonly (readonly [
  what: string,
  agentId: string,
  statement: string,
  fault: string,
])[] = [
  [
    "an event's body",
    "charlie",
    `UPDATE event SET body = replace(body, 'question', 'questiom') WHERE sequence = 4 AND ${of("charlie")}`,
    "event 4 was changed",
  ],
  [
    "an event's time",
    "charlie",
    `UPDATE event SET at = at + 1 WHERE sequence = 4 AND ${of("charlie")}`,
    "event 4 was changed",
  ],
  [
    "an event's hash",
    "charlie",
    `UPDATE event SET hash = zeroblob(32) WHERE sequence = 4 AND ${of("charlie")}`,
    "event 4 was changed",
  ],
  [
    "a missing event",
    "charlie",
    `DELETE FROM event WHERE sequence = 5 AND ${of("charlie")}`,
    "event 5 is missing",
  ],
  [
    "a missing first event",
    "charlie",
    `DELETE FROM event WHERE sequence = 1 AND ${of("charlie")}`,
    "event 1 is missing",
  ],
  [
    "a missing last event",
    "charlie",
    `DELETE FROM event WHERE sequence = (SELECT max(sequence) FROM event WHERE ${of("charlie")}) AND ${of("charlie")}`,
    "event 14 is missing",
  ],
  [
    "an event before the first",
    "charlie",
    `UPDATE event SET sequence = 0 WHERE sequence = 3 AND ${of("charlie")}`,
    "its log has an event 0",
  ],
  [
    "an event behind the last",
    "charlie",
    `INSERT INTO event SELECT NULL, agent, 15, at, body, hash FROM event WHERE sequence = 14 AND ${of("charlie")}`,
    "event 15 stands behind its last, 14",
  ],
  [
    "another status",
    "charlie",
    "UPDATE agent SET status = 'paused' WHERE agent_id = 'charlie'",
    "its index row was changed: its status, place or counts",
  ],
  [
    "another reason",
    "charlie",
    "UPDATE agent SET reason = 'x' WHERE agent_id = 'charlie'",
    "its index row was changed: its status, place or counts",
  ],
  [
    "other counts",
    "charlie",
    `UPDATE agent SET stats = replace(stats, '"steps":6', '"steps":5') WHERE agent_id = 'charlie'`,
    "its index row was changed: its status, place or counts",
  ],
  [
    "another time",
    "charlie",
    "UPDATE agent SET updated_at = 7 WHERE agent_id = 'charlie'",
    "its index row was changed: its status, place or counts",
  ],
  [
    "another hash",
    "charlie",
    "UPDATE agent SET hash = zeroblob(32) WHERE agent_id = 'charlie'",
    "event 14 is not the one that its index row ends with",
  ],
  [
    "an end before the end",
    "charlie",
    "UPDATE agent SET head = 9 WHERE agent_id = 'charlie'",
    "its index row says 9 events, its log 14",
  ],
  [
    "another goal",
    "charlie",
    "UPDATE agent SET spec = replace(spec, 'goal of', 'foal of') WHERE agent_id = 'charlie'",
    "its index row was changed: its goal, settings or parent",
  ],
  [
    "another birth",
    "charlie",
    "UPDATE agent SET created_at = 7 WHERE agent_id = 'charlie'",
    "its index row was changed: who it is, or when it was made",
  ],
  [
    "another request",
    "charlie",
    "UPDATE agent SET request_id = 'x' WHERE agent_id = 'charlie'",
    "its index row was changed: who it is, or when it was made",
  ],
  [
    "another epoch",
    "charlie",
    "UPDATE agent SET epoch = epoch + 1 WHERE agent_id = 'charlie'",
    "its index row was changed: who drives it",
  ],
  [
    "more claims",
    "charlie",
    "UPDATE agent SET claims = 9 WHERE agent_id = 'charlie'",
    "its index row was changed: who drives it",
  ],
  [
    "a later wake time",
    "charlie",
    "UPDATE agent SET wake = 9e15 WHERE agent_id = 'charlie'",
    "its index row was changed: who drives it",
  ],
  [
    "a mark's digest",
    "charlie",
    `UPDATE mark SET digest = 'x' WHERE key = 'message m1' AND ${of("charlie")}`,
    "the mark of event 4 was changed",
  ],
  [
    "a mark's event",
    "charlie",
    `UPDATE mark SET sequence = 3 WHERE key = 'message m1' AND ${of("charlie")}`,
    "the mark of event 4 was changed",
  ],
  [
    "a mark's key",
    "charlie",
    `UPDATE mark SET key = 'message mm' WHERE key = 'message m1' AND ${of("charlie")}`,
    "the mark of event 4 is missing",
  ],
  [
    "a missing mark",
    "charlie",
    `DELETE FROM mark WHERE key = 'message m1' AND ${of("charlie")}`,
    "the mark of event 4 is missing",
  ],
  [
    "a mark too many",
    "charlie",
    `INSERT INTO mark SELECT agent, 'message x', sequence, digest, row_check FROM mark WHERE key = 'message m1' AND ${of("charlie")}`,
    "it has 7 marks, its log gives 6",
  ],
  [
    "a snapshot's state",
    "charlie",
    `UPDATE snapshot SET body = replace(body, 'question', 'questiom') WHERE ${of("charlie")}`,
    "its snapshot at event 6 was changed",
  ],
  [
    "a snapshot's place",
    "charlie",
    `UPDATE snapshot SET sequence = 4 WHERE ${of("charlie")}`,
    "its snapshot at event 4 was changed",
  ],
  [
    "a snapshot behind the log",
    "charlie",
    `UPDATE snapshot SET sequence = 99 WHERE ${of("charlie")}`,
    "its snapshot is of event 99, its log ends at 14",
  ],
  [
    "a piece of a draft",
    "alpha",
    `UPDATE draft_piece SET content = 'piece 5 of alphx ' WHERE number = 5 AND ${of("alpha")}`,
    "piece 5 of its draft was changed",
  ],
  [
    "a missing piece",
    "alpha",
    `DELETE FROM draft_piece WHERE number = 5 AND ${of("alpha")}`,
    "piece 5 of its draft is missing",
  ],
  [
    "a missing last piece",
    "alpha",
    `DELETE FROM draft_piece WHERE number = 11 AND ${of("alpha")}`,
    "its draft says 12 pieces, there are 11",
  ],
  [
    "a draft's call",
    "alpha",
    `UPDATE agent SET draft_call = replace(draft_call, 'nowMs', 'nowNs') WHERE agent_id = 'alpha'`,
    "its draft was changed",
  ],
  [
    "a draft without a call",
    "alpha",
    "UPDATE agent SET draft_call = NULL WHERE agent_id = 'alpha'",
    "its draft was changed",
  ],
];

describe("a row that was changed is named by verify, and its agent alone is refused", () => {
  test.each(changes)("%s", async (_what, agentId, statement, fault) => {
    edit(statement);
    expect(verified(place)).toContain(`agent ${agentId}: ${fault}`);
    await refusesAlone(agentId, fault);
  });

  const swapped = (...columns: readonly string[]): string[] =>
    columns.flatMap((column) => {
      const at = (sequence: number): string => `sequence = ${sequence} AND ${of("delta")}`;
      return [
        `CREATE TEMP TABLE kept AS SELECT ${column} AS value FROM event WHERE ${at(5)}`,
        `UPDATE event SET ${column} = (SELECT ${column} FROM event WHERE ${at(6)}) WHERE ${at(5)}`,
        `UPDATE event SET ${column} = (SELECT value FROM temp.kept) WHERE ${at(6)}`,
        "DROP TABLE temp.kept",
      ];
    });
  test.each([[["at", "body", "hash"]], [["at", "body"]], [["body"]]])(
    "two events whose %p were swapped",
    async (columns) => {
      edit(...swapped(...columns));
      expect(verified(place)).toEqual(["agent delta: events 5 and 6 are swapped"]);
      await refusesAlone("delta", "events 5 and 6 are swapped");
    },
  );
  test("pieces of a draft that were swapped", async () => {
    const at = (number: number): string => `WHERE number = ${number} AND ${of("delta")}`;
    edit(
      `UPDATE draft_piece SET number = 99 ${at(3)}`,
      `UPDATE draft_piece SET number = 3 ${at(4)}`,
      `UPDATE draft_piece SET number = 4 ${at(99)}`,
    );
    expect(verified(place)).toEqual(["agent delta: piece 3 of its draft was changed"]);
    await refusesAlone("delta", "piece 3 of its draft was changed");
  });
  test("two agents whose ids were swapped", async () => {
    edit(
      "UPDATE agent SET agent_id = 'x' WHERE agent_id = 'alpha'",
      "UPDATE agent SET agent_id = 'alpha' WHERE agent_id = 'echo'",
      "UPDATE agent SET agent_id = 'echo' WHERE agent_id = 'x'",
    );
    expect(verified(place)).toEqual([
      "agent echo: event 1 was changed",
      "agent alpha: event 1 was changed",
    ]);
  });
  test("an event whose hash was made to fit", async () => {
    const db = new Database(file());
    type Row = { id: number; sequence: number; at: number; body: string; hash: Uint8Array };
    const [before, row] = db
      .query<Row, []>(
        `SELECT * FROM event WHERE sequence IN (3, 4) AND ${of("charlie")} ORDER BY sequence`,
      )
      .all();
    const body = row!.body.replace("question", "questiom");
    db.query("UPDATE event SET body = ?, hash = ? WHERE id = ?").run(
      body,
      chainHash(before!.hash, 4, row!.at, body),
      row!.id,
    );
    db.close(true);
    // From the hashes alone it cannot be told which of two neighbours is the changed one.
    expect(verified(place)).toEqual(["agent charlie: event 5 was changed"]);
    await refusesAlone("charlie", "event 5 was changed");
  });
  test("an index row that is gone", async () => {
    edit("DELETE FROM agent WHERE agent_id = 'bravo'");
    expect(verified(place)).toEqual([
      "15 rows of its table event belong to no agent",
      "5 rows of its table mark belong to no agent",
      "1 rows of its table snapshot belong to no agent",
    ]);
    const logs: Logged[] = [];
    await withStore(() => Promise.resolve(), logs);
    expect(logs.map(({ level }) => level)).toEqual(["error", "error", "error"]);
  });
  test("a tombstone", () => {
    edit("UPDATE tombstone SET deleted_at = 78");
    expect(verified(place)).toEqual(["the tombstone of agent zulu was changed"]);
    edit("UPDATE tombstone SET agent_id = 'alpha'");
    expect(verified(place)).toContain("1 deleted agents are still there");
  });
  test("an index that is gone", () => {
    edit("DROP INDEX agent_status");
    expect(verified(place)).toEqual(["its table or index agent_status was changed"]);
  });
});

test("a snapshot and a row of another version are no fault", async () => {
  edit(`UPDATE snapshot SET body = '{"version":0,"state":{}}'`);
  // Its hash is made by whoever wrote it.
  const db = new Database(file());
  type Row = { agent: number; hash: Uint8Array; body: string };
  const rows = db
    .query<Row, []>(
      "SELECT snapshot.agent, event.hash, snapshot.body FROM snapshot JOIN event USING (agent, sequence)",
    )
    .all();
  for (const { agent, hash, body } of rows)
    db.query("UPDATE snapshot SET hash = ? WHERE agent = ?").run(snapshotHash(hash, body), agent);
  db.close(true);
  expect(verified(place)).toEqual([]);
  await withStore(async (store) => expect(await store.snapshot("alpha")).toBeNull());
});
