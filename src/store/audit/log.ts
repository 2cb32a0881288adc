import type { LoggedEvent } from "../../agent/event.ts";
import { fold } from "../../agent/fold.ts";
import type { AgentState } from "../../agent/state.ts";
import { messageOf } from "../../errors.ts";
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

/** An event as it is found: what is damaged holds any type in each place. */
export type FoundEvent = {
  readonly sequence: unknown;
  readonly at: unknown;
  readonly body: unknown;
  readonly hash: unknown;
};

export type Page = { readonly events: readonly LoggedEvent[]; readonly place: Place };

/** What else is known of the log that a page is of. */
type Around = {
  /** null: not known, the log ends where it ends. */
  readonly head: number | null;
  /** The events from a sequence on that are at hand, to see what became of one that is not what was written. */
  readonly from: (sequence: number) => readonly FoundEvent[];
};

/** Shows that events are those behind `place`, and goes on to the place behind them. Throws Fault. */
export function pageOf(rows: Iterable<FoundEvent>, place: Place, { head, from }: Around): Page {
  const found: Found[] = [];
  let { hash } = place;
  for (const row of rows) {
    const sequence = place.sequence + found.length + 1;
    if (head !== null && sequence > head)
      throw new Fault(`event ${sequence} stands behind its last, ${head}`);
    if (row.sequence !== sequence) throw new Fault(`event ${sequence} is missing`);
    const { at, body, hash: kept } = row;
    if (!follows(hash, sequence, row)) throw changeAt(hash, sequence, from(sequence));
    if (typeof at !== "number" || typeof body !== "string" || !(kept instanceof Uint8Array))
      throw new Fault(`event ${sequence} was changed`);
    found.push({ sequence, atMs: at, body });
    hash = kept;
  }
  if (found.length === 0) return { events: [], place };
  const events = found.map(decoded);
  const state = folded(events, place.state);
  return { events, place: { sequence: state.sequence, hash, state } };
}

type Found = { readonly sequence: number; readonly atMs: number; readonly body: string };

/** Whether an event was put in another's place, or what else became of it. */
function changeAt(
  hash: Uint8Array,
  sequence: number,
  [here, ...others]: readonly FoundEvent[],
): Fault {
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
}

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
