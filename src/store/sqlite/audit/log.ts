import type { Database } from "bun:sqlite";
import { storeLimits } from "../../../limits.ts";
import { Fault, type FoundEvent, type Page, pageOf, type Place } from "../../audit/log.ts";

/** What of a log is read: of the agent with row `id`, its events behind a place, up to `until` at most. */
export type Stretch = {
  readonly id: number;
  /** null: not known, the log ends where it ends. */
  readonly head: number | null;
  readonly until: number;
};

/** Reads logs a page at a time, and shows each to be what was written. Everything throws Fault. */
export interface LogAudit {
  /** That nothing stands before the first event. */
  begin(id: number): void;
  /** The next page, with the place behind it; empty at the log's end. */
  next(stretch: Stretch, place: Place): Page;
  finalize(): void;
}

export function openLogAudit(db: Database): LogAudit {
  const behind = db.prepare<FoundEvent, [number, number, number]>(
    "SELECT sequence, at, body, hash FROM event WHERE agent = ? AND sequence > ? ORDER BY sequence LIMIT ?",
  );
  const before = db.prepare<{ sequence: unknown }, [number]>(
    "SELECT sequence FROM event WHERE agent = ? AND sequence < 1 LIMIT 1",
  );

  return {
    begin: (id: number): void => {
      const row = before.get(id);
      if (row !== null) throw new Fault(`its log has an event ${String(row.sequence)}`);
    },
    next: ({ id, head, until }: Stretch, place: Place): Page => {
      const limit = Math.min(storeLimits.readEventsMax, until - place.sequence);
      const page = pageOf(upToBytes(behind.iterate(id, place.sequence, limit)), place, {
        head,
        from: (sequence) => behind.all(id, sequence - 1, storeLimits.readEventsMax),
      });
      if (page.events.length === 0 && head !== null && place.sequence < head)
        throw new Fault(`event ${place.sequence + 1} is missing`);
      return page;
    },
    finalize: (): void => {
      behind.finalize();
      before.finalize();
    },
  };
}

/** As many as fit a page. */
function* upToBytes(rows: Iterable<FoundEvent>): Generator<FoundEvent> {
  let bytes = 0;
  for (const row of rows) {
    yield row;
    bytes += typeof row.body === "string" ? row.body.length : 0;
    if (bytes > storeLimits.readBytesMax) return;
  }
}
