import type { Database, Statement } from "bun:sqlite";
import type { AgentSpec } from "../agent/event.ts";
import { isJsonObject } from "../agent/json.ts";
import type { Mark } from "../agent/mark.ts";
import type { AgentRow } from "../agent/row.ts";
import { type AgentState, isStatus, type Stats } from "../agent/state.ts";
import { EngramError } from "../errors.ts";
import type { DraftPiece, ListQuery } from "./store.ts";

/** What an agent's writes have to know of it. */
export type Held = {
  readonly id: number;
  readonly agent_id: string;
  readonly status: string;
  readonly head: number;
  readonly hash: Uint8Array;
  readonly worker: string | null;
  readonly lease_until: number;
  readonly epoch: number;
  readonly claims: number;
  readonly draft_call: string | null;
  readonly draft_pieces: number;
  readonly worked: number;
};

type EventRow = {
  readonly sequence: number;
  readonly at: number;
  readonly body: string;
  readonly hash: Uint8Array;
};

type StoredRow = {
  readonly agent_id: string;
  readonly created_at: number;
  readonly updated_at: number;
  readonly status: string;
  readonly reason: string;
  readonly head: number;
  readonly stats: string;
  readonly spec: string;
  readonly parent: string;
  readonly worker: string | null;
  readonly lease_until: number;
};

const heldColumns =
  "id, agent_id, status, head, hash, worker, lease_until, epoch, claims, draft_call, draft_pieces, worked";
const rowColumns =
  "agent_id, created_at, updated_at, status, reason, head, stats, spec, parent, worker, lease_until";

type NewAgent = {
  readonly agentId: string;
  readonly createdAtMs: number;
  readonly atMs: number;
  readonly status: string;
  readonly reason: string;
  readonly sequence: number;
  readonly hash: Uint8Array;
  readonly stats: string;
  readonly spec: string;
  readonly parent: string;
};

type NewHead = Pick<NewAgent, "atMs" | "status" | "reason" | "sequence" | "hash" | "stats"> & {
  readonly id: number;
};

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
    ...leaseStatements(prepare),
    ...logStatements(prepare),
    finalize: () => {
      for (const statement of all) statement.finalize();
    },
  };
}

export type Statements = ReturnType<typeof agentStatements> &
  ReturnType<typeof leaseStatements> &
  ReturnType<typeof logStatements> & { finalize(): void };

type Prepare = <Row, Params extends Parameters<Statement<Row>["run"]>>(
  text: string,
) => Statement<Row, Params>;

const agentStatements = (prepare: Prepare) => ({
  held: prepare<Held, [string]>(`SELECT ${heldColumns} FROM agent WHERE agent_id = ?`),
  agent: prepare<StoredRow, [string]>(`SELECT ${rowColumns} FROM agent WHERE agent_id = ?`),
  list: listing(prepare),
  insertAgent: prepare<null, [NewAgent]>(
    `INSERT INTO agent VALUES(NULL, $agentId, $createdAtMs, $atMs, $status, $reason, $sequence, $hash,
      $stats, $spec, $parent, NULL, NULL, 0, 0, 0, NULL, 0, 0)`,
  ),
  setHash: prepare<null, [Uint8Array, number]>("UPDATE agent SET hash = ? WHERE id = ?"),
  setHead: prepare<null, [NewHead]>(
    "UPDATE agent SET updated_at = $atMs, status = $status, reason = $reason, head = $sequence, hash = $hash, stats = $stats WHERE id = $id",
  ),
  setSpec: prepare<null, [string, string, number]>(
    "UPDATE agent SET spec = ?, parent = ? WHERE id = ?",
  ),
  bury: prepare<null, [string, number]>("INSERT OR REPLACE INTO tombstone VALUES(?, ?)"),
});

const leaseStatements = (prepare: Prepare) => ({
  due: prepare<Held, [number, number]>(
    `SELECT ${heldColumns} FROM agent WHERE wake <= ? ORDER BY wake LIMIT ?`,
  ),
  nextWake: prepare<{ wake: number | null }, []>(
    "SELECT min(wake) AS wake FROM agent WHERE wake IS NOT NULL",
  ),
  setWake: prepare<null, [number | null, number]>("UPDATE agent SET wake = ? WHERE id = ?"),
  take: prepare<null, [string, number, number, number]>(
    "UPDATE agent SET worker = ?, wake = ?, lease_until = ?, epoch = epoch + 1, claims = claims + 1 WHERE id = ?",
  ),
  keep: prepare<null, [number, number, number]>(
    "UPDATE agent SET wake = ?, lease_until = ?, claims = 0, worked = 0 WHERE id = ?",
  ),
  finish: prepare<null, [number | null, number, number]>(
    "UPDATE agent SET wake = ?, worked = ?, worker = NULL, lease_until = 0, claims = 0 WHERE id = ?",
  ),
  renew: prepare<null, [number, number, number, string, number]>(
    "UPDATE agent SET wake = ?, lease_until = ?, worked = ? WHERE agent_id = ? AND epoch = ? AND worker IS NOT NULL",
  ),
});

const logStatements = (prepare: Prepare) => ({
  events: prepare<EventRow, [number, number, number]>(
    "SELECT sequence, at, body, hash FROM event WHERE agent = ? AND sequence >= ? ORDER BY sequence LIMIT ?",
  ),
  pieces: prepare<DraftPiece, [number, number, number]>(
    "SELECT kind, offset, content FROM draft_piece WHERE agent = ? AND number >= ? ORDER BY number LIMIT ?",
  ),
  request: prepare<{ agent_id: string; digest: string }, [string]>(
    "SELECT agent_id, digest FROM request JOIN agent ON agent.id = request.agent WHERE request_id = ?",
  ),
  insertRequest: prepare<null, [string, number, string]>("INSERT INTO request VALUES(?, ?, ?)"),
  insertEvent: prepare<null, [number, number, number, string, Uint8Array]>(
    "INSERT INTO event VALUES(NULL, ?, ?, ?, ?, ?)",
  ),
  setDraft: prepare<null, [string, number, number, number]>(
    "UPDATE agent SET draft_call = ?, draft_pieces = ?, worked = ?, claims = 0 WHERE id = ?",
  ),
  dropDraft: prepare<null, [number]>(
    "UPDATE agent SET draft_call = NULL, draft_pieces = 0 WHERE id = ?",
  ),
  insertPiece: prepare<null, [number, number, string, number, string]>(
    "INSERT INTO draft_piece VALUES(?, ?, ?, ?, ?)",
  ),
  mark: prepare<Mark, [string, string]>(
    "SELECT key, sequence, digest FROM mark JOIN agent ON agent.id = mark.agent WHERE agent_id = ? AND key = ?",
  ),
  insertMark: prepare<null, [number, string, number, string]>(
    "INSERT OR IGNORE INTO mark VALUES(?, ?, ?, ?)",
  ),
  snapshot: prepare<{ sequence: number; body: string; hash: Uint8Array }, [number]>(
    "SELECT sequence, body, hash FROM snapshot WHERE agent = ?",
  ),
  setSnapshot: prepare<null, [number, number, string, Uint8Array]>(
    "INSERT OR REPLACE INTO snapshot VALUES(?, ?, ?, ?)",
  ),
  dropPieces: prepare<null, [number]>("DELETE FROM draft_piece WHERE agent = ?"),
  deletions: [
    "DELETE FROM event WHERE agent = ?",
    "DELETE FROM draft_piece WHERE agent = ?",
    "DELETE FROM request WHERE agent = ?",
    "DELETE FROM mark WHERE agent = ?",
    "DELETE FROM snapshot WHERE agent = ?",
    "DELETE FROM agent WHERE id = ?",
  ].map((text) => prepare<null, [number]>(text)),
});

/** One statement for each way to filter, so that each walks an index from the page's start. */
function listing(prepare: Prepare) {
  type Page = { readonly before: string; readonly limit: number };
  const page = <More extends object>(condition: string) =>
    prepare<StoredRow, [Page & More]>(
      `SELECT ${rowColumns} FROM agent WHERE agent_id < $before AND ${condition}
       ORDER BY agent_id DESC LIMIT $limit`,
    );
  const driven = "(worker IS NOT NULL AND lease_until > $nowMs)";
  const any = page<object>("1");
  const stored = page<{ readonly status: string }>("status = $status");
  const queued = page<{ readonly nowMs: number }>(`status = 'waiting_for_step' AND NOT ${driven}`);
  const processing = page<{ readonly nowMs: number }>(`status = 'waiting_for_step' AND ${driven}`);
  return ({ status, limit, beforeAgentId }: ListQuery, nowMs: number): StoredRow[] => {
    // Ids are lower-case hex; a tilde stands behind all of them.
    const bounds = { before: beforeAgentId ?? "~", limit };
    if (status === null) return any.all(bounds);
    if (status === "waiting_for_step") return queued.all({ ...bounds, nowMs });
    if (status === "processing") return processing.all({ ...bounds, nowMs });
    return stored.all({ ...bounds, status });
  };
}

/** What listings show of a stored row. Throws `corrupt` where a column does not hold what was written. */
export function agentRowOf(stored: StoredRow, nowMs: number): AgentRow {
  const driven = stored.worker !== null && stored.lease_until > nowMs;
  const parent = parsed(stored.parent);
  const stats = parsed(stored.stats);
  const spec = parsed(stored.spec);
  if (!isStatus(stored.status) || !isStats(stats) || !isSpec(spec) || !isParent(parent))
    throw new EngramError("corrupt", `the index row of agent ${stored.agent_id} is damaged`);
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
