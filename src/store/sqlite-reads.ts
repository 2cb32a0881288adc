import type { Database } from "bun:sqlite";
import type { LoggedEvent } from "../agent/event.ts";
import type { Mark, Marks } from "../agent/mark.ts";
import type { AgentState } from "../agent/state.ts";
import { EngramError } from "../errors.ts";
import { storeLimits } from "../limits.ts";
import {
  chainHash,
  decodeCall,
  decodeEvent,
  decodeState,
  genesisHash,
  snapshotHash,
} from "./codec.ts";
import { storeFault } from "./sqlite-fault.ts";
import { agentRowOf, openStatements, type Statements } from "./sqlite-rows.ts";
import type { Draft, Store } from "./store.ts";

/** The reading half of a store; `finalize` before the database is closed. */
export type Reads = Pick<
  Store,
  "read" | "marks" | "snapshot" | "row" | "list" | "readDraft" | "nextWakeMs"
> & { finalize(): void };

/** Reads on a connection of their own: another may write at the same time. */
export function openReads(db: Database): Reads {
  const sql = openStatements(db);
  const begin = db.prepare("BEGIN");
  const end = db.prepare("COMMIT");
  let closed = false;
  const reading = <T>(read: () => T): T => {
    if (closed) throw new EngramError("unavailable", "the store is closed");
    try {
      return read();
    } catch (error) {
      throw storeFault(error);
    }
  };
  /** Several statements see one state of the file: the writer goes on beside them. */
  const together = <T>(read: () => T): T =>
    reading(() => {
      begin.run();
      try {
        return read();
      } finally {
        if (db.inTransaction) end.run();
      }
    });
  return {
    read: async (agentId, after) => together(() => readEvents(sql, agentId, after)),
    marks: async (agentId, keys) => together(() => readMarks(sql, agentId, keys)),
    snapshot: async (agentId) => together(() => readSnapshot(sql, agentId)),
    row: async (agentId, nowMs) =>
      reading(() => {
        const found = sql.agent.get(agentId);
        return found === null ? null : agentRowOf(found, nowMs);
      }),
    list: async (query, nowMs) =>
      reading(() => sql.list(query, nowMs).map((found) => agentRowOf(found, nowMs))),
    readDraft: async (agentId, from) => together(() => readDraft(sql, agentId, from)),
    nextWakeMs: async () => reading(() => sql.nextWake.get()?.wake ?? null),
    finalize: () => {
      closed = true;
      sql.finalize();
      begin.finalize();
      end.finalize();
    },
  };
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
  const held = sql.held.get(agentId);
  if (held === null) throw new EngramError("not_found", `no agent ${agentId}`);
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
  const held = sql.held.get(agentId);
  if (held === null) throw new EngramError("not_found", `no agent ${agentId}`);
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
