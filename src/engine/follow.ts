import type { LoggedEvent, ModelCall } from "../agent/event.ts";
import type { Clock } from "../clock.ts";
import type { DraftPiece, Store } from "../store/store.ts";

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

/** How much of which answer a follower has been given. */
type Progress = {
  readonly afterSequence: number;
  pieces: number;
  readonly bytes: { thinking: number; text: number };
};

/** `after` is the last event not to be given; deltas are given of answers that are not whole yet at `head`. */
export function openFollower(
  parts: { readonly store: Store; readonly clock: Clock },
  agentId: string,
  from: { readonly after: number; readonly head: number; readonly deltas: boolean },
): Follower {
  const { store, clock } = parts;
  let cursor = from.after;
  let progress: Progress | null = null;
  let lastCall: ModelCall | null = null;
  let changed = true;
  let waiting: (() => void) | null = null;
  const wake = (): void => {
    changed = true;
    waiting?.();
  };
  const unfollow = store.follow(agentId, wake);

  /** The rest of an answer that became whole before its last pieces were seen. */
  const remainder = ({ sequence, event }: LoggedEvent): readonly Followed[] => {
    if (event.type !== "ModelThought" && event.type !== "ModelSpoke") return [];
    lastCall = event.head?.call ?? lastCall;
    if (!from.deltas || lastCall === null || sequence <= from.head) return [];
    const kind = event.type === "ModelThought" ? "thinking" : "text";
    const offset = progress?.afterSequence === lastCall.afterSequence ? progress.bytes[kind] : 0;
    const rest = Buffer.from(event.content).subarray(offset).toString();
    if (rest === "") return [];
    return [{ kind: "delta", sequence: cursor, piece: { kind, offset, content: rest } }];
  };

  const events = async (): Promise<readonly Followed[]> => {
    const followed: Followed[] = [];
    for (const logged of await store.read(agentId, cursor)) {
      followed.push(...remainder(logged), { kind: "event", logged });
      cursor = logged.sequence;
    }
    return followed;
  };

  const deltas = async (): Promise<readonly Followed[]> => {
    const draft = await store.readDraft(agentId, progress?.pieces ?? 0);
    if (draft === null) return [];
    if (draft.call.afterSequence > cursor) {
      changed = true; // The answer before it is whole by now: its events come first.
      return [];
    }
    if (progress?.afterSequence !== draft.call.afterSequence) {
      const known = progress !== null && progress.pieces > 0;
      progress = newProgress(draft.call);
      if (known) return deltas();
    }
    const reached = progress;
    return draft.pieces.map((piece) => {
      reached.pieces++;
      reached.bytes[piece.kind] = piece.offset + Buffer.byteLength(piece.content);
      return { kind: "delta", sequence: cursor, piece };
    });
  };

  return {
    take: async () => {
      changed = false;
      const found = await events();
      if (found.length > 0 || !from.deltas) {
        changed ||= found.length > 0;
        return found;
      }
      const pieces = await deltas();
      changed ||= pieces.length > 0;
      return pieces;
    },
    wait: async (timeoutMs) => {
      if (changed) return true;
      const { promise, resolve } = Promise.withResolvers<void>();
      waiting = resolve;
      const cancel = clock.after(timeoutMs, resolve);
      await promise;
      cancel();
      waiting = null;
      return changed;
    },
    wake,
    close: () => {
      unfollow();
      waiting?.();
    },
  };
}

const newProgress = ({ afterSequence }: ModelCall): Progress => ({
  afterSequence,
  pieces: 0,
  bytes: { thinking: 0, text: 0 },
});
