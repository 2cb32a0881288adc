import type { Database } from "bun:sqlite";
import { messageOf } from "../errors.ts";
import { storeCheck, tombstoneCheck } from "./checks.ts";
import { schemaFault } from "./sqlite-schema.ts";

const owned = ["event", "draft_piece", "mark", "snapshot"] as const;

/** What is wrong with a database beside its agents, in plain words; one that cannot be read at all is told as such. */
export function* faultsOf(db: Database, format: number): Generator<string> {
  const looks = format === 1 ? [integrity] : [layout, identity, orphans, tombstones, integrity];
  for (const look of looks)
    try {
      yield* look(db);
    } catch (error) {
      yield `it cannot be read: ${messageOf(error)}`;
    }
}

function* layout(db: Database): Generator<string> {
  const fault = schemaFault(db);
  if (fault !== null) yield fault;
}

function* identity(db: Database): Generator<string> {
  const rows = db
    .query<{ id: string; commits: number; row_check: number }, []>("SELECT * FROM store")
    .all();
  const [row] = rows;
  if (row === undefined || rows.length > 1) yield `it has ${rows.length} identities`;
  else if (storeCheck(row) !== row.row_check) yield "its identity was changed";
}

function* orphans(db: Database): Generator<string> {
  for (const table of owned) {
    const rows = countOf(
      db,
      `SELECT count(*) AS count FROM ${table} WHERE agent NOT IN (SELECT id FROM agent)`,
    );
    if (rows > 0) yield `${rows} rows of its table ${table} belong to no agent`;
  }
}

function* tombstones(db: Database): Generator<string> {
  const risen = countOf(
    db,
    "SELECT count(*) AS count FROM tombstone WHERE agent_id IN (SELECT agent_id FROM agent)",
  );
  if (risen > 0) yield `${risen} deleted agents are still there`;
  const rows = db.query<{ agent_id: string; deleted_at: number; row_check: number }, []>(
    "SELECT agent_id, deleted_at, row_check FROM tombstone",
  );
  for (const row of rows.iterate())
    if (tombstoneCheck(row) !== row.row_check)
      yield `the tombstone of agent ${row.agent_id} was changed`;
}

function* integrity(db: Database): Generator<string> {
  for (const { integrity_check: complaint } of db
    .query<{ integrity_check: string }, []>("PRAGMA integrity_check")
    .all())
    if (complaint !== "ok") yield `SQLite says: ${complaint}`;
}

const countOf = (db: Database, text: string): number =>
  db.query<{ count: number }, []>(text).get()?.count ?? 0;
