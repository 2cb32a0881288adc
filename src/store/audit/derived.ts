import type { LoggedEvent } from "../../agent/event.ts";
import { marksOf, messageKey } from "../../agent/mark.ts";
import type { AgentState } from "../../agent/state.ts";
import { messageOf } from "../../errors.ts";
import { decodeCall, decodeState, snapshotHash } from "../codec.ts";
import type { DraftPiece } from "../store.ts";
import { Fault, type Place } from "./log.ts";

/** That a snapshot is the state at its place, which is this. Throws Fault. */
export function checkSnapshot(
  found: { readonly body: unknown; readonly hash: unknown },
  { sequence, hash, state }: Place,
): void {
  const changed = new Fault(`its snapshot at event ${sequence} was changed`);
  if (typeof found.body !== "string") throw changed;
  if (!Bun.deepEquals(snapshotHash(hash, found.body), found.hash)) throw changed;
  const kept = decodedState(found.body, changed);
  // Of another version: it is not gone on with.
  if (kept !== null && !Bun.deepEquals(kept, state))
    throw new Fault(`its snapshot at event ${sequence} is not what its log gives`);
}

function decodedState(body: string, changed: Fault): AgentState | null {
  try {
    return decodeState(body);
  } catch {
    throw changed;
  }
}

/** A mark as it is found; `isWhole`: what it was kept with says that it is what was written. */
export type FoundMark = {
  readonly sequence: unknown;
  readonly digest: unknown;
  readonly isWhole: boolean;
};

/** Compares the marks of a log with the stored ones, as its events come. */
export type MarkCount = {
  seen(logged: LoggedEvent, find: (key: string) => FoundMark | null): void;
  /** Behind the last event: how many marks are stored. */
  end(kept: number): void;
};

/** Nothing is kept of what was seen: each event's marks are looked up, and at the end the stored ones are counted. */
export function makeMarkCount(): MarkCount {
  let decisions = 0;
  let messages = 0;
  /** The first message without a mark: only a fork behind it frees its id. */
  let unmarked: number | null = null;
  const isMessage = (key: string): boolean => key.startsWith(messageKey(""));
  return {
    seen: ({ sequence, event }, find) => {
      if (event.type === "AgentForked") {
        if (messages > 0) throw new Fault("it has marks of the agent it was forked from");
        unmarked = null;
      }
      for (const mark of marksOf([event], sequence - 1)) {
        const found = find(mark.key);
        const kept = typeof found?.sequence === "number" ? found.sequence : Infinity;
        if (found?.isWhole === false) throw new Fault(`the mark of event ${sequence} was changed`);
        if (kept < sequence) continue; // A repetition: the first counts.
        if (kept === sequence && found?.digest !== mark.digest)
          throw new Fault(`the mark of event ${sequence} was changed`);
        if (kept === sequence && isMessage(mark.key)) messages++;
        else if (kept === sequence) decisions++;
        else if (isMessage(mark.key)) unmarked ??= sequence;
        else throw new Fault(`the mark of event ${sequence} is missing`);
      }
    },
    end: (kept) => {
      if (unmarked !== null) throw new Fault(`the mark of event ${unmarked} is missing`);
      if (kept !== messages + decisions)
        throw new Fault(`it has ${kept} marks, its log gives ${messages + decisions}`);
    },
  };
}

/** A piece of a draft as it is found. */
export type FoundPiece = {
  readonly kind: unknown;
  readonly offset: unknown;
  readonly content: unknown;
};

/** The piece of a draft with this number. Throws Fault where it is none. */
export function pieceOf({ kind, offset, content }: FoundPiece, number: number): DraftPiece {
  const known = kind === "thinking" || kind === "text";
  if (known && typeof content === "string" && typeof offset === "number")
    return { kind, offset, content };
  throw new Fault(`piece ${number} of its draft was changed`);
}

/** Shows that the pieces of a draft, as they come, stand one behind the other. Throws Fault. */
export function makeDraftEnds(): (piece: DraftPiece, number: number) => void {
  const ends = { thinking: 0, text: 0 };
  return ({ kind, offset, content }, number) => {
    if (offset !== ends[kind])
      throw new Fault(`piece ${number} of its draft stands at ${offset}, not ${ends[kind]}`);
    ends[kind] += Buffer.byteLength(content);
  };
}

/** The last event that the call of a draft answers. Throws Fault. */
export function draftPlace(call: string): number {
  try {
    return decodeCall(call).afterSequence;
  } catch (error) {
    throw new Fault(messageOf(error));
  }
}

/** That a draft does not answer what is not there yet. Throws Fault. */
export function checkDraftPlace(afterSequence: number, head: number): void {
  if (afterSequence > head)
    throw new Fault(`its draft answers event ${afterSequence}, its log ends at ${head}`);
}
