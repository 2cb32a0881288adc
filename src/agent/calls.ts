import type { Continuation, Event, LoggedEvent, ModelCall } from "./event.ts";
import { condensingRequestOf, type ModelRequest, requestOf } from "./request.ts";
import type { AgentState } from "./state.ts";

/*
 * Every request that a model was sent, found again in the log. All events of one call name the place in the log that it
 * knew, and stand together: no other call is made before it is over. Of a call that was broken off before anything of it
 * was durable there is no trace.
 */

/** A model call as the log tells of it. */
export type PastCall = {
  readonly call: ModelCall;
  /** In order: more than the call has of itself, where an event in between tells of them. */
  readonly continuations: readonly Continuation[];
  /** Where the events stand that tell what came of it. */
  readonly outcomes: readonly number[];
  /** What it has written, as far as that is kept; null: nothing is. */
  readonly text: string | null;
};

/** One request of a call: its first, or one for each time that it was gone on with. */
export type Sending = {
  readonly call: ModelCall;
  /** The log's head when it was sent: the state there and the call make the request. */
  readonly headSequence: number;
  /** The first event that tells what came of it; null: none does. */
  readonly outcomeSequence: number | null;
  /** UTF-16 length of the beginning of its answer that it was sent with; 0: none. */
  readonly continuedLength: number;
  /** That beginning; null: it is not kept, in a fork from the middle of an answer or an old log. */
  readonly partial: string | null;
};

/** Of a call in flight, or broken off: what it has written so far. */
export type Begun = { readonly call: ModelCall; readonly text: string };

/** Finds the calls of a log in their order, and holds one at a time. */
export interface CallFinder {
  /** Takes the log's next event; answers the call that is over with it, if one is. */
  take(logged: LoggedEvent): PastCall | null;
  /** What is left at the end of the log. `begun` was read before that was. */
  end(begun: Begun | null): readonly PastCall[];
}

export function makeCallFinder(): CallFinder {
  let open: OpenCall | null = null;
  /** Goes on with the open call, or begins `call`, and answers the one that is over then. */
  const meet = (call: ModelCall, outcome: number | null): PastCall | null => {
    const before = open;
    const isOpen = before !== null && isSame(before.call, call);
    const now: OpenCall = isOpen
      ? before
      : { call, continuations: new Map(), outcomes: [], text: null };
    now.call = call;
    for (const one of continuationsOf(call, outcome)) now.continuations.set(placeOf(one), one);
    if (outcome !== null) now.outcomes.push(outcome);
    open = now;
    return isOpen || before === null ? null : ended(before);
  };

  return {
    take: ({ sequence, event }) => {
      const call = callOf(event, sequence);
      const over = call === null ? null : meet(call, sequence);
      const text = textOf(event);
      if (text !== null && open !== null) open.text = text;
      return over;
    },
    end: (begun) => {
      const found: PastCall[] = [];
      // An older one was over before the end of the log was read.
      if (begun !== null && begun.call.afterSequence >= (open?.call.afterSequence ?? 0)) {
        const over = meet(begun.call, null);
        if (over !== null) found.push(over);
        if (open !== null) open.text ??= begun.text;
      }
      return open === null ? found : [...found, ended(open)];
    },
  };
}

/** Added to with each event of the call: of hostile logs there may be as many as they have events. */
type OpenCall = {
  call: ModelCall;
  /** By their places. */
  readonly continuations: Map<string, Continuation>;
  readonly outcomes: number[];
  text: string | null;
};

const placeOf = ({ headSequence, length }: Continuation): string => `${headSequence} ${length}`;

const ended = ({ call, continuations, outcomes, text }: OpenCall): PastCall => ({
  call,
  continuations: [...continuations.values()].toSorted(
    (one, other) => one.headSequence - other.headSequence || one.length - other.length,
  ),
  outcomes,
  text,
});

const isSame = (one: ModelCall, other: ModelCall): boolean =>
  one.afterSequence === other.afterSequence && one.condensedItems === other.condensedItems;

/** The call that an event tells of; null: it tells of none. */
function callOf(event: Event, sequence: number): ModelCall | null {
  switch (event.type) {
    case "ModelThought":
    case "ModelSpoke":
    case "ToolRequested":
    case "FinalAnswered":
      return event.head?.call ?? null;
    case "ModelFailed":
    case "AnswerAbandoned":
      return event.call;
    case "TurnFailed":
      return event.call ?? null;
    case "ContextCondensed":
      return event.call ?? condensedBefore(sequence, event.items);
    default:
      return null;
  }
}

/** What the open call has written, as an event tells; null: it tells nothing of it. */
function textOf(event: Event): string | null {
  if (event.type === "ModelSpoke") return event.content;
  return event.type === "AnswerAbandoned" ? (event.text ?? null) : null;
}

/** Of logs that do not say: nothing of it but its place goes into its prompt. */
const condensedBefore = (sequence: number, items: number): ModelCall => ({
  afterSequence: sequence - 1,
  nowMs: 0,
  tools: null,
  continuedLength: 0,
  condensedItems: items,
});

/** Old logs tell of the latest continuation alone, and not where it was made. */
function continuationsOf(call: ModelCall, outcome: number | null): readonly Continuation[] {
  const { continuations, continuedLength, afterSequence } = call;
  if (continuations !== undefined) return continuations;
  if (continuedLength === 0) return [];
  return [{ length: continuedLength, headSequence: Math.max(afterSequence, (outcome ?? 0) - 1) }];
}

/** The requests of a call, in the order in which they were sent. */
export function sendingsOf({ call, continuations, outcomes, text }: PastCall): readonly Sending[] {
  let next = 0;
  // Both stand in the order of the log.
  const outcomeBehind = (headSequence: number): number | null => {
    while ((outcomes[next] ?? Infinity) <= headSequence) next++;
    return outcomes[next] ?? null;
  };
  const sending = ({ headSequence, length }: Continuation): Sending => ({
    call,
    headSequence,
    outcomeSequence: outcomeBehind(headSequence),
    continuedLength: length,
    partial: text === null || text.length < length ? null : text.slice(0, length),
  });
  const first = { ...sending({ headSequence: call.afterSequence, length: 0 }), partial: "" };
  return [first, ...continuations.map(sending)];
}

/** What was sent, from the state at the sending's head and the beginning of the answer. */
export const requestOfSending = (
  state: AgentState,
  { call }: Sending,
  partial: string,
): ModelRequest =>
  call.condensedItems === undefined
    ? requestOf(state, call, partial)
    : condensingRequestOf(state, call, call.condensedItems);
