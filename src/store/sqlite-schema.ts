import type { Database } from "bun:sqlite";
import { marksOf } from "../agent/mark.ts";
import { EngramError } from "../errors.ts";
import { decodeEvent } from "./codec.ts";

/** Of the layout below; a newer one refuses to open here, an older one is brought up to it. */
const formatVersion = 2;

/** "ENGR": tells this project's files from others'. */
const applicationId = 0x454e4752;

const sinceFormat2 = `
  CREATE TABLE mark(
    agent INTEGER NOT NULL, key TEXT NOT NULL, sequence INTEGER NOT NULL, digest TEXT NOT NULL, PRIMARY KEY(agent, key)
  ) WITHOUT ROWID;
  CREATE TABLE snapshot(agent INTEGER PRIMARY KEY, sequence INTEGER NOT NULL, body TEXT NOT NULL, hash BLOB NOT NULL);
`;

/*
 * Events are appended in the order in which they come (rowid), with an index of integers beside: measured twice as many
 * events a second under group commit as a table clustered by agent, which writes a page for each agent.
 */
const layout = `
  CREATE TABLE agent(
    id INTEGER PRIMARY KEY, agent_id TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL,
    status TEXT NOT NULL, reason TEXT NOT NULL, head INTEGER NOT NULL, hash BLOB NOT NULL,
    stats TEXT NOT NULL, spec TEXT NOT NULL, parent TEXT NOT NULL,
    wake INTEGER, worker TEXT, lease_until INTEGER NOT NULL, epoch INTEGER NOT NULL, claims INTEGER NOT NULL,
    draft_call TEXT, draft_pieces INTEGER NOT NULL, worked INTEGER NOT NULL
  );
  CREATE INDEX agent_wake ON agent(wake) WHERE wake IS NOT NULL;
  CREATE INDEX agent_status ON agent(status, agent_id);
  CREATE TABLE event(
    id INTEGER PRIMARY KEY, agent INTEGER NOT NULL, sequence INTEGER NOT NULL,
    at INTEGER NOT NULL, body TEXT NOT NULL, hash BLOB NOT NULL
  );
  CREATE UNIQUE INDEX event_place ON event(agent, sequence);
  CREATE TABLE draft_piece(
    agent INTEGER NOT NULL, number INTEGER NOT NULL, kind TEXT NOT NULL, offset INTEGER NOT NULL, content TEXT NOT NULL,
    PRIMARY KEY(agent, number)
  ) WITHOUT ROWID;
  CREATE TABLE request(request_id TEXT PRIMARY KEY, agent INTEGER NOT NULL, digest TEXT NOT NULL) WITHOUT ROWID;
  CREATE INDEX request_agent ON request(agent);
  ${sinceFormat2}
  CREATE TABLE tombstone(agent_id TEXT PRIMARY KEY, deleted_at INTEGER NOT NULL) WITHOUT ROWID;
`;

/** Makes the layout in a new file, or brings an old one up to it. Throws failed_precondition on a newer or a foreign file. */
export function prepareSchema(db: Database, path: string): void {
  const version = pragma(db, "user_version");
  if (version === 0 && pragma(db, "application_id") === 0 && isEmpty(db)) {
    db.transaction(() => {
      db.run(layout);
      db.run(`PRAGMA user_version = ${formatVersion}`);
      db.run(`PRAGMA application_id = ${applicationId}`);
    })();
    return;
  }
  if (pragma(db, "application_id") !== applicationId)
    throw new EngramError(
      "failed_precondition",
      `${path} is a database of another program; choose another DB_PATH`,
    );
  if (version > formatVersion)
    throw new EngramError(
      "failed_precondition",
      `${path} has store format ${version}, this engine knows formats up to ${formatVersion}: start a newer engine`,
    );
  if (version < formatVersion) db.transaction(() => fromFormat1(db))();
}

/** Format 1 kept the marks in its states only, which were folded from the whole log at each start. */
function fromFormat1(db: Database): void {
  db.run(sinceFormat2);
  db.run("ALTER TABLE agent ADD COLUMN worked INTEGER NOT NULL DEFAULT 0");
  const events = db.query<{ body: string }, [number]>(
    "SELECT body FROM event WHERE agent = ? ORDER BY sequence",
  );
  const insert = db.query<null, [number, string, number, string]>(
    "INSERT INTO mark VALUES(?, ?, ?, ?)",
  );
  for (const { id } of db.query<{ id: number }, []>("SELECT id FROM agent").all()) {
    const log = events.all(id).map(({ body }) => decodeEvent(body));
    for (const { key, sequence, digest } of marksOf(log, 0)) insert.run(id, key, sequence, digest);
  }
  db.run(`PRAGMA user_version = ${formatVersion}`);
}

function pragma(db: Database, name: "user_version" | "application_id"): number {
  const row = db.query<Record<string, number>, []>(`PRAGMA ${name}`).get();
  return row?.[name] ?? 0;
}

const isEmpty = (db: Database): boolean =>
  db.query("SELECT 1 FROM sqlite_schema LIMIT 1").get() === null;
