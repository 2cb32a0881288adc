import { type Database, SQLiteError } from "bun:sqlite";
import { EngramError, messageOf } from "../errors.ts";
import { storeLimits } from "../limits.ts";

/** A queued write: run on the transaction, it gives the answer to be sent after the commit. */
type Write = { readonly run: () => () => void; readonly reject: (error: EngramError) => void };

/**
 * Runs writes in the order in which they are asked for. All that arrive in one turn of the event loop share one
 * transaction and so one sync of the disk; each is answered after it. `afterCommit` runs behind each commit.
 */
export interface GroupCommit {
  /**
   * `run` works on the open transaction and must throw an EngramError before its first write, or not at all: such a
   * refusal is its own caller's alone, while a failure of the disk undoes and fails everyone's.
   */
  write<T>(run: () => T): Promise<T>;
  /** Commits what is queued; nothing is taken afterwards. */
  close(): void;
}

export function openGroupCommit(db: Database, afterCommit: () => void): GroupCommit {
  let queue: Write[] = [];
  let scheduled = false;
  let closed = false;
  const begin = db.prepare("BEGIN IMMEDIATE");
  const commit = db.prepare("COMMIT");

  const flush = (): void => {
    scheduled = false;
    const writes = queue;
    queue = [];
    if (writes.length === 0) return;
    let answers: readonly (() => void)[];
    try {
      begin.run();
      answers = writes.map(({ run }) => run());
      commit.run();
    } catch (error) {
      if (db.inTransaction) db.run("ROLLBACK");
      const fault = storeFault(error);
      answers = writes.map(
        ({ reject }) =>
          () =>
            reject(fault),
      );
    }
    for (const answer of answers) answer();
    afterCommit();
  };

  return {
    write: async <T>(run: () => T): Promise<T> => {
      if (closed) throw new EngramError("unavailable", "the store is closed");
      if (queue.length >= storeLimits.queuedWritesMax)
        throw new EngramError(
          "unavailable",
          "the store has too many writes waiting; try again later",
          { transient: true },
        );
      if (!scheduled) {
        scheduled = true;
        setImmediate(flush);
      }
      return new Promise<T>((resolve, reject) => {
        queue.push({ run: () => answerOf(run, resolve, reject), reject });
      });
    },
    close: () => {
      closed = true;
      flush();
      begin.finalize();
      commit.finalize();
    },
  };
}

/** A refusal is an answer of its own; what the database throws fails the transaction. */
function answerOf<T>(
  run: () => T,
  resolve: (value: T) => void,
  reject: (error: EngramError) => void,
): () => void {
  try {
    const value = run();
    return () => resolve(value);
  } catch (error) {
    if (error instanceof EngramError) return () => reject(error);
    throw error;
  }
}

/** What a failure of the database means to a caller. */
export function storeFault(error: unknown): EngramError {
  if (error instanceof EngramError) return error;
  if (error instanceof SQLiteError && /^SQLITE_(CORRUPT|NOTADB)/.test(error.code ?? ""))
    return new EngramError("corrupt", `the database is damaged: ${error.message}`, {
      cause: error,
    });
  return new EngramError(
    "unavailable",
    `the store cannot be written (${messageOf(error)}); free the disk or mend it, and try again`,
    { cause: error, transient: true },
  );
}
