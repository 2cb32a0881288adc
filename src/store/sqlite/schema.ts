import { Database } from "bun:sqlite";
import { EngramError } from "../../errors.ts";
import { storeCheck } from "./checks.ts";
import { moveFromFormat1 } from "./format-1.ts";

/** Of the layout below; a newer one refuses to open here, an older one is brought up to it. */
export const formatVersion = 3;

/** "ENGR": tells this project's files from others'. */
const applicationId = 0x454e4752;

/*
 * Events are appended in the order in which they come (rowid), with an index of integers beside: measured twice as many
 * events a second under group commit as a table clustered by agent, which writes a page for each agent.
 */
const events = `
  CREATE TABLE event(
    id INTEGER PRIMARY KEY, agent INTEGER NOT NULL, sequence INTEGER NOT NULL,
    at INTEGER NOT NULL, body TEXT NOT NULL, hash BLOB NOT NULL
  );
  CREATE UNIQUE INDEX event_place ON event(agent, sequence);
`;

/** All but the events, which are as they were in format 1. Each group of an agent's columns has its check behind it. */
const others = `
  CREATE TABLE store(id TEXT NOT NULL, commits INTEGER NOT NULL, row_check INTEGER NOT NULL);
  CREATE TABLE agent(
    id INTEGER PRIMARY KEY, agent_id TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL, request_id TEXT, request_digest TEXT, birth_check INTEGER NOT NULL,
    spec TEXT NOT NULL, parent TEXT NOT NULL, spec_check INTEGER NOT NULL,
    updated_at INTEGER NOT NULL, status TEXT NOT NULL, reason TEXT NOT NULL, head INTEGER NOT NULL,
    hash BLOB NOT NULL, stats TEXT NOT NULL, version INTEGER NOT NULL, head_check INTEGER NOT NULL,
    worker TEXT, epoch INTEGER NOT NULL, claims INTEGER NOT NULL, worked INTEGER NOT NULL, lease_check INTEGER NOT NULL,
    wake INTEGER, lease_until INTEGER NOT NULL,
    draft_call TEXT, draft_pieces INTEGER NOT NULL, draft_tail INTEGER NOT NULL, draft_check INTEGER NOT NULL
  );
  CREATE INDEX agent_wake ON agent(wake) WHERE wake IS NOT NULL;
  CREATE INDEX agent_status ON agent(status, agent_id);
  CREATE UNIQUE INDEX agent_request ON agent(request_id) WHERE request_id IS NOT NULL;
  CREATE TABLE draft_piece(
    agent INTEGER NOT NULL, number INTEGER NOT NULL, kind TEXT NOT NULL, offset INTEGER NOT NULL, content TEXT NOT NULL,
    row_check INTEGER NOT NULL, PRIMARY KEY(agent, number)
  ) WITHOUT ROWID;
  CREATE TABLE mark(
    agent INTEGER NOT NULL, key TEXT NOT NULL, sequence INTEGER NOT NULL, digest TEXT NOT NULL, row_check INTEGER NOT NULL,
    PRIMARY KEY(agent, key)
  ) WITHOUT ROWID;
  CREATE TABLE snapshot(agent INTEGER PRIMARY KEY, sequence INTEGER NOT NULL, body TEXT NOT NULL, hash BLOB NOT NULL);
  CREATE TABLE tombstone(agent_id TEXT PRIMARY KEY, deleted_at INTEGER NOT NULL, row_check INTEGER NOT NULL) WITHOUT ROWID;
`;

/**
 * What stands aside for agents that are still to be made, as format 3 brought it: their events and marks are in their
 * tables, under the number that the agent will have. Without an id: thrown away, until all of it is removed. They are few.
 */
const staged = `
  CREATE TABLE staged(
    agent INTEGER PRIMARY KEY, agent_id TEXT, head INTEGER NOT NULL, hash BLOB NOT NULL,
    forked INTEGER NOT NULL, touched INTEGER NOT NULL, row_check INTEGER NOT NULL
  );
`;

/** Makes the layout in a new file, or brings an old one up to it. Fails as `formatOf`, and with corrupt where the layout was changed. */
export function prepareSchema(db: Database, path: string): void {
  const format = formatOf(db, path);
  if (format === 0)
    db.transaction(() => {
      db.run(events);
      lay(db);
      db.run(`PRAGMA application_id = ${applicationId}`);
    })();
  if (format === 1) db.transaction(() => moveFromFormat1(db, () => lay(db)))();
  if (format === 2) db.transaction(() => layStaged(db))();
  const fault = schemaFault(db, formatVersion);
  if (fault !== null)
    throw new EngramError("corrupt", `${path} is damaged: ${fault}; put a backup back`);
}

function lay(db: Database): void {
  db.run(others);
  const store = { id: crypto.randomUUID(), commits: 0 };
  db.query("INSERT INTO store VALUES(?, ?, ?)").run(store.id, store.commits, storeCheck(store));
  layStaged(db);
}

/** All that format 3 has and format 2 has not. */
function layStaged(db: Database): void {
  db.run(staged);
  db.run(`PRAGMA user_version = ${formatVersion}`);
}

/** The format of a file; 0: it holds nothing yet. Fails with failed_precondition on a newer or a foreign file. */
export function formatOf(db: Database, path: string): number {
  const version = pragma(db, "user_version");
  const application = pragma(db, "application_id");
  if (version === 0 && application === 0 && isEmpty(db)) return 0;
  if (application !== applicationId)
    throw new EngramError(
      "failed_precondition",
      `${path} is a database of another program; choose another DB_PATH`,
    );
  if (version > formatVersion)
    throw new EngramError(
      "failed_precondition",
      `${path} has store format ${version}, this engine knows formats up to ${formatVersion}: start a newer engine`,
    );
  if (version < 1)
    throw new EngramError("corrupt", `${path} is damaged: it has no format; put a backup back`);
  return version;
}

/** What of the layout of a file of format 2 or newer is not as it was made, in plain words; null: nothing. */
export function schemaFault(db: Database, format: number): string | null {
  const made = new Database(":memory:");
  try {
    made.run(events + others + (format < 3 ? "" : staged));
    const found = layoutOf(db);
    const changed = [...layoutOf(made)].find(([name, text]) => found.get(name) !== text);
    return changed === undefined ? null : `its table or index ${changed[0]} was changed`;
  } finally {
    made.close(true);
  }
}

/** The text of each table and index by its name; blanks may differ. */
function layoutOf(db: Database): ReadonlyMap<string, string> {
  const rows = db
    .query<{ name: string; sql: string }, []>("SELECT name, sql FROM sqlite_schema WHERE sql <> ''")
    .all();
  return new Map(rows.map(({ name, sql }) => [name, sql.replaceAll(/\s+/g, " ")]));
}

function pragma(db: Database, name: "user_version" | "application_id"): number {
  const row = db.query<Record<string, number>, []>(`PRAGMA ${name}`).get();
  return row?.[name] ?? 0;
}

const isEmpty = (db: Database): boolean =>
  db.query("SELECT 1 FROM sqlite_schema LIMIT 1").get() === null;
