import type { Database } from "bun:sqlite";
import { marksOf } from "../../agent/mark.ts";
import { statusOf } from "../../agent/state.ts";
import type { LoggedEvent } from "../../agent/event.ts";
import { Fault, type Place, startOf } from "../audit/log.ts";
import { openLogAudit } from "./audit/log.ts";
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
import { stateVersion } from "../codec.ts";

/*
 * Format 1 kept neither marks nor snapshots, and no checks but the log's own. What is derived is made anew from each log,
 * once that is shown to be as it was written; an agent whose log is not gets checks that never hold, so that it stays refused.
 */

type OldAgent = {
  readonly id: number;
  readonly agent_id: string;
  readonly created_at: number;
  readonly updated_at: number;
  readonly status: string;
  readonly reason: string;
  readonly head: number;
  readonly hash: Uint8Array;
  readonly stats: string;
  readonly spec: string;
  readonly parent: string;
  readonly wake: number | null;
  readonly worker: string | null;
  readonly lease_until: number;
  readonly epoch: number;
  readonly claims: number;
  readonly draft_call: string | null;
  readonly draft_pieces: number;
};

/** Holds of nothing. */
const noCheck = -1;

/** Brings a file of format 1 up to the present layout, which `lay` makes; on an open transaction. */
export function moveFromFormat1(db: Database, lay: () => void): void {
  for (const index of ["agent_wake", "agent_status", "request_agent"])
    db.run(`DROP INDEX ${index}`);
  for (const table of ["agent", "draft_piece", "tombstone"])
    db.run(`ALTER TABLE ${table} RENAME TO old_${table}`);
  lay();
  moveAgents(db);
  moveDrafts(db);
  const bury = db.query("INSERT INTO tombstone VALUES(?, ?, ?)");
  for (const row of db
    .query<{ agent_id: string; deleted_at: number }, []>("SELECT * FROM old_tombstone")
    .iterate())
    bury.run(row.agent_id, row.deleted_at, tombstoneCheck(row));
  for (const table of ["old_agent", "old_draft_piece", "old_tombstone", "request"])
    db.run(`DROP TABLE ${table}`);
}

function moveAgents(db: Database): void {
  const insert = db.query(
    `INSERT INTO agent VALUES($id, $agent_id, $created_at, $request_id, $request_digest, $birth_check,
      $spec, $parent, $spec_check, $updated_at, $status, $reason, $head, $hash, $stats, $version, $head_check,
      $worker, $epoch, $claims, $worked, $lease_check, $wake, $lease_until, $draft_call, $draft_pieces, $draft_tail, $draft_check)`,
  );
  const request = db.query<{ request_id: string; digest: string }, [number]>(
    "SELECT request_id, digest FROM request WHERE agent = ?",
  );
  const insertMark = db.query("INSERT OR IGNORE INTO mark VALUES(?, ?, ?, ?, ?)");
  const logs = openLogAudit(db);
  for (const { id } of db.query<{ id: number }, []>("SELECT id FROM old_agent").all()) {
    const old = db.query<OldAgent, [number]>("SELECT * FROM old_agent WHERE id = ?").get(id);
    if (old === null) continue;
    const { state, marks } = foldOf(logs, old);
    const asked = request.get(id);
    const row = {
      ...old,
      ...(state === null
        ? {}
        : {
            created_at: state.createdAtMs,
            updated_at: state.updatedAtMs,
            status: statusOf(state),
            reason: state.reason,
            stats: JSON.stringify(state.stats),
            spec: JSON.stringify(state.spec),
            parent: JSON.stringify(state.parent),
          }),
      request_id: asked?.request_id ?? null,
      request_digest: asked?.digest ?? null,
      version: stateVersion,
      worked: 0,
      draft_tail: 0,
      draft_check: noCheck,
    };
    const held = (check: number): number => (state === null ? noCheck : check);
    insert.run({
      ...row,
      birth_check: held(birthCheck(row)),
      spec_check: held(specCheck(row)),
      head_check: held(headCheck(row)),
      lease_check: held(leaseCheck(row)),
    });
    for (const mark of marks)
      insertMark.run(id, mark.key, mark.sequence, mark.digest, markCheck({ agent: id, ...mark }));
  }
  logs.finalize();
}

type Derived = Pick<Place, "state"> & { readonly marks: ReturnType<typeof marksOf> };

/** What a log gives; `state` null: it is damaged. */
function foldOf(logs: ReturnType<typeof openLogAudit>, old: OldAgent): Derived {
  const events: LoggedEvent["event"][] = [];
  let place = startOf(old.agent_id);
  try {
    for (;;) {
      const page = logs.next({ id: old.id, head: old.head, until: Infinity }, place);
      if (page.events.length === 0) break;
      for (const { event } of page.events) events.push(event);
      ({ place } = page);
    }
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    return { state: null, marks: [] };
  }
  const whole = Bun.deepEquals(place.hash, old.hash);
  return { state: whole ? place.state : null, marks: whole ? marksOf(events, 0) : [] };
}

function moveDrafts(db: Database): void {
  const pieces = db.query<
    { number: number; kind: string; offset: number; content: string },
    [number]
  >("SELECT * FROM old_draft_piece WHERE agent = ? ORDER BY number");
  const insert = db.query("INSERT INTO draft_piece VALUES(?, ?, ?, ?, ?, ?)");
  const finish = db.query("UPDATE agent SET draft_tail = ?, draft_check = ? WHERE id = ?");
  const agents = db.query<OldAgent, []>("SELECT * FROM agent").all();
  for (const row of agents) {
    let tail = draftStart(row.agent_id);
    for (const piece of pieces.all(row.id)) {
      tail = pieceCheck(tail, piece);
      insert.run(row.id, piece.number, piece.kind, piece.offset, piece.content, tail);
    }
    finish.run(tail, draftCheck({ ...row, draft_tail: tail }), row.id);
  }
}
