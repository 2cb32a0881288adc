import type { LoggedEvent, ModelCall } from "../agent/event.ts";
import type { Clock } from "../clock.ts";
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
  /** What came since the last call, in order, a page at a time; empty: nothing. Fails with not_found once the agent is deleted. */
  take(): Promise<readonly Followed[]>;
  /** Resolves true on a change or `wake`, false after `timeoutMs`. A change since the last `take` counts. */
  wait(timeoutMs: number): Promise<boolean>;
  wake(): void;
  close(): void;
}

/** `after` is the last event not to be given; deltas are given of answers that are not whole yet at `head`. */
export function openFollower(
  { store, clock }: { readonly store: Store; readonly clock: Clock },
  agentId: string,
  from: { readonly after: number; readonly head: number; readonly deltas: boolean },
): Follower {
  const answer = makeAnswer();
  let cursor = from.after;
  let changed = true;
  let waiting = (): void => {};
  const wake = (): void => {
    changed = true;
    waiting();
  };
  const unfollow = store.follow(agentId, wake);

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
  /** What was not yet given of the answer that is written behind event `place`. */
  const deltas = async (place: number): Promise<readonly Followed[]> => {
    const draft = await store.readDraft(agentId, answer.piecesTaken());
    if (draft === null) return [];
    if (draft.call.afterSequence > place) {
      changed = true; // The answer before it is whole by now, and its events come first.
      return [];
    }
    if (!answer.isOf(draft)) {
      answer.begin(draft);
      return deltas(place);
    }
    return answer.take(draft).map((piece) => ({ kind: "delta", sequence: place, piece }));
  };

  return {
    take: async () => {
      changed = false;
      const place = cursor;
      const found = await events();
      // Read behind the events and given before them: nothing of an answer comes behind the pause that stopped it.
      const pieces = from.deltas ? await deltas(place) : [];
      changed ||= pieces.length + found.length > 0;
      return [...pieces, ...found];
    },
    wait: async (timeoutMs) => {
      if (changed) return true;
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
      waiting();
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
