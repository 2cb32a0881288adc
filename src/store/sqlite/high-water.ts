import {
  closeSync,
  constants,
  existsSync,
  openSync,
  readFileSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { EngramError, messageOf } from "../../errors.ts";
import { storeCheck } from "./checks.ts";

/** Which store a database is, and how many commits it has taken; the database holds it too, as of its newest commit. */
export type Identity = { readonly id: string; readonly commits: number };

/** What stands beside a database: how many commits were promised to be durable. */
export type Promised = Identity | "nothing" | "unreadable";

/*
 * The file has two places of equal length, written in turn, each with a check: a write that a power loss tears leaves the
 * one before. It is not synced: it may fall behind the database, and is never ahead of it.
 */
const placeBytes = 96;

const pathIn = (folder: string): string => join(folder, "engram.high-water");

function encoded({ id, commits }: Identity): string {
  const text = `engram store ${id} commits ${commits} check ${storeCheck({ id, commits })}`;
  return `${text.padEnd(placeBytes - 1)}\n`;
}

function decoded(text: string): Identity | null {
  const [, id, commits, check] =
    /^engram store (\S+) commits (\d+) check (\d+) *\n$/.exec(text) ?? [];
  if (id === undefined) return null;
  const identity = { id, commits: Number(commits) };
  return storeCheck(identity) === Number(check) ? identity : null;
}

/** What was promised of the store in a folder. */
export function readPromise(folder: string): Promised {
  const path = pathIn(folder);
  if (!existsSync(path)) return "nothing";
  const text = readFileSync(path, "latin1");
  const one = decoded(text.slice(0, placeBytes));
  const other = decoded(text.slice(placeBytes, 2 * placeBytes));
  if (one === null || other === null) return one ?? other ?? "unreadable";
  return one.commits > other.commits ? one : other;
}

/** Makes the file anew. */
export function beginPromise(folder: string, identity: Identity): void {
  writeFileSync(pathIn(folder), encoded(identity).repeat(2), { mode: 0o600 });
}

/** Where each commit is promised, once it is durable; whoever opened it closes it. */
export type PromiseWriter = { write(identity: Identity): void; close(): void };

/** Fails with unavailable. */
export function openPromise(folder: string): PromiseWriter {
  const file = openFile(pathIn(folder));
  return {
    write: (identity) => {
      try {
        writeSync(file, encoded(identity), (identity.commits % 2) * placeBytes, "latin1");
      } catch {
        // It falls behind, which weakens it; the commit is durable all the same.
      }
    },
    close: () => closeSync(file),
  };
}

function openFile(path: string): number {
  try {
    return openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600);
  } catch (cause) {
    throw new EngramError("unavailable", `${path} cannot be written: ${messageOf(cause)}`, {
      cause,
      transient: true,
    });
  }
}
