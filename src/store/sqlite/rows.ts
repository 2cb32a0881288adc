import type { Database, Statement } from "bun:sqlite";
import type { AgentSpec } from "../../agent/event.ts";
import { isJsonObject } from "../../agent/json.ts";
import type { Mark } from "../../agent/mark.ts";
import type { AgentRow } from "../../agent/row.ts";
import { type AgentState, isStatus, type Stats } from "../../agent/state.ts";
import { turnLimits } from "../../limits.ts";
import { birthCheck, headCheck, specCheck, type stagedCheck } from "./checks.ts";
import { damaged } from "./damage.ts";
import type { DraftPiece, ListQuery } from "../store.ts";

/** What an agent's writes have to know of it. */
export type Held = {
  readonly id: number;
  readonly agent_id: string;
  readonly updated_at: number;
  readonly status: string;
  readonly reason: string;
  readonly head: number;
  readonly hash: Uint8Array;
  readonly stats: string;
  readonly version: number;
  readonly head_check: number;
  readonly wake: number | null;
  readonly worker: string | null;
  readonly lease_until: number;
  readonly epoch: number;
  readonly claims: number;
  readonly worked: number;
  readonly draft_call: string | null;
  readonly draft_pieces: number;
  readonly draft_tail: number;
  readonly draft_check: number;
};

export type EventRow = {
  readonly sequence: number;
  readonly at: number;
  readonly body: string;
  readonly hash: Uint8Array;
};

type Birth = {
  readonly agent_id: string;
  readonly created_at: number;
  readonly request_id: string | null;
  readonly request_digest: string | null;
  readonly birth_check: number;
};

/** An agent's row as listings need it. */
export type StoredRow = Birth &
  Pick<Held, "updated_at" | "status" | "reason" | "head" | "hash" | "stats" | "version"> &
  Pick<Held, "head_check" | "worker" | "lease_until"> & {
    readonly spec: string;
    readonly parent: string;
    readonly spec_check: number;
  };

type PieceRow = DraftPiece & { readonly number: number; readonly row_check: number };

type MarkRow = Mark & { readonly agent: number; readonly row_check: number };

const birthColumns = "created_at, request_id, request_digest, birth_check";
const headColumns =
  "agent_id, updated_at, status, reason, head, hash, stats, version, head_check, worker, lease_until";
const heldColumns = `id, ${headColumns}, wake, epoch, claims, worked, draft_call, draft_pieces, draft_tail, draft_check`;
const rowColumns = `${headColumns}, ${birthColumns}, spec, parent, spec_check`;

/** What stands aside for an agent. */
export type StagedRow = Parameters<typeof stagedCheck>[0] & { readonly row_check: number };

/** A new agent's columns, those of its lease and its draft aside. */
export type NewAgent = Omit<StoredRow, "worker" | "lease_until"> & {
  readonly id: number;
  readonly lease_check: number;
  readonly draft_check: number;
};

/** What each append sets. */
export type NewHead = Pick<
  Held,
  "id" | "updated_at" | "status" | "reason" | "head" | "hash" | "stats" | "version" | "head_check"
>;

type NewDraft = Pick<
  Held,
  "id" | "draft_call" | "draft_pieces" | "draft_tail" | "draft_check" | "worked"
> & { readonly lease_check: number };

/** Every statement of the store, prepared once; `finalize` before the database is closed. */
export function openStatements(db: Database): Statements {
  const all: Statement[] = [];
  const prepare = <Row, Params extends Parameters<Statement<Row>["run"]>>(text: string) => {
    const statement = db.prepare<Row, Params>(text);
    all.push(statement);
    return statement;
  };
  return {
    ...agentStatements(prepare),
    ...stagedStatements(prepare),
    ...leaseStatements(prepare),
    ...logStatements(prepare),
    finalize: () => {
      for (const statement of all) statement.finalize();
    },
  };
}

export type Statements = ReturnType<typeof agentStatements> &
  ReturnType<typeof stagedStatements> &
  ReturnType<typeof leaseStatements> &
  ReturnType<typeof logStatements> & { finalize(): void };

type Prepare = <Row, Params extends Parameters<Statement<Row>["run"]>>(
  text: string,
) => Statement<Row, Params>;

const agentStatements = (prepare: Prepare) => ({
  held: prepare<Held, [string]>(`SELECT ${heldColumns} FROM agent WHERE agent_id = ?`),
  agent: prepare<StoredRow, [string]>(`SELECT ${rowColumns} FROM agent WHERE agent_id = ?`),
  ids: prepare<{ agent_id: string }, [string]>(
    "SELECT agent_id FROM agent WHERE agent_id < ? ORDER BY agent_id DESC",
  ),
  list: listing(prepare),
  insertAgent: prepare<null, [NewAgent]>(
    `INSERT INTO agent VALUES($id, $agent_id, $created_at, $request_id, $request_digest, $birth_check,
      $spec, $parent, $spec_check, $updated_at, $status, $reason, $head, $hash, $stats, $version, $head_check,
      NULL, 0, 0, 0, $lease_check, NULL, 0, NULL, 0, 0, $draft_check)`,
  ),
  setHead: prepare<null, [NewHead]>(
    `UPDATE agent SET updated_at = $updated_at, status = $status, reason = $reason, head = $head, hash = $hash,
      stats = $stats, version = $version, head_check = $head_check WHERE id = $id`,
  ),
  setSpec: prepare<null, [string, string, number, number]>(
    "UPDATE agent SET spec = ?, parent = ?, spec_check = ? WHERE id = ?",
  ),
  setStore: prepare<null, [number, number]>("UPDATE store SET commits = ?, row_check = ?"),
  exhume: prepare<null, [string]>("DELETE FROM tombstone WHERE agent_id = ?"),
  bury: prepare<null, [string, number, number]>("INSERT OR REPLACE INTO tombstone VALUES(?, ?, ?)"),
});

const stagedStatements = (prepare: Prepare) => ({
  staged: prepare<StagedRow, [string]>("SELECT * FROM staged WHERE agent_id = ?"),
  stagedOldest: prepare<StagedRow, []>("SELECT * FROM staged ORDER BY touched"),
  /** Of an agent to be: no event stands under it. */
  nextNumber: prepare<{ next: number }, []>(
    `SELECT 1 + max(coalesce((SELECT max(id) FROM agent), 0), coalesce((SELECT max(agent) FROM staged), 0)) AS next`,
  ),
  setStaged: prepare<null, [StagedRow]>(
    "INSERT OR REPLACE INTO staged VALUES($agent, $agent_id, $head, $hash, $forked, $touched, $row_check)",
  ),
  dropStaged: prepare<null, [number]>("DELETE FROM staged WHERE agent = ?"),
  dropMark: prepare<null, [number, string]>("DELETE FROM mark WHERE agent = ? AND key = ?"),
  /** Those between two keys that are of events before one, some at a time. */
  dropMarksOf: prepare<null, [number, number, string, string, number, number]>(
    `DELETE FROM mark WHERE agent = ? AND key IN
       (SELECT key FROM mark WHERE agent = ? AND key >= ? AND key < ? AND sequence < ? LIMIT ?)`,
  ),
  dropMarks: prepare<null, [number, number, number]>(
    "DELETE FROM mark WHERE agent = ? AND key IN (SELECT key FROM mark WHERE agent = ? LIMIT ?)",
  ),
  dropEvents: prepare<null, [number, number]>(
    "DELETE FROM event WHERE agent = ? AND sequence <= ?",
  ),
  hashAt: prepare<{ hash: Uint8Array }, [number, number]>(
    "SELECT hash FROM event WHERE agent = ? AND sequence = ?",
  ),
});

/** With a JSON list of the agents that are left to others. */
const notSkipped = "agent_id NOT IN (SELECT value FROM json_each(?))";

const leaseStatements = (prepare: Prepare) => ({
  /** By the index alone: no page of the table is read. */
  dueIds: prepare<{ id: number }, [number, number]>(
    "SELECT id FROM agent WHERE wake <= ? ORDER BY wake LIMIT ?",
  ),
  /** Of those that were claimed in vain too often, the one tried least. */
  dueTried: prepare<Held, [number, string, number]>(
    `SELECT ${heldColumns} FROM agent WHERE wake <= ? AND ${notSkipped} ORDER BY claims, wake LIMIT min(1, ?)`,
  ),
  heldById: prepare<Held, [number]>(`SELECT ${heldColumns} FROM agent WHERE id = ?`),
  due: prepare<Held, [number, string, number]>(
    `SELECT ${heldColumns} FROM agent WHERE wake <= ? AND claims < ${turnLimits.claimsTrusted} AND ${notSkipped}
     ORDER BY wake LIMIT ?`,
  ),
  nextWake: prepare<{ wake: number | null }, []>(
    "SELECT min(wake) AS wake FROM agent WHERE wake IS NOT NULL",
  ),
  nextWakeBut: prepare<{ wake: number | null }, [string]>(
    `SELECT wake FROM agent WHERE wake IS NOT NULL AND ${notSkipped} ORDER BY wake LIMIT 1`,
  ),
  setWake: prepare<null, [number | null, number, number]>(
    "UPDATE agent SET wake = ?, lease_check = ? WHERE id = ?",
  ),
  take: prepare<null, [string, number, number, number, number]>(
    "UPDATE agent SET worker = ?, wake = ?, lease_until = ?, epoch = epoch + 1, claims = claims + 1, lease_check = ? WHERE id = ?",
  ),
  keep: prepare<null, [number, number, number, number]>(
    "UPDATE agent SET wake = ?, lease_until = ?, claims = 0, worked = 0, lease_check = ? WHERE id = ?",
  ),
  finish: prepare<null, [number | null, number, number, number]>(
    "UPDATE agent SET wake = ?, worked = ?, worker = NULL, lease_until = 0, claims = 0, lease_check = ? WHERE id = ?",
  ),
  renew: prepare<null, [number, number, number, number, number]>(
    "UPDATE agent SET wake = ?, lease_until = ?, worked = ?, lease_check = ? WHERE id = ?",
  ),
});

const logStatements = (prepare: Prepare) => ({
  events: prepare<EventRow, [number, number, number]>(
    "SELECT sequence, at, body, hash FROM event WHERE agent = ? AND sequence >= ? ORDER BY sequence LIMIT ?",
  ),
  pieces: prepare<PieceRow, [number, number, number]>(
    "SELECT number, kind, offset, content, row_check FROM draft_piece WHERE agent = ? AND number >= ? ORDER BY number LIMIT ?",
  ),
  request: prepare<Birth, [string]>(
    `SELECT agent_id, ${birthColumns} FROM agent WHERE request_id = ?`,
  ),
  birth: prepare<Birth & { readonly lease_check: number }, [string]>(
    `SELECT agent_id, ${birthColumns}, lease_check FROM agent WHERE agent_id = ?`,
  ),
  insertEvent: prepare<null, [number, number, number, string, Uint8Array]>(
    "INSERT INTO event VALUES(NULL, ?, ?, ?, ?, ?)",
  ),
  setDraft: prepare<null, [NewDraft]>(
    `UPDATE agent SET draft_call = $draft_call, draft_pieces = $draft_pieces, draft_tail = $draft_tail,
      draft_check = $draft_check, worked = $worked, claims = 0, lease_check = $lease_check WHERE id = $id`,
  ),
  setEpoch: prepare<null, [number, number]>("UPDATE agent SET epoch = ? WHERE id = ?"),
  dropDraft: prepare<null, [number, number]>(
    "UPDATE agent SET draft_call = NULL, draft_pieces = 0, draft_tail = 0, draft_check = ? WHERE id = ?",
  ),
  insertPiece: prepare<null, [number, number, string, number, string, number]>(
    "INSERT INTO draft_piece VALUES(?, ?, ?, ?, ?, ?)",
  ),
  mark: prepare<MarkRow, [string, string]>(
    "SELECT agent, key, sequence, digest, row_check FROM mark JOIN agent ON agent.id = mark.agent WHERE agent_id = ? AND key = ?",
  ),
  insertMark: prepare<null, [number, string, number, string, number]>(
    "INSERT OR IGNORE INTO mark VALUES(?, ?, ?, ?, ?)",
  ),
  snapshot: prepare<{ sequence: number; body: string; hash: Uint8Array }, [number]>(
    "SELECT sequence, body, hash FROM snapshot WHERE agent = ?",
  ),
  setSnapshot: prepare<null, [number, number, string, Uint8Array]>(
    "INSERT OR REPLACE INTO snapshot VALUES(?, ?, ?, ?)",
  ),
  dropPieces: prepare<null, [number]>("DELETE FROM draft_piece WHERE agent = ?"),
  /** All of an agent but what a sweep removes. */
  deletions: [
    "DELETE FROM draft_piece WHERE agent = ?",
    "DELETE FROM snapshot WHERE agent = ?",
    "DELETE FROM agent WHERE id = ?",
  ].map((text) => prepare<null, [number]>(text)),
});

/** Ids are lower-case hex; a tilde stands behind all of them. */
export const behindAllIds = "~";

/** One statement for each way to filter by what is stored, so that each walks an index from the page's start. */
function listing(prepare: Prepare) {
  type Page = { readonly before: string; readonly limit: number };
  const page = <More extends object>(condition: string) =>
    prepare<StoredRow, [Page & More]>(
      `SELECT ${rowColumns} FROM agent WHERE agent_id < $before AND ${condition}
       ORDER BY agent_id DESC LIMIT $limit`,
    );
  const any = page<object>("1");
  const stored = page<{ readonly status: string }>("status = $status");
  const queued = page<{ readonly nowMs: number }>(
    "status = 'waiting_for_step' AND NOT (worker IS NOT NULL AND lease_until > $nowMs)",
  );
  return ({ status, limit, beforeAgentId }: ListQuery, nowMs: number): StoredRow[] => {
    const bounds = { before: beforeAgentId ?? behindAllIds, limit };
    if (status === null) return any.all(bounds);
    if (status === "waiting_for_step") return queued.all({ ...bounds, nowMs });
    return stored.all({ ...bounds, status });
  };
}

/** What listings show of a stored row. Throws `corrupt` where a column does not hold what was written. */
export function agentRowOf(stored: StoredRow, nowMs: number): AgentRow {
  const driven = stored.worker !== null && stored.lease_until > nowMs;
  const parent = parsed(stored.parent);
  const stats = parsed(stored.stats);
  const spec = parsed(stored.spec);
  const held =
    birthCheck(stored) === stored.birth_check &&
    specCheck(stored) === stored.spec_check &&
    headCheck(stored) === stored.head_check;
  if (!held || !isStatus(stored.status) || !isStats(stats) || !isSpec(spec) || !isParent(parent))
    throw damaged(stored.agent_id, "its index row was changed");
  return {
    agentId: stored.agent_id,
    createdAtMs: stored.created_at,
    updatedAtMs: stored.updated_at,
    status: driven && stored.status === "waiting_for_step" ? "processing" : stored.status,
    reason: stored.reason,
    sequence: stored.head,
    stats,
    spec,
    parent,
  };
}

/** undefined: no JSON, which no column holds. */
function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}

const isStats = (value: unknown): value is Stats =>
  isJsonObject(value) &&
  typeof value["steps"] === "number" &&
  typeof value["workedMs"] === "number";

const isSpec = (value: unknown): value is AgentSpec =>
  isJsonObject(value) &&
  typeof value["goal"] === "string" &&
  typeof value["model"] === "string" &&
  isJsonObject(value["config"]);

const isParent = (value: unknown): value is AgentState["parent"] =>
  value === null || (isJsonObject(value) && typeof value["agentId"] === "string");
