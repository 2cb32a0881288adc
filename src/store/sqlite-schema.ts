import type { Database } from "bun:sqlite";
import { EngramError } from "../errors.ts";

/** Of the layout below; a newer one refuses to open here, an older one is brought up to it. */
const formatVersion = 1;

/** "ENGR": tells this project's files from others'. */
const applicationId = 0x454e4752;

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
    draft_call TEXT, draft_pieces INTEGER NOT NULL
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
  CREATE TABLE tombstone(agent_id TEXT PRIMARY KEY, deleted_at INTEGER NOT NULL) WITHOUT ROWID;
`;

/** Makes the layout in a new file, or checks that an old one has it. Throws failed_precondition on a newer or a foreign file. */
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
}

function pragma(db: Database, name: "user_version" | "application_id"): number {
  const row = db.query<Record<string, number>, []>(`PRAGMA ${name}`).get();
  return row?.[name] ?? 0;
}

const isEmpty = (db: Database): boolean =>
  db.query("SELECT 1 FROM sqlite_schema LIMIT 1").get() === null;
