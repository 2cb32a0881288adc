import { allStatuses } from "../../../agent/state.ts";
import { storeLimits } from "../../../limits.ts";
import { auditLimits } from "../../audit/audit-limits.ts";
import { Fault } from "../../audit/log.ts";
import { findRow, type FoundRow } from "./row.ts";
import type { Reader } from "./reader.ts";
import { listOf, numberOf, textOf, textOrNull } from "../values.ts";

/** Where in the index an agent may stand: once under "all", and once under its status or as held by a worker. */
export const places: readonly string[] = [
  "all",
  "held",
  ...allStatuses.filter((status) => status !== "processing"),
];

/** An agent's row and what stands beside it, all of one moment. */
export type Look = {
  readonly row: FoundRow;
  /** The first event behind a place, as it is found; null: none. */
  readonly behind: unknown;
  readonly marks: number;
  readonly places: readonly string[];
  readonly wakeAtMs: number | null;
  readonly pieces: readonly string[];
  readonly isDeleted: boolean;
  /** What its request id stands for; null: nothing, or it has none. */
  readonly reservation: string | null;
  /** How long its keys have to live, in ms; -1: for ever, -2: not there. */
  readonly lifetimes: readonly number[];
};

/**
 * Looks at an agent; `after` is where its log was walked to, `requestId` empty where it has none. An agent that changes
 * meanwhile is looked at again. null: there is none.
 */
export async function lookAt(
  reader: Reader,
  agentId: string,
  { after, requestId }: { readonly after: number; readonly requestId: string },
): Promise<Look | null> {
  for (let looks = 0; looks < auditLimits.looksMax; looks++) {
    // They stand in one line to one server; nothing that changes an agent leaves its row alone, but for more pieces.
    const [before, look, then] = await Promise.all([
      findRow(reader, agentId),
      askAll(reader, agentId, { after, requestId }),
      findRow(reader, agentId),
    ]);
    if (before === null || then === null) return null;
    if (!Bun.deepEquals(before, then)) continue;
    if (look.pieces.length < storeLimits.readEventsMax) return { ...look, row: then };
    const pieces = await morePieces(reader, agentId, look.pieces);
    if (Bun.deepEquals(then, await findRow(reader, agentId))) return { ...look, pieces, row: then };
  }
  throw new Fault(`it changed at each of ${auditLimits.looksMax} looks`);
}

async function askAll(
  { shards, ask }: Reader,
  agentId: string,
  { after, requestId }: { readonly after: number; readonly requestId: string },
): Promise<Omit<Look, "row">> {
  const shard = shards.of(agentId);
  const [log, marks, draft] = [shard.log(agentId), shard.marks(agentId), shard.draft(agentId)];
  const lasting = [shard.agent(agentId), log, marks, draft];
  const request = shards.of(requestId);
  const [behind, markCount, scores, wake, pieces, gone, reservation, lifetimes] = await Promise.all(
    [
      ask(shard, "XRANGE", log, `0-${after + 1}`, "+", "COUNT", "1"),
      ask(shard, "HLEN", marks),
      Promise.all(places.map((place) => ask(shard, "ZSCORE", shard.index, `${place}:${agentId}`))),
      ask(shard, "ZSCORE", shard.wake, agentId),
      ask(shard, "LRANGE", draft, "0", `${storeLimits.readEventsMax - 1}`),
      ask(shard, "HEXISTS", shard.gone, agentId),
      requestId === "" ? null : ask(request, "GET", request.request(requestId)),
      Promise.all(lasting.map((key) => ask(shard, "PTTL", key))),
    ],
  );
  return {
    behind: listOf(behind)[0] ?? null,
    marks: numberOf(markCount),
    places: places.filter((_, index) => scores[index] !== null),
    wakeAtMs: wake === null ? null : numberOf(wake),
    pieces: listOf(pieces).map(textOf),
    isDeleted: gone === 1,
    reservation: textOrNull(reservation),
    lifetimes: lifetimes.map(numberOf),
  };
}

/** The pieces behind the first page. As long as the row stays, more may come behind them and none goes. */
async function morePieces(
  { shards, ask }: Reader,
  agentId: string,
  first: readonly string[],
): Promise<readonly string[]> {
  const shard = shards.of(agentId);
  const pieces = [...first];
  for (;;) {
    const range = [`${pieces.length}`, `${pieces.length + storeLimits.readEventsMax - 1}`];
    const page = listOf(await ask(shard, "LRANGE", shard.draft(agentId), ...range)).map(textOf);
    pieces.push(...page);
    if (page.length < storeLimits.readEventsMax) return pieces;
  }
}
