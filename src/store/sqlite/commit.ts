import { Database } from "bun:sqlite";
import { statfsSync } from "node:fs";
import { dirname } from "node:path";
import { EngramError, type ErrorCode } from "../../errors.ts";
import { storeLimits } from "../../limits.ts";
import { storeCheck } from "./checks.ts";
import { type Identity, openPromise, type PromiseWriter } from "./high-water.ts";
import { identityIn } from "./identity.ts";
import { isFull, isOfDisk, storeFault } from "./fault.ts";
import { mending, perform, readableDue, takeAll } from "./perform.ts";
import { openStatements, type Statements } from "./rows.ts";
import type { Answer, ClaimWrite, Write } from "./writes.ts";

/** An EngramError as plain data. */
export type Refusal = {
  readonly kind: "refused";
  readonly code: ErrorCode;
  readonly message: string;
  readonly transient: boolean;
};

export type Outcome = Answer | Refusal;

/** What came of a batch, and whether the disk took it. */
export type Committed = {
  /** In the order of the writes. */
  readonly outcomes: readonly Outcome[];
  /** Why the disk took none of them; null: it did. */
  readonly fault: Refusal | null;
};

/** The connection that writes. One at a time has a file. */
export interface Committer {
  /**
   * Performs the writes in their order in one transaction, synced to the disk when this returns. A refusal is its own
   * write's alone, and so is a damaged page that a write meets; a fault of the disk fails all of them and leaves nothing.
   */
  commit(writes: readonly Write[]): Committed;
  /** Moves what the log holds into the file, so that no commit has to; behind a deletion it empties the log, which has its text. */
  checkpoint(): void;
  close(): void;
}

/** Opens the file at `path`, which is there and laid out, at the first commit, and again after a fault of the disk. */
export function makeCommitter(path: string, bytesFree: BytesFree = bytesFreeAt): Committer {
  let hand: Hand | null = null;
  let full: Refusal | null = null;
  /** The log holds nothing that was deleted. */
  let isErased = true;
  const drop = (): void => {
    const dropped = hand;
    hand = null;
    dropped?.close();
  };
  return {
    commit: (writes) => {
      // What a full disk takes at its last page would have large writes fail again and again between small ones.
      if (full !== null && bytesFree(dirname(path)) < storeLimits.roomBytesMin)
        return allRefused(writes, full);
      try {
        hand ??= openHand(path);
        const outcomes = outcomesOf(hand, writes);
        if (writes.some(({ kind }) => kind === "remove" || kind === "sweep")) isErased = false;
        full = null;
        return { outcomes, fault: null };
      } catch (error) {
        const fault = refusalOf(storeFault(error));
        full = isFull(error) ? fault : null;
        // A connection that was opened while the disk was read-only stays so.
        closeQuietly(drop);
        return allRefused(writes, fault);
      }
    },
    checkpoint: () => {
      try {
        if (hand !== null) isErased = checkpointed(hand.db, isErased);
      } catch {
        // The log keeps what it holds; a write that finds the disk full or broken tells its caller.
      }
    },
    close: () => closeQuietly(drop),
  };
}

const allRefused = (writes: readonly Write[], fault: Refusal): Committed => ({
  outcomes: writes.map(() => fault),
  fault,
});

/** Whether the log holds nothing that was deleted. Who reads just now keeps it from being emptied, and is not waited for. */
function checkpointed(db: Database, isErased: boolean): boolean {
  if (isErased) {
    db.run("PRAGMA wal_checkpoint(PASSIVE)");
    return true;
  }
  db.run("PRAGMA busy_timeout = 0");
  try {
    return db.query<{ busy: number }, []>("PRAGMA wal_checkpoint(TRUNCATE)").get()?.busy === 0;
  } finally {
    db.run(`PRAGMA busy_timeout = ${storeLimits.busyMsMax}`);
  }
}

/** What the disk of a folder has room for. */
export type BytesFree = (folder: string) => number;

const bytesFreeAt: BytesFree = (folder) => {
  try {
    const { bavail, bsize } = statfsSync(folder);
    return bavail * bsize;
  } catch {
    return Number.POSITIVE_INFINITY; // A write finds out more.
  }
};

/** What cannot be moved or synced at the end stays in the log, where the next engine finds it. */
function closeQuietly(close: () => void): void {
  try {
    close();
  } catch {
    // As said above.
  }
}

type Hand = {
  readonly db: Database;
  readonly sql: Statements;
  /** Its indexes were made anew: what is damaged still is no index. */
  mended: boolean;
  /** Runs `fn` in a transaction of its own. */
  within<T>(fn: () => T): T;
  close(): void;
};

/** The connection that writes: a commit returns when it is on the disk (`synchronous = FULL`). */
export function openWriting(path: string): Database {
  const db = new Database(path, { create: false, readwrite: true, strict: true });
  try {
    db.run(`PRAGMA busy_timeout = ${storeLimits.busyMsMax}`);
    db.run("PRAGMA journal_mode = WAL");
    db.run("PRAGMA synchronous = FULL");
    // What is deleted is overwritten: nobody reads it in the file's free pages.
    db.run("PRAGMA secure_delete = ON");
    db.run(`PRAGMA wal_autocheckpoint = ${storeLimits.walPagesMax}`);
    return db;
  } catch (error) {
    db.close(true);
    throw error;
  }
}

function openHand(path: string): Hand {
  const db = openWriting(path);
  const { known: first, promise } = promising(db, path);
  let known = first;
  const sql = openStatements(db);
  const begin = db.prepare("BEGIN IMMEDIATE");
  const commit = db.prepare("COMMIT");
  return {
    db,
    sql,
    mended: false,
    within: (fn) => {
      try {
        begin.run();
        const value = fn();
        const next: Identity = { ...known, commits: known.commits + 1 };
        sql.setStore.run(next.commits, storeCheck(next));
        commit.run();
        known = next;
        promise.write(next);
        return value;
      } catch (error) {
        if (db.inTransaction) db.run("ROLLBACK");
        throw error;
      }
    },
    close: () => {
      promise.close();
      sql.finalize();
      begin.finalize();
      commit.finalize();
      db.close(true);
    },
  };
}

/** The commits so far, and where the next ones are promised. Closes the database where it fails. */
function promising(
  db: Database,
  path: string,
): { readonly known: Identity; readonly promise: PromiseWriter } {
  try {
    const known = identityIn(db);
    if (known !== null) return { known, promise: openPromise(dirname(path)) };
    throw new EngramError("corrupt", `${path} is damaged: it does not say which store it is`);
  } catch (error) {
    db.close(true);
    throw error;
  }
}

/** Throws what the disk does; then nothing was written. */
function outcomesOf(hand: Hand, writes: readonly Write[]): readonly Outcome[] {
  try {
    return hand.within(() => writes.map((write) => outcomeOf(hand, write)));
  } catch (error) {
    if (isOfDisk(error)) throw error;
    // One of them has met a damaged page: the others' agents must not suffer for it.
    return writes.map((write) => alone(hand, write));
  }
}

/** A refusal is an answer of its own; what the database throws fails the transaction. */
function outcomeOf({ db, sql }: Hand, write: Write): Outcome {
  try {
    return perform(db, sql, write);
  } catch (error) {
    if (error instanceof EngramError) return refusalOf(error);
    throw error;
  }
}

function alone(hand: Hand, write: Write): Outcome {
  try {
    return hand.within(() => outcomeOf(hand, write));
  } catch (error) {
    const fault = storeFault(error);
    if (fault.code === "corrupt" && !hand.mended && mend(hand)) return alone(hand, write);
    if (fault.code === "corrupt" && write.kind === "claim") return around(hand, write);
    return refusalOf(fault);
  }
}

/** A claim that passes over agents whose rows cannot be read: the damaged page concerns no others. */
function around({ sql, within }: Hand, write: ClaimWrite): Outcome {
  try {
    const due = readableDue(sql, write);
    return within(() => takeAll(sql, due, write.wish));
  } catch (error) {
    return refusalOf(storeFault(error));
  }
}

/** Makes the indexes of agents anew, once: a page of one concerns every agent. False where that cannot be. */
function mend(hand: Hand): boolean {
  hand.mended = true;
  try {
    hand.within(() => hand.db.run(mending));
    return true;
  } catch {
    return false; // The write's own fault is told.
  }
}

export const refusalOf = ({ code, message, transient }: EngramError): Refusal => ({
  kind: "refused",
  code,
  message,
  transient,
});
