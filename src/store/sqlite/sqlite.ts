import { Database } from "bun:sqlite";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { type Clock, evenClock } from "../../clock.ts";
import { EngramError, messageOf } from "../../errors.ts";
import type { Log } from "../../log.ts";
import { guardDamaged, type KnownDamage, makeKnownDamage } from "./damage.ts";
import { type Hints, makeHints, wakes } from "../hints.ts";
import { makePeers } from "../peers.ts";
import { storeFault } from "./fault.ts";
import { type OpenDatabase, openDatabase } from "./open.ts";
import { makePrivate } from "./private.ts";
import { openReads } from "./reads.ts";
import type { WriterThread } from "./worker.ts";
import { openWriter, type Writer } from "./writer.ts";
import { agentOf, appendWrite, createWrite, movesWakes } from "./writes.ts";
import { makeSweeper, type Sweeper } from "./sweeper.ts";
import { allAside, putAside, type StagedPage } from "../staging.ts";
import type { Store } from "../store.ts";

export type SqliteParts = {
  readonly clock: Clock;
  readonly log: Log;
  /** Starts what writes to the database at `path`. */
  readonly startThread: (path: string) => WriterThread;
  /** The operator has seen what was lost: the store goes on with what is there. */
  readonly acceptDataLoss?: boolean;
};

/**
 * Agents in the SQLite file `engram.db` of a folder, which is made where it is missing. One engine at a time opens a
 * folder; a second gets failed_precondition. Leases that a dead engine held are due at once. Another thread writes, this
 * one reads: a slow disk holds nobody up who does not wait for it.
 */
export function openSqliteStore(folder: string, parts: SqliteParts): Store {
  const lock = lockFolder(folder);
  try {
    const path = join(folder, "engram.db");
    const known = makeKnownDamage(parts.log);
    const opened = openDatabase(path, parts, known);
    return guardDamaged(storeOn({ ...opened, path, lock, known }, parts), known);
  } catch (error) {
    lock.close(true);
    throw storeFault(error);
  }
}

/** A lock that the system lets go of with the process: an open transaction on a file of its own. */
function lockFolder(folder: string): Database {
  const lock = openLock(folder);
  try {
    lock.run("PRAGMA locking_mode = EXCLUSIVE");
    lock.run("BEGIN EXCLUSIVE");
    return lock;
  } catch (cause) {
    lock.close(true);
    throw new EngramError(
      "failed_precondition",
      `another engine runs on ${folder}: stop it, or choose another DB_PATH`,
      { cause },
    );
  }
}

function openLock(folder: string): Database {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const path = join(folder, "lock.db");
    makePrivate(path);
    return new Database(path, { create: true });
  } catch (cause) {
    throw new EngramError(
      isFile(cause) ? "invalid_argument" : "failed_precondition",
      `nothing can be stored in ${folder} (${messageOf(cause)}): mend it, or choose another DB_PATH`,
      { cause },
    );
  }
}

/** Whether a folder could not be made since a file is there. */
const isFile = (error: unknown): boolean =>
  error instanceof Error &&
  "code" in error &&
  (error.code === "EEXIST" || error.code === "ENOTDIR");

type Opened = OpenDatabase & {
  readonly path: string;
  readonly lock: Database;
  readonly known: KnownDamage;
};

const claimBy =
  ({ write }: Writer, hints: Hints): Store["claim"] =>
  async (wish, nowMs, limit, skip) => {
    const taken = await write({ kind: "claim", wish, nowMs, limit, skip: [...(skip ?? [])] });
    if (taken.length > 0) hints.send(wakes);
    return taken;
  };

function storeOn(
  { db, path, lock, known, stopScrub, hasStaged }: Opened,
  { clock, log, startThread }: SqliteParts,
): Store {
  const { finalize, ...reads } = openReads(db, known);
  const hints = makeHints();
  const writer = openWriter({
    clock,
    log,
    startThread: () => startThread(path),
    committed: (writes) => {
      for (const agentId of new Set(writes.map(agentOf))) if (agentId !== null) hints.send(agentId);
      if (writes.some(movesWakes)) hints.send(wakes);
    },
    recovered: () => hints.send(wakes),
  });
  const { write } = writer;
  const time = evenClock(clock);
  const sweeper = makeSweeper({
    clock,
    nowMs: time,
    remove: (beforeMs) => write({ kind: "sweep", beforeMs }),
  });
  const staging = stagingBy(writer, sweeper);
  if (hasStaged) void sweeper.sweep();

  return {
    nowMs: time,
    ...reads,
    ...staging,
    // Asked for at once, where nothing is to be done before.
    create: async (creation) =>
      write(
        createWrite(creation.staged === 0 ? creation : await allAside(staging.stage, creation)),
      ),
    append: (append) => write(appendWrite(append)),
    remove: async (agentId, atMs, force) => {
      if (await write({ kind: "remove", agentId, atMs, force })) await sweeper.sweep();
    },
    writeDraft: async (holder, call, pieces) =>
      void (await write({ kind: "draft", holder, call, pieces })),
    claim: claimBy(writer, hints),
    renew: (holders, untilMs) => write({ kind: "renew", holders, untilMs }),
    release: (holder, after, wakeAtMs) => write({ kind: "release", holder, after, wakeAtMs }),
    ...makePeers(),
    nextWakeMs: async (skip) => {
      try {
        return await reads.nextWakeMs(skip);
      } catch (error) {
        if (EngramError.of(error).code !== "corrupt") throw error;
        // A page of the index concerns every agent.
        await write({ kind: "mend" });
        return reads.nextWakeMs(skip);
      }
    },
    follow: hints.follow,
    followWakes: (hint) => hints.follow(wakes, hint),
    probe: async () => void (await write({ kind: "probe" })),
    close: async () => {
      stopScrub();
      sweeper.stop();
      const closed = await writer.close();
      finalize();
      db.close(true);
      // Whoever opens the folder next must not meet a write that is still under way.
      if (closed) lock.close(true);
    },
  };
}

const stagingBy = ({ write }: Writer, sweeper: Sweeper): Pick<Store, "stage" | "unstage"> => ({
  stage: async (agentId, after, events, atMs) => {
    sweeper.later();
    const aside = {
      add: (page: StagedPage) => write({ kind: "stage", agentId, nowMs: atMs, page }),
      clear: () => write({ kind: "unmark", agentId }),
    };
    await putAside(aside, after, events);
  },
  unstage: async (agentId) => {
    if (await write({ kind: "unstage", agentId })) void sweeper.sweep();
  },
});
