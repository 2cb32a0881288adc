import type { Database } from "bun:sqlite";
import type { Mark } from "../../agent/mark.ts";
import { EngramError } from "../../errors.ts";
import {
  birthCheck,
  draftCheck,
  draftStart,
  headCheck,
  leaseCheck,
  markCheck,
  pieceCheck,
  specCheck,
  tombstoneCheck,
} from "./checks.ts";
import { storeLimits } from "../../limits.ts";
import { chainHash, decodeCall, snapshotHash, stateVersion } from "../codec.ts";
import { chained, thereAlready } from "../staging.ts";
import { damaged } from "./damage.ts";
import { storeFault } from "./fault.ts";
import { begin, dropLog, refuse, stage, sweep, taken, unmark, unstage } from "./perform-staged.ts";
import type { Held, NewAgent, NewHead, Statements } from "./rows.ts";
import type { Answer, AppendWrite, ClaimWrite, CreateWrite, Write } from "./writes.ts";
import type { Draft, Holder, Lease, LeaseWish, Moved } from "../store.ts";

/** Makes the indexes of agents anew from their rows. A page that is no page any more stays one: that is left to a backup. */
export const mending = "REINDEX agent";

/**
 * Performs one write on the open transaction. An EngramError is thrown before the first change only, or where the change
 * is to stand: it is a refusal, and what the transaction holds besides stands.
 */
export function perform(db: Database, sql: Statements, write: Write): Answer {
  const { kind } = write;
  switch (kind) {
    case "stage":
      return { kind, value: stage(sql, write) };
    case "unmark":
      return { kind, value: unmark(sql, write.agentId) };
    case "unstage":
      return { kind, value: unstage(sql, write.agentId) };
    case "sweep":
      return { kind, value: sweep(sql, write.beforeMs) };
    case "create":
      return { kind, value: create(sql, write) };
    case "append":
      return { kind, value: append(sql, write) };
    case "remove":
      return { kind, value: remove(sql, write) };
    case "draft":
      addToDraft(sql, write);
      return { kind, value: null };
    case "claim":
      return takeAll(sql, dueFor(sql, write), write.wish);
    case "renew":
      return { kind, value: write.holders.filter(isStale(sql, write.untilMs)).map(idOf) };
    case "release":
      return { kind, value: release(sql, write) };
    case "probe":
      // Its commit counts itself in the file.
      return { kind, value: null };
    case "mend":
      db.run(mending);
      return { kind, value: null };
  }
}

function dueFor(sql: Statements, { wish, nowMs, limit, skip }: ClaimWrite): readonly Held[] {
  const others = JSON.stringify(skip);
  const due = sql.due.all(nowMs, others, limit);
  return due.length > 0 || wish.trustedOnly === true ? due : sql.dueTried.all(nowMs, others, limit);
}

/**
 * The due agents whose rows can be read, as many as a claim takes. A transaction that meets a damaged page cannot write
 * any more, so this is asked outside of one. Throws where there are none but others.
 */
export function readableDue(sql: Statements, { nowMs, limit }: ClaimWrite): readonly Held[] {
  const readable: Held[] = [];
  let fault: EngramError | null = null;
  for (const { id } of sql.dueIds.all(nowMs, limit + storeLimits.unreadableMax)) {
    if (readable.length === limit) break;
    try {
      const held = sql.heldById.get(id);
      if (held !== null) readable.push(held);
    } catch (error) {
      fault = storeFault(error);
    }
  }
  if (readable.length === 0 && fault !== null) throw fault;
  return readable;
}

export const takeAll = (sql: Statements, due: readonly Held[], wish: LeaseWish): Answer => ({
  kind: "claim",
  value: due.map((held) => take(sql, held, wish)),
});

const idOf = ({ agentId }: Holder): string => agentId;

const isStale =
  (sql: Statements, untilMs: number) =>
  ({ agentId, epoch, workedMs }: Holder): boolean => {
    const held = sql.held.get(agentId);
    if (held?.epoch !== epoch || held.worker === null) return true;
    sql.renew.run(
      untilMs,
      untilMs,
      workedMs,
      leaseCheck({ ...held, wake: untilMs, lease_until: untilMs, worked: workedMs }),
      held.id,
    );
    return false;
  };

function heldOf(sql: Statements, agentId: string): Held {
  const held = sql.held.get(agentId);
  if (held === null) throw new EngramError("not_found", `no agent ${agentId}`);
  // What is appended to a changed head would be damaged too.
  if (held.agent_id !== agentId || headCheck(held) !== held.head_check)
    throw damaged(agentId, "its index row was changed");
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
  const { agentId, nowMs, wakeAtMs, wish, request } = write;
  const known = request === null ? null : sql.request.get(request.requestId);
  if (known !== null) {
    if (birthCheck(known) !== known.birth_check)
      throw damaged(known.agent_id, "its index row was changed");
    if (known.request_digest === request?.digest && write.moved === null)
      return { agentId: known.agent_id, created: false, lease: null };
    throw new EngramError(
      "already_exists",
      `request_id ${request?.requestId} was used for agent ${known.agent_id}; give each creation an id of its own`,
    );
  }
  if (sql.held.get(agentId) !== null) throw thereAlready(agentId);
  const beginning = begin(sql, write);
  const { id, head } = beginning;
  const hashes = chained(beginning.hash, head, write.events);
  const hash = hashes.at(-1) ?? beginning.hash;
  if (write.headHash !== null && hash.toHex() !== write.headHash)
    refuse(sql, agentId, write.headHash);
  taken(sql, beginning);
  sql.insertAgent.run(newAgent(write, id, hash));
  for (const [index, { atMs, body }] of write.events.entries())
    sql.insertEvent.run(id, head + index + 1, atMs, body, hashes[index] ?? hash);
  addMarks(sql, id, write.marks);
  addSnapshot(sql, id, write, hash);
  if (write.moved !== null) bringAlong(sql, heldOf(sql, agentId), write.moved);
  const lease = grant(sql, heldOf(sql, agentId), wish, { wakeAtMs, nowMs });
  return { agentId, created: true, lease };
}

/** The agent may have been here before. */
function bringAlong(sql: Statements, held: Held, { draft, epoch, workedMs }: Moved): void {
  sql.exhume.run(held.agent_id);
  sql.setEpoch.run(epoch, held.id);
  if (draft !== null) writeDraft(sql, { ...held, epoch }, { ...draft, workedMs });
  else finish(sql, { ...held, epoch }, null, workedMs);
}

function newAgent(write: CreateWrite, id: number, hash: Uint8Array): NewAgent {
  const { agentId, createdAtMs, columns, request } = write;
  const agent = { agent_id: agentId };
  const birth = {
    ...agent,
    created_at: createdAtMs,
    request_id: request?.requestId ?? null,
    request_digest: request?.digest ?? null,
  };
  const spec = { ...agent, ...columns };
  const noLease = {
    ...agent,
    wake: null,
    worker: null,
    lease_until: 0,
    epoch: 0,
    claims: 0,
    worked: 0,
  };
  return {
    id,
    ...birth,
    birth_check: birthCheck(birth),
    ...spec,
    spec_check: specCheck(spec),
    ...newHead(agentId, write, hash),
    lease_check: leaseCheck(noLease),
    draft_check: noDraftCheck(agentId),
  };
}

const noDraftCheck = (agentId: string): number =>
  draftCheck({ agent_id: agentId, draft_call: null, draft_pieces: 0, draft_tail: 0 });

function newHead(
  agentId: string,
  { atMs, head }: Pick<AppendWrite, "atMs" | "head">,
  hash: Uint8Array,
): Omit<NewHead, "id"> {
  const { status, reason, sequence, stats } = head;
  const row = {
    updated_at: atMs,
    status,
    reason,
    head: sequence,
    hash,
    stats,
    version: stateVersion,
  };
  return { ...row, head_check: headCheck({ agent_id: agentId, ...row }) };
}

function addMarks(sql: Statements, agent: number, marks: readonly Mark[]): void {
  for (const { key, sequence, digest } of marks)
    sql.insertMark.run(agent, key, sequence, digest, markCheck({ agent, key, sequence, digest }));
}

function addSnapshot(
  sql: Statements,
  id: number,
  { snapshot, head }: Pick<AppendWrite, "snapshot" | "head">,
  hash: Uint8Array,
): void {
  if (snapshot === null) return;
  sql.setSnapshot.run(id, head.sequence, snapshot, snapshotHash(hash, snapshot));
}

function append(sql: Statements, write: AppendWrite): Lease | null {
  const { agentId, after, atMs, nowMs, columns, epoch, leaseUntilMs, wakeAtMs } = write;
  const held = epoch === null ? heldOf(sql, agentId) : fenced(sql, agentId, epoch);
  if (held.head !== after)
    throw new EngramError("conflict", `the log of ${agentId} is at ${held.head}, not ${after}`);
  let hash = held.hash;
  for (const [index, body] of write.bodies.entries()) {
    hash = chainHash(hash, after + index + 1, atMs, body);
    sql.insertEvent.run(held.id, after + index + 1, atMs, body, hash);
  }
  addMarks(sql, held.id, write.marks);
  addSnapshot(sql, held.id, write, hash);
  if (columns !== null) {
    const check = specCheck({ agent_id: agentId, ...columns });
    sql.setSpec.run(columns.spec, columns.parent, check, held.id);
  }
  if (write.dropDraft && held.draft_call !== null) {
    sql.dropPieces.run(held.id);
    sql.dropDraft.run(noDraftCheck(agentId), held.id);
  }
  sql.setHead.run({ id: held.id, ...newHead(agentId, write, hash) });
  if (epoch === null) return grant(sql, held, write.wish, { wakeAtMs, nowMs });
  if (leaseUntilMs === null) finish(sql, held, wakeAtMs, 0);
  else
    sql.keep.run(
      leaseUntilMs,
      leaseUntilMs,
      leaseCheck({ ...held, wake: leaseUntilMs, lease_until: leaseUntilMs, claims: 0, worked: 0 }),
      held.id,
    );
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
  if (wakeAtMs !== held.wake)
    sql.setWake.run(wakeAtMs, leaseCheck({ ...held, wake: wakeAtMs }), held.id);
  return null;
}

function take(sql: Statements, held: Held, { worker, untilMs }: LeaseWish): Lease {
  const epoch = held.epoch + 1;
  const claims = held.claims + 1;
  sql.take.run(
    worker,
    untilMs,
    untilMs,
    leaseCheck({ ...held, wake: untilMs, worker, lease_until: untilMs, epoch, claims }),
    held.id,
  );
  return {
    agentId: held.agent_id,
    epoch,
    claims,
    recovered: held.worker !== null,
    workedMs: held.worked,
  };
}

function finish(sql: Statements, held: Held, wakeAtMs: number | null, workedMs: number): void {
  const check = leaseCheck({
    ...held,
    wake: wakeAtMs,
    worker: null,
    lease_until: 0,
    claims: 0,
    worked: workedMs,
  });
  sql.finish.run(wakeAtMs, workedMs, check, held.id);
}

function release(
  sql: Statements,
  { holder, after, wakeAtMs }: Extract<Write, { kind: "release" }>,
): boolean {
  const held = sql.held.get(holder.agentId);
  if (held?.epoch !== holder.epoch || held.worker === null) return true;
  if (after !== null && held.head !== after) return false;
  finish(sql, held, wakeAtMs, holder.workedMs);
  return true;
}

function addToDraft(
  sql: Statements,
  { holder, call, pieces }: Extract<Write, { kind: "draft" }>,
): void {
  const held = fenced(sql, holder.agentId, holder.epoch);
  if (held.status !== "waiting_for_step")
    throw new EngramError("conflict", `agent ${held.agent_id} is ${held.status}`);
  if (draftCheck(held) !== held.draft_check) throw damaged(held.agent_id, "its draft was changed");
  writeDraft(sql, held, { call, pieces, workedMs: holder.workedMs });
}

type DraftWrite = Pick<Draft, "call" | "pieces"> & Pick<Holder, "workedMs">;

function writeDraft(sql: Statements, held: Held, { call, pieces, workedMs }: DraftWrite): void {
  const begun = held.draft_call === null ? null : decodeCall(held.draft_call);
  const continues = begun?.afterSequence === call.afterSequence;
  if (!continues && begun !== null) sql.dropPieces.run(held.id);
  let count = continues ? held.draft_pieces : 0;
  let tail = continues ? held.draft_tail : draftStart(held.agent_id);
  for (const { kind, offset, content } of pieces) {
    tail = pieceCheck(tail, { number: count, kind, offset, content });
    sql.insertPiece.run(held.id, count, kind, offset, content, tail);
    count++;
  }
  const draft = { draft_call: JSON.stringify(call), draft_pieces: count, draft_tail: tail };
  sql.setDraft.run({
    id: held.id,
    ...draft,
    draft_check: draftCheck({ agent_id: held.agent_id, ...draft }),
    worked: workedMs,
    lease_check: leaseCheck({ ...held, claims: 0, worked: workedMs }),
  });
}

function remove(
  sql: Statements,
  { agentId, atMs, force }: Extract<Write, { kind: "remove" }>,
): boolean {
  const held = heldOf(sql, agentId);
  if (!force && held.status === "waiting_for_step")
    throw new EngramError(
      "failed_precondition",
      `agent ${agentId} is working; pause or cancel it first, or delete it with force`,
    );
  const isMore = dropLog(sql, held);
  for (const statement of sql.deletions) statement.run(held.id);
  const check = tombstoneCheck({ agent_id: agentId, deleted_at: atMs });
  sql.bury.run(agentId, atMs, check);
  return isMore;
}
