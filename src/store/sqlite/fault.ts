import { SQLiteError } from "bun:sqlite";
import { EngramError, messageOf } from "../../errors.ts";

/** What to do about the faults that hold the whole file, by SQLite's code. The first that matches counts. */
const diskFaults: readonly (readonly [RegExp, string])[] = [
  [/^SQLITE_FULL/, "the store's disk is full: free some space"],
  [/^SQLITE_READONLY/, "the store's files are read-only: make DB_PATH writable again"],
  [/^SQLITE_(BUSY|LOCKED)/, "another program holds the store's database: close it"],
  [/^SQLITE_CANTOPEN/, "the store's files cannot be opened: look at DB_PATH and its disk"],
  [/^SQLITE_NOMEM/, "the store has no memory left: give the engine more"],
  // Of one page that cannot be read, only who needs it is to know.
  [/^SQLITE_IOERR(?!_READ|_SHORT_READ|_CORRUPTFS)/, "the store's disk fails: mend or replace it"],
];

/** SQLite quotes statements as they were written. */
export const oneLine = (text: string): string => text.replaceAll(/\s+/g, " ");

const codeOf = (error: unknown): string => (error instanceof SQLiteError && error.code) || "";

/** Whether a failure is the disk's or the file's as a whole, and no single write's. */
export const isOfDisk = (error: unknown): boolean =>
  diskFaults.some(([code]) => code.test(codeOf(error)));

export const isFull = (error: unknown): boolean => codeOf(error).startsWith("SQLITE_FULL");

/** What a failure of the database means to a caller; `internal` where neither disk nor file is at fault. */
export function storeFault(error: unknown): EngramError {
  if (error instanceof EngramError || !(error instanceof SQLiteError)) return EngramError.of(error);
  const code = codeOf(error);
  const details = { cause: error, transient: true };
  if (/^SQLITE_(CORRUPT|NOTADB)/.test(code))
    return new EngramError(
      "corrupt",
      `the database is damaged (${oneLine(error.message)}): engram verify says more, a backup of the folder brings it back`,
      { cause: error },
    );
  const advice = diskFaults.find(([pattern]) => pattern.test(code))?.[1];
  if (advice !== undefined)
    return new EngramError(
      "unavailable",
      `${advice}; until then nothing is written, and the engine goes on by itself (${messageOf(error)})`,
      details,
    );
  if (code.startsWith("SQLITE_IOERR"))
    return new EngramError(
      "unavailable",
      `the store's disk cannot read a part of the database: mend it, or take a backup (${error.message})`,
      details,
    );
  return EngramError.of(error);
}
