import type { ModelCall, RequestKey } from "../../agent/event.ts";
import { type Mark, marksOf } from "../../agent/mark.ts";
import { type AgentState, statusOf } from "../../agent/state.ts";
import { encodeEvent, encodeState } from "../codec.ts";
import type { Placed, StagedPage } from "../staging.ts";
import type { Append, Creation, DraftPiece, Holder, Lease, LeaseWish, Moved } from "../store.ts";

/*
 * Writes as plain data, small enough to be copied to the thread that performs them: of a state goes what the file holds
 * of it, never the whole conversation.
 */

/** The index columns that change with each append. */
export type Head = {
  readonly status: string;
  readonly reason: string;
  readonly sequence: number;
  readonly stats: string;
};

/** The index columns that seldom change. */
export type Columns = { readonly spec: string; readonly parent: string };

export type StageWrite = {
  readonly kind: "stage";
  readonly agentId: string;
  readonly nowMs: number;
  readonly page: StagedPage;
};

export type CreateWrite = {
  readonly kind: "create";
  readonly agentId: string;
  readonly createdAtMs: number;
  readonly atMs: number;
  readonly nowMs: number;
  readonly head: Head;
  readonly columns: Columns;
  readonly staged: number;
  readonly events: readonly Placed[];
  readonly marks: readonly Mark[];
  readonly headHash: string | null;
  /** null: none is taken. */
  readonly snapshot: string | null;
  readonly wakeAtMs: number | null;
  readonly wish: LeaseWish | null;
  readonly request: RequestKey | null;
  readonly moved: Moved | null;
};

export type AppendWrite = {
  readonly kind: "append";
  readonly agentId: string;
  readonly after: number;
  readonly atMs: number;
  readonly nowMs: number;
  readonly head: Head;
  /** null: as before. */
  readonly columns: Columns | null;
  readonly bodies: readonly string[];
  readonly marks: readonly Mark[];
  /** null: none is taken. */
  readonly snapshot: string | null;
  readonly epoch: number | null;
  readonly leaseUntilMs: number | null;
  readonly wakeAtMs: number | null;
  readonly wish: LeaseWish | null;
  readonly dropDraft: boolean;
};

export type ClaimWrite = {
  readonly kind: "claim";
  readonly wish: LeaseWish;
  readonly nowMs: number;
  readonly limit: number;
  readonly skip: readonly string[];
};

/** What is asked of the thread that writes. */
export type Write =
  | StageWrite
  | { readonly kind: "unmark"; readonly agentId: string }
  | { readonly kind: "unstage"; readonly agentId: string }
  | { readonly kind: "sweep"; readonly beforeMs: number }
  | CreateWrite
  | AppendWrite
  | {
      readonly kind: "remove";
      readonly agentId: string;
      readonly atMs: number;
      readonly force: boolean;
    }
  | {
      readonly kind: "draft";
      readonly holder: Holder;
      readonly call: ModelCall;
      readonly pieces: readonly DraftPiece[];
    }
  | ClaimWrite
  | { readonly kind: "renew"; readonly holders: readonly Holder[]; readonly untilMs: number }
  | {
      readonly kind: "release";
      readonly holder: Holder;
      readonly after: number | null;
      readonly wakeAtMs: number | null;
    }
  | { readonly kind: "probe" }
  | { readonly kind: "mend" };

/** What each kind of write gives when it is durable. */
export type Values = {
  /** Whether stale marks stand aside, to be cleared before more comes. */
  readonly stage: boolean;
  /** Whether there are more. */
  readonly unmark: boolean;
  /** Whether anything stood aside. */
  readonly unstage: boolean;
  /** When what was touched last of all that stands aside came there, 0: there is more to remove now; null: nothing does. */
  readonly sweep: number | null;
  readonly create: {
    readonly agentId: string;
    readonly created: boolean;
    readonly lease: Lease | null;
  };
  readonly append: Lease | null;
  /** Whether a sweep has to remove more. */
  readonly remove: boolean;
  readonly draft: null;
  readonly claim: readonly Lease[];
  /** Whose epoch is stale. */
  readonly renew: readonly string[];
  readonly release: boolean;
  readonly probe: null;
  readonly mend: null;
};

export type WriteKind = keyof Values;

export type AnswerTo<K extends WriteKind> = { readonly kind: K; readonly value: Values[K] };

export type Answer = { readonly [K in WriteKind]: AnswerTo<K> }[WriteKind];

const headOf = (state: AgentState): Head => ({
  status: statusOf(state),
  reason: state.reason,
  sequence: state.sequence,
  stats: JSON.stringify(state.stats),
});

const columnsOf = ({ spec, parent }: AgentState): Columns => ({
  spec: JSON.stringify(spec),
  parent: JSON.stringify(parent),
});

export const createWrite = (creation: Creation): CreateWrite => {
  const { agentId, nowMs, staged, events, headHash, state, wakeAtMs, wish, request, moved } =
    creation;
  const facts = events.map(({ event }) => event);
  return {
    kind: "create",
    agentId,
    createdAtMs: state.createdAtMs,
    atMs: state.updatedAtMs,
    nowMs,
    head: headOf(state),
    columns: columnsOf(state),
    staged,
    events: events.map((dated) => ({ atMs: dated.atMs, body: encodeEvent(dated.event) })),
    marks: marksOf(facts, staged),
    headHash,
    snapshot: creation.snapshot ? encodeState(state) : null,
    wakeAtMs,
    wish,
    request,
    moved,
  };
};

export const appendWrite = (append: Append): AppendWrite => {
  const { agentId, after, atMs, nowMs, events, state, snapshot } = append;
  const { epoch, leaseUntilMs, wakeAtMs, wish, dropDraft } = append;
  const edited = events.some(({ type }) => type === "AgentEdited" || type === "AgentForked");
  return {
    kind: "append",
    agentId,
    after,
    atMs,
    nowMs,
    head: headOf(state),
    columns: edited ? columnsOf(state) : null,
    bodies: events.map(encodeEvent),
    marks: marksOf(events, after),
    snapshot: snapshot ? encodeState(state) : null,
    epoch,
    leaseUntilMs,
    wakeAtMs,
    wish,
    dropDraft,
  };
};

/** Whose followers are to be told of a write: an agent's id, null for nobody's. */
export function agentOf(write: Write): string | null {
  switch (write.kind) {
    case "create":
    case "append":
    case "remove":
      return write.agentId;
    case "draft":
      return write.holder.agentId;
    default:
      return null;
  }
}

/** Whether the next wake time may be nearer after a write; after a claim that depends on what it gave. */
export const movesWakes = ({ kind }: Write): boolean =>
  kind === "create" || kind === "append" || kind === "release";
