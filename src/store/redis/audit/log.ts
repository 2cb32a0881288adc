import type { LoggedEvent } from "../../../agent/event.ts";
import { marksOf } from "../../../agent/mark.ts";
import { storeLimits } from "../../../limits.ts";
import { auditLimits } from "../../audit/audit-limits.ts";
import {
  checkSnapshot,
  type FoundMark,
  makeMarkCount,
  type MarkCount,
} from "../../audit/derived.ts";
import { Fault, type FoundEvent, pageOf, type Place, startOf } from "../../audit/log.ts";
import { type FoundRow, numberIn, numberOrNull, wholeNumber } from "./row.ts";
import type { Reader } from "./reader.ts";
import { hashOf, listOf, textOf, textOrNull } from "../values.ts";

/** Walks the log of one agent, and shows it and what hangs on its events to be what was written. Everything throws Fault. */
export interface LogWalk {
  place(): Place;
  /** Goes on to the head that the row says; the snapshot that it says is looked at on the way. */
  upTo(row: FoundRow): Promise<void>;
  /** Where the last snapshot was found in order; null: nowhere. */
  snapshotAt(): number | null;
  readonly marks: MarkCount;
}

/** `read` is told of each page. */
export function walkLog(reader: Reader, agentId: string, read: (events: number) => void): LogWalk {
  const marks = makeMarkCount();
  const nextCount = makePageCounts();
  let place = startOf(agentId);
  let checkedAt: number | null = null;
  let count = nextCount([]);

  const nextPage = async (until: number): Promise<void> => {
    const before = place.sequence;
    const wanted = Math.min(count, until - before);
    const rows = await readPage(reader, agentId, { after: before, count: wanted });
    const page = pageOf(rows, place, {
      head: null,
      from: (sequence) => rows.slice(sequence - before - 1),
    });
    if (page.events.length === 0) throw new Fault(`event ${before + 1} is missing`);
    const find = await readMarks(reader, agentId, page.events);
    for (const logged of page.events) marks.seen(logged, find);
    ({ place } = page);
    count = nextCount(rows);
    read(page.events.length);
  };
  return {
    marks,
    place: () => place,
    snapshotAt: () => checkedAt,
    upTo: async (row) => {
      const head = numberIn(row, "head");
      const snapshotAt = numberOrNull(row, "snapshotAt");
      if (snapshotAt !== null && snapshotAt > head)
        throw new Fault(`its snapshot is of event ${snapshotAt}, its log ends at ${head}`);
      while (place.sequence < head) {
        const isAhead = snapshotAt !== null && snapshotAt > place.sequence;
        await nextPage(isAhead ? snapshotAt : head);
        if (place.sequence === snapshotAt && (await isWhole(reader, agentId, place)))
          checkedAt = snapshotAt;
      }
    },
  };
}

/** How many events to read at once, from what the last ones were like: Redis bounds a page by their number alone. */
function makePageCounts(): (last: readonly FoundEvent[]) => number {
  let count: number = auditLimits.firstEventsMax;
  return (last) => {
    if (last.length === 0) return count;
    let bytes = 1;
    for (const { body } of last) bytes += typeof body === "string" ? body.length : 0;
    const fitting = Math.ceil((storeLimits.readBytesMax * last.length) / bytes);
    count = Math.min(2 * count, fitting, storeLimits.readEventsMax);
    return count;
  };
}

async function readPage(
  { shards, ask }: Reader,
  agentId: string,
  { after, count }: { readonly after: number; readonly count: number },
): Promise<readonly FoundEvent[]> {
  const shard = shards.of(agentId);
  const range = [`0-${after + 1}`, "+", "COUNT", `${count}`];
  return listOf(await ask(shard, "XRANGE", shard.log(agentId), ...range)).map(foundIn);
}

/** An entry of the stream: its id is "0-SEQUENCE". */
function foundIn(entry: unknown): FoundEvent {
  const [id, fields] = listOf(entry);
  const [at, atText, body, bodyText, hash, hashText, ...more] = listOf(fields).map(textOf);
  const sequence = sequenceOf(id) ?? id;
  if (at !== "at" || body !== "body" || hash !== "hash" || more.length > 0)
    return { sequence, at: null, body: null, hash: null };
  // A log of before 1970 is nobody's.
  return { sequence, at: wholeNumber(atText ?? ""), body: bodyText, hash: hashOf(hashText ?? "") };
}

/** null: no place in a log. */
export const sequenceOf = (id: unknown): number | null =>
  typeof id === "string" && id.startsWith("0-") ? wholeNumber(id.slice(2)) : null;

/** The stored marks of events, by their keys. */
async function readMarks(
  { shards, ask }: Reader,
  agentId: string,
  events: readonly LoggedEvent[],
): Promise<(key: string) => FoundMark | null> {
  const facts = events.map(({ event }) => event);
  const keys = [...new Set(facts.flatMap((event) => marksOf([event], 0).map(({ key }) => key)))];
  if (keys.length === 0) return () => null;
  const shard = shards.of(agentId);
  const values = listOf(await ask(shard, "HMGET", shard.marks(agentId), ...keys)).map(textOrNull);
  const found = new Map(keys.map((key, index) => [key, values[index] ?? null]));
  return (key) => {
    const value = found.get(key) ?? null;
    if (value === null) return null;
    const space = value.indexOf(" ");
    const sequence = wholeNumber(value.slice(0, space));
    return { sequence, digest: value.slice(space + 1), isWhole: sequence !== null };
  };
}

/** Shows the snapshot at `place` to be its state; false: there is another one by now. Throws Fault. */
async function isWhole({ shards, ask }: Reader, agentId: string, place: Place): Promise<boolean> {
  const shard = shards.of(agentId);
  const fields = ["snapshotAt", "snapshot", "snapshotHash"];
  const found = listOf(await ask(shard, "HMGET", shard.agent(agentId), ...fields));
  const [at, body, hash] = found.map(textOrNull);
  if (at !== `${place.sequence}`) return false;
  checkSnapshot({ body, hash: hashOf(hash ?? "") }, place);
  return true;
}
