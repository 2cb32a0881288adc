import { Database } from "bun:sqlite";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { LoggedEvent, ModelCall } from "../agent/event.ts";
import { type Mark, type Marks, marksOf } from "../agent/mark.ts";
import { type AgentState, statusOf } from "../agent/state.ts";
import { type Clock, evenClock } from "../clock.ts";
import { EngramError, messageOf } from "../errors.ts";
import { storeLimits } from "../limits.ts";
import {
  chainHash,
  decodeCall,
  decodeEvent,
  decodeState,
  encodeEvent,
  encodeState,
  genesisHash,
  snapshotHash,
} from "./codec.ts";
import { makeHints, wakes } from "./hints.ts";
import { openGroupCommit, storeFault } from "./sqlite-commit.ts";
import { agentRowOf, type Held, openStatements, type Statements } from "./sqlite-rows.ts";
import { prepareSchema } from "./sqlite-schema.ts";
import type {
  Append,
  Creation,
  Draft,
  DraftPiece,
  Holder,
  Lease,
  LeaseWish,
  Store,
} from "./store.ts";

/**
 * Agents in the SQLite file `engram.db` of a folder, which is made where it is missing. One engine at a time opens a
 * folder; a second gets failed_precondition. Leases that a dead engine held are due at once.
 */
export function openSqliteStore(folder: string, clock: Clock): Store {
  const lock = lockFolder(folder);
  try {
    return storeOn(openDatabase(join(folder, "engram.db"), clock), lock, clock);
  } catch (error) {
    lock.close(true);
    throw storeFault(error);
  }
}

function openDatabase(path: string, clock: Clock): Database {
  const db = new Database(path, { create: true, strict: true });
  try {
    // First, since a file that is refused is not to be changed.
    prepareSchema(db, path);
    db.run("PRAGMA journal_mode = WAL");
    db.run("PRAGMA synchronous = FULL");
    db.run(`PRAGMA wal_autocheckpoint = ${storeLimits.walPagesMax}`);
    // The folder is ours alone: whoever held leases is gone. And who waits for a time by a clock that was set back since
    // is to be looked at now.
    db.query(
      "UPDATE agent SET wake = 0, lease_until = 0 WHERE worker IS NOT NULL OR (wake IS NOT NULL AND updated_at > ?)",
    ).run(clock.nowMs());
    return db;
  } catch (error) {
    db.close(true);
    throw error;
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
    return new Database(join(folder, "lock.db"), { create: true });
  } catch (cause) {
    throw new EngramError(
      "failed_precondition",
      `nothing can be stored in ${folder} (${messageOf(cause)}): mend it, or choose another DB_PATH`,
      { cause },
    );
  }
}

function storeOn(db: Database, lock: Database, clock: Clock): Store {
  const sql = openStatements(db);
  const hints = makeHints();
  const changed = new Set<string>();
  const checkpoint = idleCheckpoint(db);
  const commits = openGroupCommit(db, () => {
    const told = [...changed];
    changed.clear();
    for (const key of told) hints.send(key);
    checkpoint.later();
  });
  const write = <T>(told: readonly string[], run: () => T): Promise<T> =>
    commits.write(() => {
      const value = run();
      for (const key of told) changed.add(key);
      return value;
    });

  return {
    nowMs: evenClock(clock),
    create: (creation) => write([creation.agentId, wakes], () => create(sql, creation)),
    append: (append) => write([append.agentId, wakes], () => appendEvents(sql, append)),
    read: async (agentId, after) => reading(() => readEvents(sql, agentId, after)),
    marks: async (agentId, keys) => reading(() => readMarks(sql, agentId, keys)),
    snapshot: async (agentId) => reading(() => readSnapshot(sql, agentId)),
    row: async (agentId, nowMs) =>
      reading(() => {
        const found = sql.agent.get(agentId);
        return found === null ? null : agentRowOf(found, nowMs);
      }),
    list: async (query, nowMs) =>
      reading(() => sql.list(query, nowMs).map((found) => agentRowOf(found, nowMs))),
    remove: (agentId, atMs, force) => write([agentId], () => remove(sql, { agentId, atMs, force })),
    writeDraft: (holder, call, pieces) =>
      write([holder.agentId], () => addToDraft(sql, holder, call, pieces)),
    readDraft: async (agentId, from) => reading(() => readDraft(sql, agentId, from)),
    claim: (wish, nowMs, limit) =>
      write([wakes], () => sql.due.all(nowMs, limit).map((held) => take(sql, held, wish))),
    renew: (holders, untilMs) =>
      commits.write(() =>
        holders
          .filter(
            ({ agentId, epoch, workedMs }) =>
              sql.renew.run(untilMs, untilMs, workedMs, agentId, epoch).changes === 0,
          )
          .map(({ agentId }) => agentId),
      ),
    release: ({ agentId, epoch, workedMs }, after, wakeAtMs) =>
      write([wakes], () => {
        const held = sql.held.get(agentId);
        if (held?.epoch !== epoch || held.worker === null) return true;
        if (after !== null && held.head !== after) return false;
        sql.finish.run(wakeAtMs, workedMs, held.id);
        return true;
      }),
    nextWakeMs: async () => reading(() => sql.nextWake.get()?.wake ?? null),
    follow: hints.follow,
    followWakes: (hint) => hints.follow(wakes, hint),
    probe: () => commits.write(() => undefined),
    close: async () => {
      commits.close();
      checkpoint.stop();
      sql.finalize();
      db.close(true);
      lock.close(true);
    },
  };
}

function reading<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw storeFault(error);
  }
}

/** Moves the log into the file when nothing has been written for a while, so that no commit has to. */
function idleCheckpoint(db: Database): { later(): void; stop(): void } {
  let timer: ReturnType<typeof setTimeout> | null = null;
  return {
    later: () => {
      timer ??= setTimeout(() => {
        timer = null;
        try {
          db.run("PRAGMA wal_checkpoint(PASSIVE)");
        } catch {
          // The log keeps what it holds; a write that finds the disk full or broken tells its caller.
        }
      }, storeLimits.checkpointIdleMs);
      timer.refresh();
    },
    stop: () => {
      if (timer !== null) clearTimeout(timer);
    },
  };
}

function heldOf(sql: Statements, agentId: string): Held {
  const held = sql.held.get(agentId);
  if (held === null) throw new EngramError("not_found", `no agent ${agentId}`);
  return held;
}

function fenced(sql: Statements, agentId: string, epoch: number): Held {
  const held = heldOf(sql, agentId);
  if (held.epoch === epoch) return held;
  throw new EngramError("fenced", `epoch ${epoch} of agent ${agentId} is stale`);
}

function create(
  sql: Statements,
  { agentId, atMs, nowMs, events, state, wakeAtMs, wish, request }: Creation,
): { agentId: string; created: boolean; lease: Lease | null } {
  const known = request === null ? null : sql.request.get(request.requestId);
  if (known !== null) {
    if (known.digest === request?.digest)
      return { agentId: known.agent_id, created: false, lease: null };
    throw new EngramError(
      "already_exists",
      `request_id ${request?.requestId} was used for another agent; give each creation an id of its own`,
    );
  }
  if (sql.held.get(agentId) !== null)
    throw new EngramError("already_exists", `agent ${agentId} is there already`);
  const { createdAtMs, reason, sequence, stats, spec, parent } = state;
  const inserted = sql.insertAgent.run({
    agentId,
    createdAtMs,
    atMs,
    status: statusOf(state),
    reason,
    sequence,
    hash: genesisHash(agentId),
    stats: JSON.stringify(stats),
    spec: JSON.stringify(spec),
    parent: JSON.stringify(parent),
  });
  const id = Number(inserted.lastInsertRowid);
  let hash = genesisHash(agentId);
  for (const [index, { atMs: eventAtMs, event }] of events.entries()) {
    const body = encodeEvent(event);
    hash = chainHash(hash, index + 1, eventAtMs, body);
    sql.insertEvent.run(id, index + 1, eventAtMs, body, hash);
  }
  sql.setHash.run(hash, id);
  const facts = events.map(({ event }) => event);
  for (const { key, sequence: at, digest } of marksOf(facts, 0))
    sql.insertMark.run(id, key, at, digest);
  if (request !== null) sql.insertRequest.run(request.requestId, id, request.digest);
  const lease = grant(sql, heldOf(sql, agentId), wish, { wakeAtMs, nowMs });
  return { agentId, created: true, lease };
}

function appendEvents(sql: Statements, append: Append): Lease | null {
  const { agentId, after, atMs, nowMs, events, state, epoch } = append;
  const { leaseUntilMs, wakeAtMs, wish } = append;
  const held = epoch === null ? heldOf(sql, agentId) : fenced(sql, agentId, epoch);
  if (held.head !== after)
    throw new EngramError("conflict", `the log of ${agentId} is at ${held.head}, not ${after}`);
  let hash = held.hash;
  for (const [index, event] of events.entries()) {
    const body = encodeEvent(event);
    hash = chainHash(hash, after + index + 1, atMs, body);
    sql.insertEvent.run(held.id, after + index + 1, atMs, body, hash);
  }
  for (const { key, sequence, digest } of marksOf(events, after))
    sql.insertMark.run(held.id, key, sequence, digest);
  if (append.snapshot) {
    const body = encodeState(state);
    sql.setSnapshot.run(held.id, state.sequence, body, snapshotHash(hash, body));
  }
  const specs = events.some(({ type }) => type === "AgentEdited" || type === "AgentForked");
  if (specs) sql.setSpec.run(JSON.stringify(state.spec), JSON.stringify(state.parent), held.id);
  if (append.dropDraft && held.draft_call !== null) {
    sql.dropPieces.run(held.id);
    sql.dropDraft.run(held.id);
  }
  sql.setHead.run({
    id: held.id,
    atMs,
    status: statusOf(state),
    reason: state.reason,
    sequence: state.sequence,
    hash,
    stats: JSON.stringify(state.stats),
  });
  if (epoch === null) return grant(sql, held, wish, { wakeAtMs, nowMs });
  if (leaseUntilMs === null) sql.finish.run(wakeAtMs, 0, held.id);
  else sql.keep.run(leaseUntilMs, leaseUntilMs, held.id);
  return null;
}

/** A command's wake time, unless the agent is driven; and the lease, where it was wished for and the agent is due. */
function grant(
  sql: Statements,
  held: Held,
  wish: LeaseWish | null,
  { wakeAtMs, nowMs }: { readonly wakeAtMs: number | null; readonly nowMs: number },
): Lease | null {
  if (held.worker !== null && held.lease_until > nowMs) return null;
  if (wish !== null && wakeAtMs !== null && wakeAtMs <= nowMs) return take(sql, held, wish);
  sql.setWake.run(wakeAtMs, held.id);
  return null;
}

function take(sql: Statements, held: Held, { worker, untilMs }: LeaseWish): Lease {
  sql.take.run(worker, untilMs, untilMs, held.id);
  return {
    agentId: held.agent_id,
    epoch: held.epoch + 1,
    claims: held.claims + 1,
    recovered: held.worker !== null,
    workedMs: held.worked,
  };
}

function addToDraft(
  sql: Statements,
  { agentId, epoch, workedMs }: Holder,
  call: ModelCall,
  pieces: readonly DraftPiece[],
): void {
  const held = fenced(sql, agentId, epoch);
  if (held.status !== "waiting_for_step")
    throw new EngramError("conflict", `agent ${held.agent_id} is ${held.status}`);
  const begun = held.draft_call === null ? null : decodeCall(held.draft_call);
  const continues = begun?.afterSequence === call.afterSequence;
  if (!continues && begun !== null) sql.dropPieces.run(held.id);
  const from = continues ? held.draft_pieces : 0;
  for (const [index, { kind, offset, content }] of pieces.entries())
    sql.insertPiece.run(held.id, from + index, kind, offset, content);
  sql.setDraft.run(JSON.stringify(call), from + pieces.length, workedMs, held.id);
}

function remove(
  sql: Statements,
  { agentId, atMs, force }: { agentId: string; atMs: number; force: boolean },
): void {
  const held = heldOf(sql, agentId);
  if (!force && held.status === "waiting_for_step")
    throw new EngramError(
      "failed_precondition",
      `agent ${agentId} is working; pause or cancel it first, or delete it with force`,
    );
  for (const statement of sql.deletions) statement.run(held.id);
  sql.bury.run(agentId, atMs);
}

function readDraft(sql: Statements, agentId: string, from: number): Draft | null {
  const held = sql.held.get(agentId);
  if (held === null || held.draft_call === null) return null;
  return {
    call: decodeCall(held.draft_call),
    pieces: sql.pieces.all(held.id, from, storeLimits.readEventsMax),
    piecesTotal: held.draft_pieces,
  };
}

function readMarks(sql: Statements, agentId: string, keys: readonly string[]): Marks {
  const marks = new Map<string, Mark>();
  for (const key of keys) {
    const mark = sql.mark.get(agentId, key);
    if (mark !== null) marks.set(key, mark);
  }
  return marks;
}

/** The state in the snapshot, once it is shown to be the one that was written at its place of this log. */
function readSnapshot(sql: Statements, agentId: string): AgentState | null {
  const held = heldOf(sql, agentId);
  const kept = sql.snapshot.get(held.id);
  if (kept === null) return null;
  const [last] = sql.events.all(held.id, kept.sequence, 1);
  const hash = snapshotHash(last?.hash ?? genesisHash(agentId), kept.body);
  if (last?.sequence === kept.sequence && Bun.deepEquals(hash, kept.hash))
    return decodeState(kept.body);
  throw new EngramError(
    "corrupt",
    `the snapshot of agent ${agentId} at event ${kept.sequence} was changed in the store`,
  );
}

/** A page of the log, its hashes checked against the chain. */
function readEvents(sql: Statements, agentId: string, after: number): readonly LoggedEvent[] {
  const held = heldOf(sql, agentId);
  const page: LoggedEvent[] = [];
  if (after >= held.head) return page;
  let previous = after === 0 ? genesisHash(agentId) : null;
  let bytes = 0;
  // The event before the page is read for its hash.
  let expected = Math.max(1, after);
  const limit = storeLimits.readEventsMax + (after === 0 ? 0 : 1);
  for (const row of sql.events.iterate(held.id, expected, limit)) {
    if (row.sequence !== expected) break;
    if (previous !== null) {
      const hash = chainHash(previous, row.sequence, row.at, row.body);
      const kept = row.sequence === held.head ? held.hash : row.hash;
      if (!Bun.deepEquals(hash, row.hash) || !Bun.deepEquals(hash, kept))
        throw damaged(agentId, row.sequence, "was changed");
      page.push({ sequence: row.sequence, atMs: row.at, event: decodeEvent(row.body) });
      bytes += row.body.length;
    }
    previous = row.hash;
    expected++;
    if (bytes > storeLimits.readBytesMax) break;
  }
  if (page.length === 0) throw damaged(agentId, expected, "is missing");
  return page;
}

const damaged = (agentId: string, sequence: number, what: string): EngramError =>
  new EngramError("corrupt", `event ${sequence} of agent ${agentId} ${what} in the store`);
