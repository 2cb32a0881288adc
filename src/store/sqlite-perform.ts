import type { Database } from "bun:sqlite";
import { EngramError } from "../errors.ts";
import { chainHash, decodeCall, genesisHash, snapshotHash } from "./codec.ts";
import type { Held, Statements } from "./sqlite-rows.ts";
import type { Answer, AppendWrite, CreateWrite, Write } from "./sqlite-writes.ts";
import type { Holder, Lease, LeaseWish } from "./store.ts";

/** Makes the indexes of agents anew from their rows. A page that is no page any more stays one: that is left to a backup. */
export const mending = "REINDEX agent";

/**
 * Performs one write on the open transaction. An EngramError is thrown before the first change only: it is a refusal,
 * and what the transaction holds besides stands.
 */
export function perform(db: Database, sql: Statements, write: Write): Answer {
  const { kind } = write;
  switch (kind) {
    case "create":
      return { kind, value: create(sql, write) };
    case "append":
      return { kind, value: append(sql, write) };
    case "remove":
      remove(sql, write);
      return { kind, value: null };
    case "draft":
      addToDraft(sql, write);
      return { kind, value: null };
    case "claim": {
      const due = sql.due.all(write.nowMs, write.limit);
      return { kind, value: due.map((held) => take(sql, held, write.wish)) };
    }
    case "renew":
      return { kind, value: write.holders.filter(isStale(sql, write.untilMs)).map(idOf) };
    case "release":
      return { kind, value: release(sql, write) };
    case "probe":
      proveWritable(db);
      return { kind, value: null };
    case "mend":
      db.run(mending);
      return { kind, value: null };
  }
}

/** An empty transaction touches no disk. Writing the same number again is a page of the log, and its sync. */
function proveWritable(db: Database): void {
  const row = db.query<{ user_version: number }, []>("PRAGMA user_version").get();
  if (row !== null) db.run(`PRAGMA user_version = ${row.user_version}`);
}

const idOf = ({ agentId }: Holder): string => agentId;

const isStale =
  (sql: Statements, untilMs: number) =>
  ({ agentId, epoch, workedMs }: Holder): boolean =>
    sql.renew.run(untilMs, untilMs, workedMs, agentId, epoch).changes === 0;

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
  write: CreateWrite,
): { readonly agentId: string; readonly created: boolean; readonly lease: Lease | null } {
  const { agentId, createdAtMs, atMs, nowMs, head, columns, wakeAtMs, wish, request } = write;
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
  let hash = genesisHash(agentId);
  const inserted = sql.insertAgent.run({ agentId, createdAtMs, atMs, ...head, ...columns, hash });
  const id = Number(inserted.lastInsertRowid);
  for (const [index, event] of write.events.entries()) {
    hash = chainHash(hash, index + 1, event.atMs, event.body);
    sql.insertEvent.run(id, index + 1, event.atMs, event.body, hash);
  }
  sql.setHash.run(hash, id);
  for (const { key, sequence, digest } of write.marks)
    sql.insertMark.run(id, key, sequence, digest);
  if (request !== null) sql.insertRequest.run(request.requestId, id, request.digest);
  const lease = grant(sql, heldOf(sql, agentId), wish, { wakeAtMs, nowMs });
  return { agentId, created: true, lease };
}

function append(sql: Statements, write: AppendWrite): Lease | null {
  const { agentId, after, atMs, nowMs, head, columns, epoch, leaseUntilMs, wakeAtMs } = write;
  const held = epoch === null ? heldOf(sql, agentId) : fenced(sql, agentId, epoch);
  if (held.head !== after)
    throw new EngramError("conflict", `the log of ${agentId} is at ${held.head}, not ${after}`);
  let hash = held.hash;
  for (const [index, body] of write.bodies.entries()) {
    hash = chainHash(hash, after + index + 1, atMs, body);
    sql.insertEvent.run(held.id, after + index + 1, atMs, body, hash);
  }
  for (const { key, sequence, digest } of write.marks)
    sql.insertMark.run(held.id, key, sequence, digest);
  if (write.snapshot !== null)
    sql.setSnapshot.run(held.id, head.sequence, write.snapshot, snapshotHash(hash, write.snapshot));
  if (columns !== null) sql.setSpec.run(columns.spec, columns.parent, held.id);
  if (write.dropDraft && held.draft_call !== null) {
    sql.dropPieces.run(held.id);
    sql.dropDraft.run(held.id);
  }
  sql.setHead.run({ id: held.id, atMs, ...head, hash });
  if (epoch === null) return grant(sql, held, write.wish, { wakeAtMs, nowMs });
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

function release(
  sql: Statements,
  { holder, after, wakeAtMs }: Extract<Write, { kind: "release" }>,
): boolean {
  const held = sql.held.get(holder.agentId);
  if (held?.epoch !== holder.epoch || held.worker === null) return true;
  if (after !== null && held.head !== after) return false;
  sql.finish.run(wakeAtMs, holder.workedMs, held.id);
  return true;
}

function addToDraft(
  sql: Statements,
  { holder, call, pieces }: Extract<Write, { kind: "draft" }>,
): void {
  const held = fenced(sql, holder.agentId, holder.epoch);
  if (held.status !== "waiting_for_step")
    throw new EngramError("conflict", `agent ${held.agent_id} is ${held.status}`);
  const begun = held.draft_call === null ? null : decodeCall(held.draft_call);
  const continues = begun?.afterSequence === call.afterSequence;
  if (!continues && begun !== null) sql.dropPieces.run(held.id);
  const from = continues ? held.draft_pieces : 0;
  for (const [index, { kind, offset, content }] of pieces.entries())
    sql.insertPiece.run(held.id, from + index, kind, offset, content);
  sql.setDraft.run(JSON.stringify(call), from + pieces.length, holder.workedMs, held.id);
}

function remove(
  sql: Statements,
  { agentId, atMs, force }: Extract<Write, { kind: "remove" }>,
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
