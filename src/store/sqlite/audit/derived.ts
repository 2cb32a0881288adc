import type { Database } from "bun:sqlite";
import {
  checkDraftPlace,
  checkSnapshot,
  draftPlace,
  type FoundMark,
  type FoundPiece,
  makeDraftEnds,
  pieceOf,
} from "../../audit/derived.ts";
import { Fault, type Place } from "../../audit/log.ts";
import type { FoundAgent } from "./agent.ts";
import { draftStart, markCheck, pieceCheck } from "../checks.ts";

type MarkRow = Parameters<typeof markCheck>[0] & { readonly row_check: number };

type FoundSnapshot = {
  readonly sequence: unknown;
  readonly body: unknown;
  readonly hash: unknown;
};
type PieceRow = FoundPiece & { readonly number: unknown; readonly row_check: unknown };

/** The derived rows of one agent. Everything throws Fault. */
export interface DerivedAudit {
  /** The place of the snapshot; null: none. */
  snapshotAt(id: number): number | null;
  /** At the snapshot's place. */
  checkSnapshot(id: number, place: Place): void;
  mark(id: number, key: string): FoundMark | null;
  marks(id: number): number;
  /** `strict`: that the pieces stand one behind the other too. */
  checkDraft(row: FoundAgent, strict: boolean): void;
  finalize(): void;
}

export function openDerivedAudit(db: Database): DerivedAudit {
  const snapshot = db.prepare<FoundSnapshot, [number]>(
    "SELECT sequence, body, hash FROM snapshot WHERE agent = ?",
  );
  const mark = db.prepare<MarkRow, [number, string]>(
    "SELECT agent, key, sequence, digest, row_check FROM mark WHERE agent = ? AND key = ?",
  );
  const marks = db.prepare<{ count: number }, [number]>(
    "SELECT count(*) AS count FROM mark WHERE agent = ?",
  );
  const pieces = db.prepare<PieceRow, [number]>(
    "SELECT number, kind, offset, content, row_check FROM draft_piece WHERE agent = ? ORDER BY number",
  );
  return {
    snapshotAt: (id: number): number | null => {
      const sequence = snapshot.get(id)?.sequence;
      return typeof sequence === "number" ? sequence : null;
    },
    checkSnapshot: (id: number, place: Place): void => {
      const row = snapshot.get(id);
      if (row !== null) checkSnapshot(row, place);
    },
    mark: (id: number, key: string): FoundMark | null => {
      const row = mark.get(id, key);
      return row === null ? null : { ...row, isWhole: markCheck(row) === row.row_check };
    },
    marks: (id: number): number => marks.get(id)?.count ?? 0,
    checkDraft: (row: FoundAgent, strict: boolean): void =>
      checkDraft(row, pieces.iterate(row.id), strict),
    finalize: (): void => {
      for (const statement of [snapshot, mark, marks, pieces]) statement.finalize();
    },
  };
}

/** The row's own check has held. */
function checkDraft(row: FoundAgent, found: Iterable<PieceRow>, strict: boolean): void {
  const checkEnd = makeDraftEnds();
  let count = 0;
  let tail = draftStart(row.agent_id);
  for (const { number, row_check: kept, ...rest } of found) {
    if (row.draft_call === null) throw new Fault("it has pieces of a draft, but no draft");
    if (number !== count) throw new Fault(`piece ${count} of its draft is missing`);
    const piece = pieceOf(rest, number);
    tail = pieceCheck(tail, { number, ...piece });
    if (tail !== kept) throw new Fault(`piece ${count} of its draft was changed`);
    if (strict) checkEnd(piece, number);
    count++;
  }
  if (row.draft_call === null) return;
  if (row.draft_pieces !== count)
    throw new Fault(`its draft says ${row.draft_pieces} pieces, there are ${count}`);
  if (row.draft_tail !== tail) throw new Fault("its draft ends with another piece");
  const afterSequence = draftPlace(row.draft_call);
  if (strict) checkDraftPlace(afterSequence, row.head);
}
