import type { Database, Statement } from "bun:sqlite";
import { setImmediate as nextTurnOfTheLoop } from "node:timers/promises";
import { storeLimits } from "../../limits.ts";
import type { Tally } from "../store.ts";
import { noAgents } from "../tally.ts";

/** Looks at all agents without holding up others; `finalize` before the database is closed. */
export type Counter = {
  tally(nowMs: number): Promise<Tally>;
  /** The ids of the agents that are processing, in no order. */
  driven(nowMs: number): Promise<readonly string[]>;
  finalize(): void;
};

/** An agent's place in the index of wake times. */
type Place = { readonly wake: number; readonly id: number };

/**
 * Counts by the indexes alone, a slice after the other with a turn of the event loop between them, since an index is as
 * long as there are agents: so each number is of its own moment. `reading` runs each statement, and fails as the store does.
 */
export function openCounter(db: Database, reading: <T>(read: () => T) => T): Counter {
  const sql = statementsOn(db);
  const size = storeLimits.tallySlice;

  const ofStatus = (status: string): Promise<number> =>
    summed("", (after) => {
      const last = reading(() => sql.lastOfStatus.get(status, after, size - 1));
      if (last !== null) return { count: size, next: last.agent_id };
      const rest = reading(() => sql.restOfStatus.get(status, after));
      return { count: rest?.count ?? 0, next: null };
    });
  const due = (untilMs: number): Promise<number> =>
    summed<Place>({ wake: -1, id: 0 }, (after) => {
      const last = reading(() => sql.lastDue.get({ ...after, untilMs, skip: size - 1 }));
      if (last !== null) return { count: size, next: last };
      const rest = reading(() => sql.restDue.get({ ...after, untilMs }));
      return { count: rest?.count ?? 0, next: null };
    });
  /** A live lease ends when the agent is due again; who waits for a retry stands there too. */
  const driven = async (nowMs: number): Promise<readonly string[]> => {
    const ids: string[] = [];
    const limit = storeLimits.tallyRows;
    await summed<Place>({ wake: nowMs, id: Number.MAX_SAFE_INTEGER }, (after) => {
      const rows = reading(() => sql.later.all({ ...after, nowMs, limit }));
      for (const row of rows) if (row.driven !== null) ids.push(row.driven);
      return { count: rows.length, next: rows.length < limit ? null : (rows.at(-1) ?? null) };
    });
    return ids;
  };

  return {
    tally: async (nowMs) => {
      const agents = noAgents();
      for (const status of stored) agents[status] = await ofStatus(status);
      agents.processing = (await driven(nowMs)).length;
      agents.waiting_for_step = Math.max(0, agents.waiting_for_step - agents.processing);
      const first = reading(() => sql.first.get(nowMs))?.wake ?? null;
      return { agents, due: await due(nowMs), dueSinceMs: first };
    },
    driven,
    finalize: () => {
      for (const statement of Object.values<Statement>(sql)) statement.finalize();
    },
  };
}

const stored = [
  "waiting_for_step",
  "waiting_for_input",
  "waiting_for_confirmation",
  "paused",
  "completed",
  "failed",
  "canceled",
] as const;

/** Adds up the slices: of each how many it counts, and behind what the next begins; null: it was the last. */
async function summed<P>(
  start: P,
  slice: (after: P) => { readonly count: number; readonly next: P | null },
): Promise<number> {
  let sum = 0;
  for (let after: P | null = start; after !== null;) {
    const { count, next } = slice(after);
    sum += count;
    after = next;
    await nextTurnOfTheLoop();
  }
  return sum;
}

type Count = { readonly count: number };

/** Both halves walk the index of wake times from their start; one comparison of pairs would begin at the equals of `wake`. */
const behindPlace = (columns: string, untilMs: string): string =>
  `SELECT ${columns} FROM agent WHERE wake = $wake AND id > $id
   UNION ALL SELECT ${columns} FROM agent WHERE wake > $wake AND wake <= ${untilMs}`;

const statementsOn = (db: Database) => ({
  lastOfStatus: db.prepare<{ agent_id: string }, [string, string, number]>(
    "SELECT agent_id FROM agent WHERE status = ? AND agent_id > ? ORDER BY agent_id LIMIT 1 OFFSET ?",
  ),
  restOfStatus: db.prepare<Count, [string, string]>(
    "SELECT count(*) AS count FROM agent WHERE status = ? AND agent_id > ?",
  ),
  lastDue: db.prepare<Place, [Place & { untilMs: number; skip: number }]>(
    `${behindPlace("wake, id", "$untilMs")} ORDER BY wake, id LIMIT 1 OFFSET $skip`,
  ),
  restDue: db.prepare<Count, [Place & { untilMs: number }]>(
    `SELECT count(*) AS count FROM (${behindPlace("id", "$untilMs")})`,
  ),
  later: db.prepare<Place & { driven: string | null }, [Place & { nowMs: number; limit: number }]>(
    `${behindPlace(
      "wake, id, iif(status = 'waiting_for_step' AND worker IS NOT NULL AND lease_until > $nowMs, agent_id, NULL) AS driven",
      `${Number.MAX_SAFE_INTEGER}`,
    )} ORDER BY wake, id LIMIT $limit`,
  ),
  first: db.prepare<{ wake: number | null }, [number]>(
    "SELECT min(wake) AS wake FROM agent WHERE wake <= ?",
  ),
});
