import type { LoggedEvent, ModelCall } from "../agent/event.ts";
import type { Clock } from "../clock.ts";
import { EngramError } from "../errors.ts";
import type { Draft, DraftPiece, Store } from "../store/store.ts";

/** What a follower is given: an event in its place, or a live piece of the answer being written behind it. */
export type Followed =
  | { readonly kind: "event"; readonly logged: LoggedEvent }
  | { readonly kind: "delta"; readonly sequence: number; readonly piece: DraftPiece };

/**
 * One reader of one log, from a place on. It keeps only where it is: what it gives is read from the store at each
 * call, so a slow reader holds nothing and misses nothing.
 */
export interface Follower {
  /**
   * What came since the last call, in order, a page at a time; empty: nothing. Fails with not_found once the agent is
   * deleted, and with unavailable where the engine stops and all that it did is given.
   */
  take(): Promise<readonly Followed[]>;
  /** Resolves true on a change or `wake`, false after `timeoutMs`. A change since the last `take` counts. */
  wait(timeoutMs: number): Promise<boolean>;
  wake(): void;
  close(): void;
}

type From = { readonly after: number; readonly head: number; readonly deltas: boolean };

type FollowerParts = {
  readonly store: Store;
  readonly clock: Clock;
  /** Aborts when nothing more is to come. */
  readonly stopping: AbortSignal;
};

/** `after` is the last event not to be given; deltas are given of answers that are not whole yet at `head`. */
export function openFollower(
  { store, clock, stopping }: FollowerParts,
  agentId: string,
  from: From,
): Follower {
  const reader = makeReader(store, agentId, from);
  let changed = true;
  /** The last `take` may have left something. */
  let more = false;
  let waiting = (): void => {};
  const wake = (): void => {
    changed = true;
    waiting();
  };
  const unfollow = store.follow(agentId, wake);
  stopping.addEventListener("abort", wake);

  return {
    take: async () => {
      const isRest = more && !changed;
      changed = false;
      const { aborted } = stopping;
      const next = await reader.next(isRest);
      ({ more } = next);
      if (aborted && !changed && !more)
        throw new EngramError(
          "unavailable",
          "the engine is stopping: connect again and go on after the last sequence_id",
          { transient: true },
        );
      return next.followed;
    },
    wait: async (timeoutMs) => {
      if (changed || more) return true;
      const { promise, resolve } = Promise.withResolvers<void>();
      waiting = resolve;
      const cancel = clock.after(timeoutMs, resolve);
      await promise;
      cancel();
      return changed;
    },
    wake,
    close: () => {
      unfollow();
      stopping.removeEventListener("abort", wake);
      waiting();
    },
  };
}

/** Reads a log and the answer being written behind it, from a place on. `more`: there may be more already. */
function makeReader(store: Store, agentId: string, from: From) {
  const answer = makeAnswer();
  let cursor = from.after;
  /** Of the answer as it was last read something is still to be given. */
  let piecesLeft = false;

  const events = async (): Promise<readonly Followed[]> => {
    const followed: Followed[] = [];
    for (const logged of await store.read(agentId, cursor)) {
      const live = from.deltas && logged.sequence > from.head;
      const rest = live ? answer.whole(logged) : null;
      if (rest !== null) followed.push({ kind: "delta", sequence: cursor, piece: rest });
      followed.push({ kind: "event", logged });
      cursor = logged.sequence;
    }
    return followed;
  };
  /** What was not yet given of the answer that is written behind event `place`; null: one begins behind a later event. */
  const deltas = async (place: number): Promise<readonly Followed[] | null> => {
    const draft = await store.readDraft(agentId, answer.piecesTaken());
    piecesLeft = draft !== null && draft.call.afterSequence > place;
    if (draft === null) return [];
    if (piecesLeft) return null;
    if (!answer.isOf(draft)) {
      answer.begin(draft);
      return deltas(place);
    }
    const pieces = answer.take(draft);
    piecesLeft = answer.piecesTaken() < draft.piecesTotal;
    return pieces.map((piece) => ({ kind: "delta", sequence: place, piece }));
  };

  return {
    /** `isRest`: nobody has told of a change since the last call, which may have left something. */
    next: async (
      isRest: boolean,
    ): Promise<{ readonly followed: readonly Followed[]; readonly more: boolean }> => {
      const place = cursor;
      const found = await events();
      if (isRest && found.length === 0 && !piecesLeft) return { followed: [], more: false };
      // Read behind the events and given before them: nothing of an answer comes behind the pause that stopped it.
      const pieces = from.deltas ? await deltas(place) : [];
      const followed = [...(pieces ?? []), ...found];
      return { followed, more: pieces === null || followed.length > 0 };
    },
  };
}

/** How much of which answer a follower has been given. */
function makeAnswer() {
  let afterSequence = -1;
  let pieces = 0;
  let bytes = { thinking: 0, text: 0 };
  let call: ModelCall | null = null;

  return {
    piecesTaken: (): number => pieces,
    isOf: (draft: Draft): boolean => draft.call.afterSequence === afterSequence,
    begin: (draft: Draft): void => {
      ({ afterSequence } = draft.call);
      pieces = 0;
      bytes = { thinking: 0, text: 0 };
    },
    take: (draft: Draft): readonly DraftPiece[] => {
      pieces += draft.pieces.length;
      for (const { kind, offset, content } of draft.pieces)
        bytes[kind] = offset + Buffer.byteLength(content);
      return draft.pieces;
    },
    /** What of an answer was not given before it was whole; null: nothing, or the event is no answer. */
    whole: ({ event }: LoggedEvent): DraftPiece | null => {
      if (event.type !== "ModelThought" && event.type !== "ModelSpoke") return null;
      call = event.head?.call ?? call;
      const kind = event.type === "ModelThought" ? "thinking" : "text";
      const offset = call?.afterSequence === afterSequence ? bytes[kind] : 0;
      const rest = Buffer.from(event.content).subarray(offset).toString();
      return rest === "" ? null : { kind, offset, content: rest };
    },
  };
}
