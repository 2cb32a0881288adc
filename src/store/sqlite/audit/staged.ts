import type { Database } from "bun:sqlite";
import { messageOf } from "../../../errors.ts";
import { makeMarkCount } from "../../audit/derived.ts";
import { Fault, startOf } from "../../audit/log.ts";
import { openDerivedAudit } from "./derived.ts";
import { openLogAudit } from "./log.ts";
import { stagedCheck } from "../checks.ts";
import type { StagedRow } from "../rows.ts";

/** What is wrong with the rows of what stands aside for agents that are still to be made, in plain words. */
export function* stagedRows(db: Database): Generator<string> {
  for (const row of rowsOf(db))
    if (stagedCheck(row) !== row.row_check)
      yield `what stands aside for agent ${String(row.agent_id)} was changed`;
  const made = db.query<{ agent: number }, []>(
    "SELECT agent FROM staged WHERE agent IN (SELECT id FROM agent)",
  );
  for (const { agent } of made.all())
    yield `events stand aside for agent row ${agent}, which is there`;
}

/** What is wrong with the events and marks that stand aside, which the next creation would take over. */
export function* stagedLogs(db: Database): Generator<string> {
  const again = db.query<StagedRow, [number]>("SELECT * FROM staged WHERE agent = ?");
  for (const { agent } of rowsOf(db)) {
    // Of one moment: an engine may clear marks beside this.
    const fault = db.transaction(() => {
      const row = again.get(agent);
      return row === null ? null : faultOf(db, row);
    })();
    if (fault !== null) yield fault;
  }
}

function faultOf(db: Database, row: StagedRow): string | null {
  // What was thrown away is removed piece by piece; and a changed row was told.
  if (row.agent_id === null || stagedCheck(row) !== row.row_check) return null;
  const logs = openLogAudit(db);
  const derived = openDerivedAudit(db);
  try {
    const marks = row.forked === 0 ? makeMarkCount() : null;
    const stretch = { id: row.agent, head: row.head, until: Infinity };
    let place = startOf(row.agent_id);
    logs.begin(row.agent);
    for (let page = logs.next(stretch, place); page.events.length > 0;) {
      for (const logged of page.events) marks?.seen(logged, (key) => derived.mark(row.agent, key));
      ({ place } = page);
      page = logs.next(stretch, place);
    }
    if (!Bun.deepEquals(place.hash, row.hash)) throw new Fault(`event ${row.head} is another`);
    marks?.end(derived.marks(row.agent));
    return null;
  } catch (error) {
    return `what stands aside for agent ${row.agent_id}: ${messageOf(error)}`;
  } finally {
    logs.finalize();
    derived.finalize();
  }
}

const rowsOf = (db: Database): readonly StagedRow[] =>
  db.query<StagedRow, []>("SELECT * FROM staged").all();
