import type { Database } from "bun:sqlite";
import type { LoggedEvent } from "../../agent/event.ts";
import { fold } from "../../agent/fold.ts";
import type { AgentState } from "../../agent/state.ts";
import { messageOf } from "../../errors.ts";
import { storeLimits } from "../../limits.ts";
import { chainHash, decodeEvent, genesisHash } from "../codec.ts";

/** What is wrong with an agent, in plain words that go on "agent X: ". */
export class Fault extends Error {
  override readonly name = "Fault";
}

/** How far a log was found in order; `state` null: nothing was read yet. */
export type Place = {
  readonly sequence: number;
  readonly hash: Uint8Array;
  readonly state: AgentState | null;
};

export const startOf = (agentId: string): Place => ({
  sequence: 0,
  hash: genesisHash(agentId),
  state: null,
});

/** Columns as they are found: a damaged file holds any type in each. */
type FoundEvent = {
  readonly sequence: unknown;
  readonly at: unknown;
  readonly body: unknown;
  readonly hash: unknown;
};

/** What of a log is read: of the agent with row `id`, its events behind a place, up to `until` at most. */
export type Stretch = {
  readonly id: number;
  /** null: not known, the log ends where it ends. */
  readonly head: number | null;
  readonly until: number;
};

export type Page = { readonly events: readonly LoggedEvent[]; readonly place: Place };

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

  /** Whether an event was put in another's place, or what else became of it. */
  const changeAt = (id: number, hash: Uint8Array, sequence: number): Fault => {
    const [here, ...others] = behind.all(id, sequence - 1, storeLimits.readEventsMax);
    const other = others.find(
      (row) =>
        follows(hash, sequence, row) ||
        follows(hash, sequence, { ...row, hash: here?.hash }) ||
        follows(hash, sequence, { ...row, hash: here?.hash, at: here?.at }),
    );
    return new Fault(
      other === undefined
        ? `event ${sequence} was changed`
        : `events ${sequence} and ${String(other.sequence)} are swapped`,
    );
  };

  const read = ({ id, head, until }: Stretch, place: Place): readonly Found[] => {
    const found: Found[] = [];
    const limit = Math.min(storeLimits.readEventsMax, until - place.sequence);
    let { hash } = place;
    let bytes = 0;
    for (const row of behind.iterate(id, place.sequence, limit)) {
      const sequence = place.sequence + found.length + 1;
      if (head !== null && sequence > head)
        throw new Fault(`event ${sequence} stands behind its last, ${head}`);
      if (row.sequence !== sequence) throw new Fault(`event ${sequence} is missing`);
      const { at, body, hash: kept } = row;
      if (!follows(hash, sequence, row)) throw changeAt(id, hash, sequence);
      if (typeof at !== "number" || typeof body !== "string" || !(kept instanceof Uint8Array))
        throw new Fault(`event ${sequence} was changed`);
      found.push({ sequence, atMs: at, body, hash: kept });
      hash = kept;
      bytes += body.length;
      if (bytes > storeLimits.readBytesMax) break;
    }
    return found;
  };

  return {
    begin: (id: number): void => {
      const row = before.get(id);
      if (row !== null) throw new Fault(`its log has an event ${String(row.sequence)}`);
    },
    next: (stretch: Stretch, place: Place): Page => {
      const found = read(stretch, place);
      const last = found.at(-1);
      if (last === undefined) {
        if (stretch.head !== null && place.sequence < stretch.head)
          throw new Fault(`event ${place.sequence + 1} is missing`);
        return { events: [], place };
      }
      const events = found.map(decoded);
      const state = folded(events, place.state);
      return { events, place: { sequence: last.sequence, hash: last.hash, state } };
    },
    finalize: (): void => {
      behind.finalize();
      before.finalize();
    },
  };
}

type Found = {
  readonly sequence: number;
  readonly atMs: number;
  readonly body: string;
  readonly hash: Uint8Array;
};

const follows = (previous: Uint8Array, sequence: number, row: FoundEvent): boolean =>
  typeof row.at === "number" &&
  typeof row.body === "string" &&
  Bun.deepEquals(chainHash(previous, sequence, row.at, row.body), row.hash);

function decoded({ sequence, atMs, body }: Found): LoggedEvent {
  try {
    return { sequence, atMs, event: decodeEvent(body) };
  } catch (error) {
    throw new Fault(`event ${sequence} cannot be read: ${messageOf(error)}`);
  }
}

function folded(events: readonly LoggedEvent[], state: AgentState | null): AgentState {
  try {
    return fold(events, state);
  } catch {
    let known = state;
    for (const logged of events)
      try {
        known = fold([logged], known);
      } catch (error) {
        throw new Fault(`event ${logged.sequence} cannot stand there: ${messageOf(error)}`);
      }
    throw new Fault("its log cannot be folded");
  }
}
