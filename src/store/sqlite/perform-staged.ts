import { messageKey } from "../../agent/mark.ts";
import { EngramError } from "../../errors.ts";
import { storeLimits } from "../../limits.ts";
import { genesisHash } from "../codec.ts";
import { chained, otherAside, otherHead, restOf, thereAlready } from "../staging.ts";
import { markCheck, stagedCheck } from "./checks.ts";
import type { Held, StagedRow, Statements } from "./rows.ts";
import type { CreateWrite, StageWrite } from "./writes.ts";

/*
 * What stands aside for an agent stands where it will stay: the agent's number is taken by the first page, and a creation
 * moves nothing. Writes on an open transaction, as those of perform.ts.
 */

/** Keys of messages' marks stand from the first up to the second. */
const messages = messageKey("");
const behindMessages = messages.replace(/ $/, "!");

function asideOf(sql: Statements, agentId: string): StagedRow | null {
  const row = sql.staged.get(agentId);
  if (row === null || stagedCheck(row) === row.row_check) return row;
  throw new EngramError(
    "corrupt",
    `what stands aside for agent ${agentId} was changed in the store; engram verify says more`,
  );
}

const set = (sql: Statements, row: Omit<StagedRow, "row_check">): void =>
  void sql.setStaged.run({ ...row, row_check: stagedCheck(row) });

/** True: stale marks stand aside. */
export function stage(sql: Statements, { agentId, nowMs, page }: StageWrite): boolean {
  if (sql.held.get(agentId) !== null) throw thereAlready(agentId);
  const known = asideOf(sql, agentId);
  const { agent, head, hash, forked } = known ?? {
    agent: nextNumber(sql),
    head: 0,
    hash: genesisHash(agentId),
    forked: 0,
  };
  const rest = restOf(page, head, (sequence) =>
    sequence === 0 ? genesisHash(agentId) : (sql.hashAt.get(agent, sequence)?.hash ?? null),
  );
  if (rest === null || (forked > 0 && rest.events.length > 0))
    throw otherAside(agentId, head, page.after);
  const hashes = chained(hash, head, rest.events);
  for (const [index, { atMs, body }] of rest.events.entries())
    sql.insertEvent.run(agent, head + index + 1, atMs, body, hashes[index] ?? hash);
  for (const { key, sequence, digest } of rest.marks) {
    // Behind a fork an id is free again, though its stale mark may still stand there.
    if (rest.forkedAt > 0 && key.startsWith(messages)) sql.dropMark.run(agent, key);
    sql.insertMark.run(agent, key, sequence, digest, markCheck({ agent, key, sequence, digest }));
  }
  const stale = Math.max(forked, rest.forkedAt);
  set(sql, {
    agent,
    agent_id: agentId,
    head: head + rest.events.length,
    hash: hashes.at(-1) ?? hash,
    forked: stale,
    touched: nowMs,
  });
  return stale > 0;
}

/** Removes a page of stale marks; true: there are more. */
export function unmark(sql: Statements, agentId: string): boolean {
  const row = asideOf(sql, agentId);
  if (row === null || row.forked === 0) return false;
  const { agent, forked } = row;
  const limit = storeLimits.stagedEventsMax;
  const { changes } = sql.dropMarksOf.run(agent, agent, messages, behindMessages, forked, limit);
  if (changes === limit) return true;
  set(sql, { ...row, forked: 0 });
  return false;
}

/** What an agent begins with. */
export type Beginning = { readonly id: number; readonly head: number; readonly hash: Uint8Array };

/** What a creation takes over from aside. Fails with conflict where other than that stands there. */
export function begin(sql: Statements, { agentId, staged }: CreateWrite): Beginning {
  const row = asideOf(sql, agentId);
  const head = row?.head ?? 0;
  if (head !== staged || (row !== null && row.forked > 0)) throw otherAside(agentId, head, staged);
  return {
    id: row?.agent ?? nextNumber(sql),
    head,
    hash: row?.hash ?? genesisHash(agentId),
  };
}

/** The agent is there: what stood aside is its own. */
export const taken = (sql: Statements, { id, head }: Beginning): void => {
  if (head > 0) sql.dropStaged.run(id);
};

/** The log does not end as the creation says: what stood aside is thrown away with it. */
export function refuse(sql: Statements, agentId: string, headHash: string): never {
  unstage(sql, agentId);
  throw otherHead(agentId, headHash);
}

/** False: nothing stood aside. */
export function unstage(sql: Statements, agentId: string): boolean {
  const row = asideOf(sql, agentId);
  if (row !== null) set(sql, thrownAway(row));
  return row !== null;
}

const nextNumber = (sql: Statements): number => sql.nextNumber.get()?.next ?? 1;

/** Its id is free at once; a sweep removes the rest before all others. */
export const thrownAway = (row: StagedRow): StagedRow => {
  const gone = { ...row, agent_id: null, touched: 0 };
  return { ...gone, row_check: stagedCheck(gone) };
};

/** Removes a page of what was thrown away, or came before a time; answers when to come again. */
export function sweep(sql: Statements, beforeMs: number): number | null {
  // A row that was changed may name another agent's number: it stays, to be found.
  const oldest = sql.stagedOldest.all().find((row) => stagedCheck(row) === row.row_check);
  if (oldest === undefined) return null;
  if (oldest.agent_id !== null && oldest.touched > beforeMs) return oldest.touched;
  const { agent } = oldest;
  if (dropPage(sql, agent)) set(sql, thrownAway(oldest));
  else sql.dropStaged.run(agent);
  return 0;
}

/** Removes a page of an agent's events and marks; true: there may be more. What is removed is overwritten, so its bytes count. */
function dropPage(sql: Statements, agent: number): boolean {
  const { stagedEventsMax, stagedBytesMax } = storeLimits;
  const found = sql.events.iterate(agent, -Infinity, stagedEventsMax);
  let events = 0;
  let bytes = 0;
  let last = -Infinity;
  for (const { sequence, body } of found) {
    events++;
    last = sequence;
    bytes += body.length;
    if (bytes > stagedBytesMax) break;
  }
  sql.dropEvents.run(agent, last);
  const { changes: marks } = sql.dropMarks.run(agent, agent, stagedEventsMax);
  return bytes > stagedBytesMax || Math.max(events, marks) === stagedEventsMax;
}

/** Removes the log and the marks of an agent that is deleted, or a page of them; true: a sweep has to remove the rest. */
export function dropLog(sql: Statements, { id, head, hash }: Held): boolean {
  const isMore = dropPage(sql, id);
  if (isMore) set(sql, { agent: id, agent_id: null, head, hash, forked: 0, touched: 0 });
  return isMore;
}
