import type { Database } from "bun:sqlite";
import type { LoggedEvent } from "../../agent/event.ts";
import { marksOf, messageKey } from "../../agent/mark.ts";
import type { AgentState } from "../../agent/state.ts";
import { messageOf } from "../../errors.ts";
import type { FoundAgent } from "./audit-agent.ts";
import { Fault, type Place } from "./audit-log.ts";
import { draftStart, markCheck, pieceCheck } from "./checks.ts";
import { decodeCall, decodeState, snapshotHash } from "../codec.ts";

type FoundMark = Parameters<typeof markCheck>[0] & { readonly row_check: number };

type FoundSnapshot = {
  readonly sequence: unknown;
  readonly body: unknown;
  readonly hash: unknown;
};
type FoundPiece = {
  readonly number: unknown;
  readonly kind: unknown;
  readonly offset: unknown;
  readonly content: unknown;
  readonly row_check: unknown;
};

/** The derived rows of one agent. Everything throws Fault. */
export interface DerivedAudit {
  /** The place of the snapshot; null: none. */
  snapshotAt(id: number): number | null;
  /** At the snapshot's place. */
  checkSnapshot(id: number, place: Place): void;
  marks(id: number): MarkCount;
  /** `strict`: that the pieces stand one behind the other too. */
  checkDraft(row: FoundAgent, strict: boolean): void;
  finalize(): void;
}

export function openDerivedAudit(db: Database): DerivedAudit {
  const snapshot = db.prepare<FoundSnapshot, [number]>(
    "SELECT sequence, body, hash FROM snapshot WHERE agent = ?",
  );
  const mark = db.prepare<FoundMark, [number, string]>(
    "SELECT agent, key, sequence, digest, row_check FROM mark WHERE agent = ? AND key = ?",
  );
  const marks = db.prepare<{ count: number }, [number]>(
    "SELECT count(*) AS count FROM mark WHERE agent = ?",
  );
  const pieces = db.prepare<FoundPiece, [number]>(
    "SELECT number, kind, offset, content, row_check FROM draft_piece WHERE agent = ? ORDER BY number",
  );
  return {
    snapshotAt: (id: number): number | null => {
      const sequence = snapshot.get(id)?.sequence;
      return typeof sequence === "number" ? sequence : null;
    },
    checkSnapshot: (id: number, { sequence, hash, state }: Place): void => {
      const row = snapshot.get(id);
      if (row === null || state === null) return;
      const changed = new Fault(`its snapshot at event ${sequence} was changed`);
      if (typeof row.body !== "string") throw changed;
      if (!Bun.deepEquals(snapshotHash(hash, row.body), row.hash)) throw changed;
      const kept = decodedState(row.body, changed);
      // Of another version: it is not gone on with.
      if (kept !== null && !Bun.deepEquals(kept, state))
        throw new Fault(`its snapshot at event ${sequence} is not what its log gives`);
    },
    marks: (id: number): MarkCount =>
      makeMarkCount(
        (key) => mark.get(id, key),
        () => marks.get(id)?.count ?? 0,
      ),
    checkDraft: (row: FoundAgent, strict: boolean): void =>
      checkDraft(row, pieces.iterate(row.id), strict),
    finalize: (): void => {
      for (const statement of [snapshot, mark, marks, pieces]) statement.finalize();
    },
  };
}

/** The row's own check has held. */
function checkDraft(row: FoundAgent, found: Iterable<FoundPiece>, strict: boolean): void {
  const ends = { thinking: 0, text: 0 };
  let count = 0;
  let tail = draftStart(row.agent_id);
  for (const piece of found) {
    const { number, kind, offset, content } = piece;
    if (row.draft_call === null) throw new Fault("it has pieces of a draft, but no draft");
    if (number !== count) throw new Fault(`piece ${count} of its draft is missing`);
    const known = kind === "thinking" || kind === "text";
    if (!known || typeof content !== "string" || typeof offset !== "number")
      throw new Fault(`piece ${count} of its draft was changed`);
    tail = pieceCheck(tail, { number, kind, offset, content });
    if (tail !== piece.row_check) throw new Fault(`piece ${count} of its draft was changed`);
    if (strict && offset !== ends[kind])
      throw new Fault(`piece ${count} of its draft stands at ${offset}, not ${ends[kind]}`);
    ends[kind] += Buffer.byteLength(content);
    count++;
  }
  if (row.draft_call === null) return;
  if (row.draft_pieces !== count)
    throw new Fault(`its draft says ${row.draft_pieces} pieces, there are ${count}`);
  if (row.draft_tail !== tail) throw new Fault("its draft ends with another piece");
  const call = decodedCall(row.draft_call);
  if (strict && call.afterSequence > row.head)
    throw new Fault(`its draft answers event ${call.afterSequence}, its log ends at ${row.head}`);
}

function decodedState(body: string, changed: Fault): AgentState | null {
  try {
    return decodeState(body);
  } catch {
    throw changed;
  }
}

function decodedCall(body: string): ReturnType<typeof decodeCall> {
  try {
    return decodeCall(body);
  } catch (error) {
    throw new Fault(messageOf(error));
  }
}

/** Compares the marks of a log with the stored ones, as its events come. */
export type MarkCount = { seen(logged: LoggedEvent): void; end(): void };

/** Nothing is kept of what was seen: each event's marks are looked up, and at the end the stored ones are counted. */
function makeMarkCount(find: (key: string) => FoundMark | null, count: () => number): MarkCount {
  let decisions = 0;
  let messages = 0;
  /** The first message without a mark: only a fork behind it frees its id. */
  let unmarked: number | null = null;
  const isMessage = (key: string): boolean => key.startsWith(messageKey(""));
  return {
    seen: ({ sequence, event }) => {
      if (event.type === "AgentForked") {
        if (messages > 0) throw new Fault("it has marks of the agent it was forked from");
        unmarked = null;
      }
      for (const mark of marksOf([event], sequence - 1)) {
        const found = find(mark.key);
        const kept = typeof found?.sequence === "number" ? found.sequence : Infinity;
        if (found !== null && markCheck(found) !== found.row_check)
          throw new Fault(`the mark of event ${sequence} was changed`);
        if (kept < sequence) continue; // A repetition: the first counts.
        if (kept === sequence && found?.digest !== mark.digest)
          throw new Fault(`the mark of event ${sequence} was changed`);
        if (kept === sequence && isMessage(mark.key)) messages++;
        else if (kept === sequence) decisions++;
        else if (isMessage(mark.key)) unmarked ??= sequence;
        else throw new Fault(`the mark of event ${sequence} is missing`);
      }
    },
    end: () => {
      if (unmarked !== null) throw new Fault(`the mark of event ${unmarked} is missing`);
      const kept = count();
      if (kept !== messages + decisions)
        throw new Fault(`it has ${kept} marks, its log gives ${messages + decisions}`);
    },
  };
}
