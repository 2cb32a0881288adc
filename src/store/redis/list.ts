import type { AgentRow } from "../../agent/row.ts";
import type { Status } from "../../agent/state.ts";
import { redisLimits } from "../../limits.ts";
import type { Base } from "./base.ts";
import { firstOf } from "./merge.ts";
import { readRows } from "./row.ts";
import type { Shard } from "./shards.ts";
import { listOf, textOf } from "./values.ts";
import type { ListQuery } from "../store.ts";

/** Where in the index agents of a status are: who has a worker stands apart from those that wait for one. */
function placesOf(status: Status | null): readonly string[] {
  if (status === null) return ["all"];
  if (status === "waiting_for_step") return ["waiting_for_step", "held"];
  return [status === "processing" ? "held" : status];
}

/**
 * The newest agents from every shard's index, joined; of each only as many are read as the page is likely to need. A row
 * that has changed since the index was read, or whose lease has run out, may not belong here: then the next ones are taken.
 */
export async function listRows(
  base: Base,
  { status, limit, beforeAgentId }: ListQuery,
  nowMs: number,
): Promise<readonly AgentRow[]> {
  const ids = (shard: Shard, place: string) => async (after: string | null, count: number) => {
    const from = after ?? beforeAgentId;
    // A semicolon follows the colon.
    const below = from === null ? `(${place};` : `(${place}:${from}`;
    const range = [below, `(${place}:`, "LIMIT", "0", `${count}`];
    const found = listOf(await base.glance(shard, "ZREVRANGEBYLEX", shard.index, ...range));
    return found.map((member) => textOf(member).slice(place.length + 1));
  };
  const sources = placesOf(status).flatMap((place) =>
    base.shards.all.map((shard) => ids(shard, place)),
  );
  const newest = firstOf(sources, (a, b) => a > b);
  const page: AgentRow[] = [];
  while (page.length < limit) {
    const wanted = Math.min(limit - page.length, redisLimits.rowsAtOnce);
    const next = await newest.take(wanted);
    for (const row of await readRows(base, next, nowMs))
      if (status === null || row.status === status) page.push(row);
    if (next.length < wanted) break;
  }
  return page;
}
