import { constants, Database } from "bun:sqlite";
import { existsSync, statSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { EngramError, messageOf } from "../../errors.ts";
import { oneLine, storeFault } from "./fault.ts";

/**
 * The database at `path` for reading alone, beside an engine or without one; whoever opened it closes it. Fails with
 * not_found where there is none, and with corrupt where the file is none.
 */
export function openReadOnly(path: string): Database {
  if (!existsSync(path)) throw new EngramError("not_found", `there is no database ${path}`);
  if (statSync(path).size === 0) throw new EngramError("corrupt", `${path} is empty`);
  try {
    return opened(() => new Database(path, { readonly: true, strict: true }));
  } catch (error) {
    try {
      return opened(() => withoutLocks(path));
    } catch {
      const { code } = storeFault(error);
      throw new EngramError(code, `${path} cannot be read: ${oneLine(messageOf(error))}`, {
        cause: error,
      });
    }
  }
}

/** Nothing is read before the first query; so it is made here. */
function opened(open: () => Database): Database {
  const db = open();
  try {
    db.query("SELECT count(*) FROM sqlite_schema").get();
    return db;
  } catch (error) {
    db.close(true);
    throw error;
  }
}

/**
 * Where no file can be made, SQLite cannot share its index of the write-ahead log; alone and without locks it keeps that
 * index in memory. No engine writes in such a place.
 */
function withoutLocks(path: string): Database {
  const url = pathToFileURL(path);
  url.searchParams.set("mode", "ro");
  url.searchParams.set("vfs", process.platform === "win32" ? "win32-none" : "unix-none");
  const db = new Database(url.href, constants.SQLITE_OPEN_READONLY | constants.SQLITE_OPEN_URI);
  db.run("PRAGMA locking_mode = EXCLUSIVE");
  return db;
}
