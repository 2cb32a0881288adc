import type { Database } from "bun:sqlite";
import type { LoggedEvent, RequestKey } from "../../agent/event.ts";
import type { Mark, Marks } from "../../agent/mark.ts";
import type { AgentRow } from "../../agent/row.ts";
import type { AgentState } from "../../agent/state.ts";
import { EngramError } from "../../errors.ts";
import { storeLimits } from "../../limits.ts";
import {
  chainHash,
  decodeCall,
  decodeEvent,
  decodeState,
  genesisHash,
  snapshotHash,
} from "../codec.ts";
import {
  birthCheck,
  draftCheck,
  draftStart,
  headCheck,
  leaseCheck,
  markCheck,
  pieceCheck,
} from "./checks.ts";
import { damaged, type KnownDamage } from "./damage.ts";
import { mustBeKnown } from "../known.ts";
import { storeFault } from "./fault.ts";
import {
  agentRowOf,
  behindAllIds,
  type EventRow,
  type Held,
  openStatements,
  type Statements,
  type StoredRow,
} from "./rows.ts";
import { type Counter, openCounter } from "./tally.ts";
import type { Aside, Draft, DraftPiece, ListQuery, Store, StoredEvent } from "../store.ts";

/** The reading half of a store; `finalize` before the database is closed. */
export type Reads = Pick<
  Store,
  | "read"
  | "readStored"
  | "aside"
  | "made"
  | "marks"
  | "snapshot"
  | "row"
  | "list"
  | "tally"
  | "readDraft"
  | "nextWakeMs"
> & { finalize(): void };

/** Reads on a connection of their own: another may write at the same time. */
export function openReads(db: Database, known: KnownDamage): Reads {
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
  const counter = openCounter(db, reading);
  /** Nothing was written: a damaged page that was met must not leave the transaction open. */
  const endQuietly = (): void => {
    try {
      end.run();
    } catch {
      if (db.inTransaction) db.run("ROLLBACK");
    }
  };
  /** Several statements see one state of the file: the writer goes on beside them. */
  const together = <T>(read: () => T): T =>
    reading(() => {
      begin.run();
      try {
        return read();
      } finally {
        if (db.inTransaction) endQuietly();
      }
    });
  return {
    read: async (agentId, after, knownAtMs) =>
      together(() => readEvents(sql, agentId, after, knownAtMs).map(decoded)),
    readStored: async (agentId, after) =>
      together(() => readEvents(sql, agentId, after).map(shown)),
    aside: async (agentId) => together(() => readAside(sql, agentId)),
    made: async (request) => reading(() => readMade(sql, request)),
    marks: async (agentId, keys) => together(() => readMarks(sql, agentId, keys)),
    snapshot: async (agentId) => together(() => readSnapshot(sql, agentId)),
    row: async (agentId, nowMs) =>
      reading(() => {
        const found = sql.agent.get(agentId);
        if (found !== null && found.agent_id !== agentId)
          throw damaged(agentId, "its index row was changed");
        return found === null ? null : agentRowOf(found, nowMs);
      }),
    list: async (query, nowMs) => {
      const listing = { query, nowMs, known };
      if (query.status !== "processing") return together(() => readList(sql, listing));
      const ids = await drivenIds(counter, listing);
      return together(() => readEach(sql, ids ?? idsBefore(sql, listing), listing));
    },
    tally: counter.tally,
    readDraft: async (agentId, from) => together(() => readDraft(sql, agentId, from)),
    nextWakeMs: async (skip) =>
      reading(() => {
        const next =
          skip === undefined || skip.size === 0
            ? sql.nextWake.get()
            : sql.nextWakeBut.get(JSON.stringify([...skip]));
        return next?.wake ?? null;
      }),
    finalize: () => {
      closed = true;
      for (const statements of [sql, counter, begin, end]) statements.finalize();
    },
  };
}

/** What the row says of the log's end, once it is shown to be what was written. */
function heldOf(sql: Statements, agentId: string): Held | null {
  const held = sql.held.get(agentId);
  if (held !== null && (held.agent_id !== agentId || headCheck(held) !== held.head_check))
    throw damaged(agentId, "its index row was changed");
  return held;
}

type Listing = { readonly query: ListQuery; readonly nowMs: number; readonly known: KnownDamage };

/** Rows that cannot be read are left out; as many more are asked for, so that a short page is still the last. */
function readList(sql: Statements, listing: Listing): readonly AgentRow[] {
  const { query, nowMs } = listing;
  for (let limit = query.limit; ; limit *= 2) {
    let found;
    try {
      found = sql.list({ ...query, limit }, nowMs);
    } catch (error) {
      if (storeFault(error).code !== "corrupt") throw error;
      return readEach(sql, idsBefore(sql, listing), listing);
    }
    const rows = found.flatMap((row) => readable(row, listing) ?? []);
    if (rows.length >= query.limit || found.length < limit) return rows.slice(0, query.limit);
  }
}

/** Of these agents, newest first, those that belong on the page: each row is read by itself. */
function readEach(sql: Statements, ids: Iterable<string>, listing: Listing): readonly AgentRow[] {
  const { status, limit } = listing.query;
  const rows: AgentRow[] = [];
  for (const agentId of ids) {
    if (rows.length >= limit) break;
    const row = readAlone(sql, agentId, listing);
    if (row !== null && (status === null || row.status === status)) rows.push(row);
  }
  return rows;
}

/** Where a page of rows cannot be read as a whole: the ids are in an index of their own. */
function* idsBefore(sql: Statements, { query }: Listing): Generator<string> {
  for (const { agent_id: agentId } of sql.ids.iterate(query.beforeAgentId ?? behindAllIds))
    yield agentId;
}

/**
 * Who is driven is found by the leases, which are few: the index of the status holds all that wait as well. null: they
 * cannot be read as a whole.
 */
async function drivenIds(
  counter: Counter,
  { query, nowMs }: Listing,
): Promise<readonly string[] | null> {
  const before = query.beforeAgentId ?? behindAllIds;
  try {
    const ids = await counter.driven(nowMs);
    return ids.filter((agentId) => agentId < before).toSorted((a, b) => (a < b ? 1 : -1));
  } catch (error) {
    if (EngramError.of(error).code !== "corrupt") throw error;
    return null;
  }
}

function readAlone(sql: Statements, agentId: string, listing: Listing): AgentRow | null {
  let found;
  try {
    found = sql.agent.get(agentId);
  } catch (error) {
    listing.known.note(agentId, damaged(agentId, storeFault(error).message));
    return null;
  }
  return found === null ? null : readable(found, listing);
}

function readable(row: StoredRow, { known, nowMs }: Listing): AgentRow | null {
  try {
    return agentRowOf(row, nowMs);
  } catch (error) {
    const fault = storeFault(error);
    known.note(row.agent_id, fault);
    return null;
  }
}

function readDraft(sql: Statements, agentId: string, from: number): Draft | null {
  const held = heldOf(sql, agentId);
  if (held === null) return null;
  const changed = damaged(agentId, "its draft was changed");
  if (draftCheck(held) !== held.draft_check) throw changed;
  if (held.draft_call === null) return null;
  const call = decodeCall(held.draft_call);
  const pieces: DraftPiece[] = [];
  // The asker may know more pieces of the draft before.
  if (from > held.draft_pieces) return { call, pieces, piecesTotal: held.draft_pieces };
  let previous = from === 0 ? draftStart(agentId) : null;
  let number = Math.max(0, from - 1);
  // The piece before the page is read for its check.
  const limit = storeLimits.readEventsMax + (from === 0 ? 0 : 1);
  for (const row of sql.pieces.all(held.id, number, limit)) {
    const { kind, offset, content } = row;
    if (row.number !== number) throw changed;
    if (previous !== null) {
      if (pieceCheck(previous, row) !== row.row_check) throw changed;
      pieces.push({ kind, offset, content });
    }
    previous = row.row_check;
    number++;
  }
  const whole = number === held.draft_pieces && previous === held.draft_tail;
  if (!whole && pieces.length < storeLimits.readEventsMax) throw changed;
  return { call, pieces, piecesTotal: held.draft_pieces };
}

function readMarks(sql: Statements, agentId: string, keys: readonly string[]): Marks {
  const marks = new Map<string, Mark>();
  for (const key of keys) {
    const mark = sql.mark.get(agentId, key);
    if (mark === null) continue;
    const { sequence, digest } = mark;
    if (mark.key !== key || markCheck(mark) !== mark.row_check)
      throw damaged(agentId, "one of its marks was changed");
    marks.set(key, { key, sequence, digest });
  }
  return marks;
}

/** The state in the snapshot, once it is shown to be the one that was written at its place of this log. */
function readSnapshot(sql: Statements, agentId: string): AgentState | null {
  const held = heldOf(sql, agentId);
  if (held === null) throw new EngramError("not_found", `no agent ${agentId}`);
  const kept = sql.snapshot.get(held.id);
  if (kept === null) return null;
  const [last] = sql.events.all(held.id, kept.sequence, 1);
  const hash = snapshotHash(last?.hash ?? genesisHash(agentId), kept.body);
  if (last?.sequence === kept.sequence && Bun.deepEquals(hash, kept.hash))
    return decodeState(kept.body);
  throw damaged(agentId, `its snapshot at event ${kept.sequence} was changed`);
}

/** A page of the log, its hashes checked against the chain. */
function readEvents(
  sql: Statements,
  agentId: string,
  after: number,
  knownAtMs?: number,
): readonly EventRow[] {
  const held = heldOf(sql, agentId);
  if (held === null) throw new EngramError("not_found", `no agent ${agentId}`);
  const page: EventRow[] = [];
  if (after >= held.head) {
    mustBeKnown(agentId, knownAtMs, after === held.head ? held.updated_at : undefined);
    return page;
  }
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
        throw damaged(agentId, `event ${row.sequence} was changed`);
      page.push(row);
      bytes += row.body.length;
    } else mustBeKnown(agentId, knownAtMs, row.at);
    previous = row.hash;
    expected++;
    if (bytes > storeLimits.readBytesMax) break;
  }
  if (page.length === 0) throw damaged(agentId, `event ${expected} is missing`);
  return page;
}

const decoded = ({ sequence, at, body }: EventRow): LoggedEvent => ({
  sequence,
  atMs: at,
  event: decodeEvent(body),
});

const shown = ({ sequence, at, body, hash }: EventRow): StoredEvent => ({
  sequence,
  atMs: at,
  body,
  hash: hash.toHex(),
});

function readMade(sql: Statements, { requestId, digest }: RequestKey): string | null {
  const found = sql.request.get(requestId);
  if (found?.request_digest !== digest) return null;
  if (birthCheck(found) === found.birth_check) return found.agent_id;
  throw damaged(found.agent_id, "its index row was changed");
}

function readAside(sql: Statements, agentId: string): Aside {
  const held = heldOf(sql, agentId);
  const birth = sql.birth.get(agentId);
  if (held === null || birth === null) throw new EngramError("not_found", `no agent ${agentId}`);
  if (birthCheck(birth) !== birth.birth_check || leaseCheck(held) !== birth.lease_check)
    throw damaged(agentId, "its index row was changed");
  const { request_id: requestId, request_digest: digest } = birth;
  const request = requestId === null || digest === null ? null : { requestId, digest };
  return { request, workedMs: held.worked };
}
