import type { Database } from "bun:sqlite";
import { existsSync, statSync } from "node:fs";
import { basename, dirname } from "node:path";
import { EngramError } from "../../errors.ts";
import type { Log } from "../../log.ts";
import { storeCheck } from "./checks.ts";
import { beginPromise, type Identity, type Promised, readPromise } from "./high-water.ts";
import { openReadOnly } from "./open-readonly.ts";
import { formatOf } from "./schema.ts";

/*
 * SQLite opens a file that is empty or gone as a new one, an old copy like the newest, and what follows a damaged place
 * of the write-ahead log it drops without a word. What was promised beside the file shows all of it.
 */

/** What is there instead of a store; `none`: a file of format 1, which has no identity. */
type Found = Identity | "missing" | "empty" | "none" | "damaged";

/** The identity in an open database; null: its row is not what was written. */
export function identityIn(db: Database): Identity | null {
  const rows = db
    .query<Identity & { row_check: number }, []>("SELECT id, commits, row_check FROM store")
    .all();
  const [row] = rows;
  return rows.length === 1 && row !== undefined && storeCheck(row) === row.row_check
    ? { id: row.id, commits: row.commits }
    : null;
}

/** Writes the identity of an open database, on its transaction where one is open. */
function setIdentity(db: Database, { id, commits }: Identity): void {
  db.query("UPDATE store SET id = ?, commits = ?, row_check = ?").run(
    id,
    commits,
    storeCheck({ id, commits }),
  );
}

function findIdentity(path: string): Found {
  if (!existsSync(path)) return "missing";
  if (statSync(path).size === 0) return "empty";
  const db = openReadOnly(path);
  try {
    return formatOf(db, path) < 2 ? "none" : (identityIn(db) ?? "damaged");
  } finally {
    db.close(true);
  }
}

/** Why a store is not what was promised beside it, in plain words; null: it is. */
export function brokenPromise(path: string): string | null {
  // First: an engine may commit in between.
  const promised = readPromise(dirname(path));
  return brokenPromiseOf(path, findIdentity(path), promised);
}

function brokenPromiseOf(path: string, found: Found, promised: Promised): string | null {
  if (found === "damaged")
    return `${path} is damaged: the row that says which store it is was changed`;
  if (promised === "nothing") return null;
  const gone = found === "missing" || found === "empty";
  if (promised === "unreadable") return gone ? `${path} is ${found}, but a store was here` : null;
  const { id, commits } = promised;
  if (commits === 0 && gone) return null;
  const was = `${commits} commits of store ${id} were promised`;
  if (gone) return `${path} is ${found}, but ${was}`;
  if (found === "none") return `${path} is of an older engine and knows no commits, but ${was}`;
  if (found.id !== id) return `${path} is another store, ${found.id}, but ${was}`;
  if (found.commits >= commits) return null;
  return `${path} holds ${found.commits} commits, but ${was}: its write-ahead log was damaged or lost, or an old copy put back`;
}

/** What opening a store needs to know of the operator. */
export type Opening = { readonly log: Log; readonly acceptDataLoss: boolean };

/**
 * To be called before a database is opened for writing, since that may change what is left of it. Fails with corrupt
 * where it is not what was promised and nobody accepted that; the result is to be called once it is open.
 */
export function checkPromise(
  path: string,
  { log, acceptDataLoss }: Opening,
): (db: Database) => void {
  const folder = dirname(path);
  const found = findIdentity(path);
  const promised = readPromise(folder);
  const broken = brokenPromiseOf(path, found, promised);
  if (broken !== null && !acceptDataLoss)
    throw new EngramError(
      "corrupt",
      `${broken}; put back the whole folder from a backup, or start with --accept-data-loss to go on with what is there`,
    );
  if (broken !== null) log("warn", "data loss was accepted", { reason: broken });
  const wasThere = found !== "missing" && found !== "empty" && found !== "none";
  if (broken === null && wasThere && typeof promised === "string" && !isNew(found))
    log("warn", `${basename(path)} stands without its marks: they are made anew`, { folder });
  return (db) => {
    const identity = identityIn(db);
    // Another line of the history begins: what comes back of the old one is another store.
    const own =
      identity === null || broken !== null
        ? { id: crypto.randomUUID(), commits: identity?.commits ?? 0 }
        : identity;
    if (own !== identity) setIdentity(db, own);
    if (own !== identity || typeof promised === "string" || promised.id !== own.id)
      beginPromise(folder, own);
  };
}

const isNew = (found: Found): boolean => typeof found !== "string" && found.commits === 0;
