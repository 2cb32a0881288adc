import type { Database } from "bun:sqlite";
import { messageOf } from "../../../errors.ts";
import { storeCheck, tombstoneCheck } from "../checks.ts";
import { stagedLogs, stagedRows } from "./staged.ts";
import { schemaFault } from "../schema.ts";

const owned = ["event", "draft_piece", "mark", "snapshot"] as const;

/** What is wrong with a database beside its agents, in plain words. */
export function* faultsOf(db: Database, format: number): Generator<string> {
  if (format !== 1) yield* rowFaultsOf(db, format);
  if (format > 2) yield* found(db, [stagedLogs]);
  yield* found(db, [integrity]);
}

/** Of it what an engine looks at: its pages' order it has looked at already. */
export const rowFaultsOf = (db: Database, format: number): Generator<string> =>
  found(db, [
    () => layout(db, format),
    identity,
    () => orphans(db, format),
    tombstones,
    ...(format > 2 ? [stagedRows] : []),
  ]);

type Look = (db: Database) => Generator<string>;

/** A look that cannot be taken is told as such, and the others are. */
function* found(db: Database, looks: readonly Look[]): Generator<string> {
  for (const look of looks)
    try {
      yield* look(db);
    } catch (error) {
      yield `it cannot be read: ${messageOf(error)}`;
    }
}

function* layout(db: Database, format: number): Generator<string> {
  const fault = schemaFault(db, format);
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

function* orphans(db: Database, format: number): Generator<string> {
  for (const table of owned) {
    const aside = format > 2 ? "AND agent NOT IN (SELECT agent FROM staged)" : "";
    const rows = countOf(
      db,
      `SELECT count(*) AS count FROM ${table} WHERE agent NOT IN (SELECT id FROM agent) ${aside}`,
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
