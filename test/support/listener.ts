import type { ServerMessage } from "../../src/gen/engram/api/v1/agent_pb.ts";

type Kind = "text" | "thought";

/**
 * What a client knows that keeps to the contract's rules over all the streams it ever had: pieces are written at their
 * offset and cut what stood behind. It throws at the first message that breaks a promise: a sequence left out or sent twice, a
 * piece that does not join, a whole text that is not its pieces.
 */
export type Listener = {
  /** A new stream; `after`: its resume_from_sequence, null: none. */
  attach(after: bigint | null): void;
  hear(message: ServerMessage): void;
  /** The last event's sequence. */
  readonly sequence: bigint;
  /** Whole texts, in order. */
  readonly texts: readonly string[];
  /** The answer being written, as far as it is known. */
  readonly partial: string;
  /** How often an answer was begun anew. */
  readonly restarts: number;
};

const empty = Buffer.alloc(0);

export const makeListener = (): Listener => {
  let sequence = 0n;
  /** null: the stream's first event may have any. */
  let last: bigint | null = null;
  const texts: string[] = [];
  let restarts = 0;
  const known = { text: empty, thought: empty };
  /** Bytes given on this stream; null: none yet. */
  const given: Record<Kind, number | null> = { text: null, thought: null };

  const piece = (kind: Kind, offset: bigint, content: string): void => {
    const bytes = Buffer.from(content);
    const at = Number(offset);
    if (content === "") throw new Error("an empty piece");
    const expected = given[kind] ?? 0;
    if (at !== expected) {
      if (at !== 0) throw new Error(`a piece at ${at}, but the stream was at ${expected}`);
      restarts++;
    } else if (at < known[kind].length) {
      const before = known[kind].subarray(at, at + bytes.length);
      if (!before.equals(bytes.subarray(0, before.length))) {
        if (at !== 0) throw new Error(`a piece at ${at} is not what was there before`);
        restarts++;
      } else if (at + bytes.length < known[kind].length) {
        given[kind] = at + bytes.length;
        return; // Known already; it must not be forgotten before the rest has come.
      }
    }
    known[kind] = Buffer.concat([known[kind].subarray(0, at), bytes]);
    given[kind] = known[kind].length;
  };

  const whole = (kind: Kind, content: string): void => {
    const bytes = Buffer.from(content);
    if (given[kind] === null) {
      if (!bytes.subarray(0, known[kind].length).equals(known[kind]))
        throw new Error(`what was seen is not in the ${kind}: ${known[kind].toString()}`);
    } else if (given[kind] !== bytes.length || !known[kind].equals(bytes))
      throw new Error(`pieces ${known[kind].toString()} are not the ${kind} ${content}`);
    known[kind] = empty;
    given[kind] = null;
    if (kind === "text") texts.push(content);
  };

  const event = (at: bigint): void => {
    if (last !== null && at !== last + 1n) throw new Error(`event ${at} came after ${last}`);
    last = at;
    sequence = at;
  };

  return {
    attach: (after) => {
      last = after;
      given.text = null;
      given.thought = null;
    },
    hear: ({ payload, sequenceId }) => {
      if (payload.case === "textDelta" || payload.case === "thoughtDelta") {
        if (last !== null && sequenceId !== last)
          throw new Error(`a piece carries ${sequenceId}, the last event was ${last}`);
        const kind = payload.case === "textDelta" ? "text" : "thought";
        return piece(kind, payload.value.offset, payload.value.content);
      }
      if (payload.case === "heartbeat") return;
      // An answer to a message that changed nothing names the event that had done so before.
      if (payload.case === "status" && last !== null && sequenceId <= last) return;
      event(sequenceId);
      if (payload.case === "text" || payload.case === "thought")
        whole(payload.case, payload.value.content);
    },
    get sequence() {
      return sequence;
    },
    get partial() {
      return known.text.toString();
    },
    get restarts() {
      return restarts;
    },
    texts,
  };
};
