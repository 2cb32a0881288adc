import { equals } from "@bufbuild/protobuf";
import { isStatus } from "../../agent/state.ts";
import { type ServerMessage, ServerMessageSchema } from "../../gen/engram/api/v1/agent_pb.ts";

/** A promise that was broken: which one, and what shows it. */
export type Violation = { readonly rule: string; readonly detail: string };

/** What an agent's model does with an answer that was broken off. */
export type Manner = {
  /** Begins it anew, from the first character. */
  readonly anew: boolean;
  /** Thinks first; what breaks off before the first word of the answer is begun anew by every model. */
  readonly thinks: boolean;
};

/** What one message told a client. */
export type Heard = {
  /** It was not known before. */
  readonly isNews: boolean;
  /** The durable event that it acknowledges a message of this client's by; null: it is no acknowledgement. */
  readonly ackedAt: number | null;
};

/**
 * One client's knowledge of one agent over all the streams it ever had. Each message is held to what was promised of
 * streams: events in order, each once, the same at each sight; pieces that join and are never taken back.
 */
export type Witness = {
  /** A new stream begins behind event `after`. */
  attach(after: number): void;
  hear(message: ServerMessage): Heard;
  /** The newest event known. */
  readonly sequence: number;
  /** Every event seen, as it was first seen; an acknowledgement stands for its event. */
  readonly events: ReadonlyMap<number, ServerMessage>;
  /** Bytes of the answer being written that were shown, thinking left out. */
  readonly shownBytes: number;
  /** What was shown of answers that are not whole yet. */
  readonly unfinished: string;
  readonly violations: readonly Violation[];
  readonly counts: Counts;
};

export type Counts = {
  readonly events: number;
  readonly deltas: number;
  readonly bytes: number;
  readonly begunAnew: number;
};

type Kind = "text" | "thought";

const none = Buffer.alloc(0);
const anewPrefix = "answered anew: ";

/** An acknowledgement names a status; every event that shows as a status says more, or another word. */
export const isAck = ({ payload }: ServerMessage): boolean =>
  payload.case === "status" &&
  payload.value.message === "" &&
  (payload.value.status === "waiting" || isStatus(payload.value.status));

const isBegunAnew = ({ payload }: ServerMessage): boolean =>
  (payload.case === "observation" && payload.value.content.startsWith(anewPrefix)) ||
  (payload.case === "status" && payload.value.message.startsWith(anewPrefix));

const shortened = (bytes: Buffer): string => {
  const text = bytes.toString();
  return JSON.stringify(text.length > 120 ? `${text.slice(0, 50)} ... ${text.slice(-50)}` : text);
};

/** What an event says, in a line. */
export const lineOf = ({ sequenceId, payload }: ServerMessage): string => {
  const value = JSON.stringify(payload.value ?? null, (key, inner: unknown) =>
    key === "$typeName" ? undefined : typeof inner === "bigint" ? Number(inner) : inner,
  );
  return `#${sequenceId} ${payload.case ?? "nothing"} ${value.slice(0, 300)}`;
};

/** A witness that has seen nothing yet. */
export function makeWitness(manner: Manner): Witness {
  const violations: Violation[] = [];
  const broken: Broken = (rule, detail) => void violations.push({ rule, detail });
  const log = makeSeenLog(broken);
  const answer = makeAnswer(broken);
  const counts = { events: 0, deltas: 0, bytes: 0, begunAnew: 0 };

  const beginAnew = (message: ServerMessage): void => {
    counts.begunAnew++;
    if (!manner.anew && (!manner.thinks || answer.shownBytes() > 0))
      broken("taken back", `${lineOf(message)}, though the model continues; ${answer.shown()}`);
    answer.forget();
  };
  const event = (message: ServerMessage): Heard => {
    const ackedAt = isAck(message) ? Number(message.sequenceId) : null;
    if (!log.take(message)) return { isNews: false, ackedAt };
    counts.events++;
    if (isBegunAnew(message)) beginAnew(message);
    const { payload } = message;
    if (payload.case === "text" || payload.case === "thought")
      answer.whole(payload.case, payload.value.content);
    return { isNews: true, ackedAt };
  };
  const piece = (kind: Kind, message: ServerMessage, { offset, content }: Piece): Heard => {
    if (Number(message.sequenceId) !== log.last())
      broken("misplaced piece", `${lineOf(message)} behind #${log.last()}`);
    counts.deltas++;
    const bytes = Buffer.from(content);
    counts.bytes += bytes.length;
    return { isNews: answer.piece(kind, Number(offset), bytes), ackedAt: null };
  };

  return {
    attach: (after) => {
      log.attach(after);
      answer.attach();
    },
    hear: (message) => {
      const { payload } = message;
      if (payload.case === "heartbeat") return { isNews: false, ackedAt: null };
      if (payload.case === "textDelta") return piece("text", message, payload.value);
      if (payload.case === "thoughtDelta") return piece("thought", message, payload.value);
      return event(message);
    },
    get sequence() {
      return log.newest();
    },
    get shownBytes() {
      return answer.shownBytes();
    },
    get unfinished() {
      return answer.shown();
    },
    events: log.events,
    violations,
    counts,
  };
}

type Broken = (rule: string, detail: string) => void;
type Piece = { readonly offset: bigint; readonly content: string };

/** The events, in the order of a stream and as they were first seen. */
function makeSeenLog(broken: Broken) {
  const events = new Map<number, ServerMessage>();
  let newest = 0;
  /** The last event given on this stream. */
  let last = 0;

  /** False where it is no event of this stream's, but the late answer to a message. */
  const isNext = (message: ServerMessage, sequence: number): boolean => {
    if (sequence <= last) {
      if (!isAck(message)) broken("doubled event", `${lineOf(message)} behind #${last}`);
      return false;
    }
    if (sequence !== last + 1) broken("gap", `${lineOf(message)} behind #${last} on one stream`);
    last = sequence;
    return true;
  };
  return {
    events,
    newest: (): number => newest,
    last: (): number => last,
    attach: (after: number): void => {
      last = after;
    },
    /** True where the event was not known. */
    take: (message: ServerMessage): boolean => {
      const sequence = Number(message.sequenceId);
      if (!isNext(message, sequence)) return false;
      const before = events.get(sequence);
      newest = Math.max(newest, sequence);
      if (before !== undefined && !isAck(before)) {
        if (!isAck(message) && !equals(ServerMessageSchema, before, message))
          broken("changed event", `${lineOf(before)} came again as ${lineOf(message)}`);
        return false;
      }
      // An acknowledgement says less than its event.
      events.set(sequence, message);
      return before === undefined;
    },
  };
}

/** The answer being written, put together from its pieces. */
function makeAnswer(broken: Broken) {
  const known: Record<Kind, Buffer> = { text: none, thought: none };
  /** Bytes given on this stream; null: none yet. */
  const given: Record<Kind, number | null> = { text: null, thought: null };

  return {
    attach: (): void => {
      given.text = null;
      given.thought = null;
    },
    forget: (): void => {
      known.text = none;
      known.thought = none;
      given.text = null;
      given.thought = null;
    },
    shownBytes: (): number => known.text.length,
    shown: (): string =>
      known.text.length + known.thought.length === 0
        ? ""
        : `shown were text ${shortened(known.text)} and thinking ${shortened(known.thought)}`,
    /** True where it told more than was known. */
    piece: (kind: Kind, offset: number, bytes: Buffer): boolean => {
      const expected = given[kind] ?? 0;
      const where = `the ${kind} piece ${shortened(bytes)} at ${offset}`;
      if (bytes.length === 0) broken("empty piece", where);
      if (offset < expected) broken("doubled bytes", `${where}, with ${expected} given already`);
      if (offset > expected) broken("missing bytes", `${where}, with only ${expected} given`);
      const before = known[kind].subarray(offset, offset + bytes.length);
      const isSame = before.equals(bytes.subarray(0, before.length));
      if (!isSame) broken("taken back", `${where}, where ${shortened(before)} had been shown`);
      const end = offset + bytes.length;
      given[kind] = end;
      // What comes behind bytes that were taken back belongs to them, and is told once.
      if (isSame && end <= known[kind].length) return false;
      known[kind] = Buffer.concat([known[kind].subarray(0, offset), bytes]);
      return true;
    },
    /** The whole, of which everything shown must be a part, and the pieces of this stream, where there were any, all of it. */
    whole: (kind: Kind, content: string): void => {
      const bytes = Buffer.from(content);
      const shown = known[kind];
      if (!bytes.subarray(0, shown.length).equals(shown))
        broken(
          "taken back",
          `the ${kind} ${shortened(bytes)} does not begin with ${shortened(shown)}, which was shown`,
        );
      else if (given[kind] !== null && given[kind] !== bytes.length)
        broken(
          "missing bytes",
          `pieces gave ${given[kind]} of the ${bytes.length} bytes of the ${kind} ${shortened(bytes)}`,
        );
      known[kind] = none;
      given[kind] = null;
    },
  };
}
