import type { LoggedEvent, ModelCall, RequestKey } from "../agent/event.ts";
import { isJsonObject, type JsonObject } from "../agent/json.ts";
import { EngramError } from "../errors.ts";
import { turnLimits } from "../limits.ts";
import { chainHash, decodeCall, eventOf, genesisHash } from "./codec.ts";
import { faultyFieldOf, faultyFieldOfCall, isDuration, isTime } from "./event-shape.ts";
import type { Draft, DraftPiece, StoredEvent } from "./store.ts";

/*
 * An agent as a file: JSON Lines, in this order.
 * {"format":"engram agent","version":1,"agentId":…,"request":{"requestId":…,"digest":…},"workedMs":…,"exportedAt":…}
 * {"sequence":1,"at":…,"event":{…},"hash":…}            each event, to the byte as it is stored, with its hash
 * {"draft":{"call":{…},"pieces":N}}                     where an answer was broken off, and then
 * {"piece":{"kind":…,"offset":…,"content":…}}           each piece of it
 * {"end":{"sequence":…,"hash":…,"digest":…}}            the log's head; the SHA-256 of all lines before, but for the time
 * The chain of hashes begins with the agent's id, so that each event is held to its place in this log; the rest is held by
 * the digest. What a later version adds to lines an older one need not know raises the version.
 */

const formatName = "engram agent";
const formatVersion = 1;

export type FileHead = {
  readonly agentId: string;
  readonly request: RequestKey | null;
  readonly workedMs: number;
};

/** The lines of an agent's file, each with its end; asked for in their order. */
export interface FileWriter {
  head(exportedAtMs: number): string;
  event(stored: StoredEvent): string;
  draft(draft: Pick<Draft, "call" | "pieces">): Iterable<string>;
  end(): string;
}

export function makeFileWriter(head: FileHead): FileWriter {
  const digest = new Bun.CryptoHasher("sha256");
  let last = { sequence: 0, hash: genesisHash(head.agentId).toHex() };
  const covered = (line: string): string => {
    digest.update(line);
    return line;
  };
  return {
    head: (exportedAtMs) => {
      digest.update(coveredOf(head));
      const exportedAt = new Date(exportedAtMs).toISOString();
      return lineOf({ ...headFields(head), exportedAt });
    },
    event: ({ sequence, atMs, body, hash }) => {
      last = { sequence, hash };
      return covered(`{"sequence":${sequence},"at":${atMs},"event":${body},"hash":"${hash}"}\n`);
    },
    draft: function* ({ call, pieces }) {
      yield covered(lineOf({ draft: { call, pieces: pieces.length } }));
      for (const piece of pieces) yield covered(lineOf({ piece }));
    },
    end: () => lineOf({ end: { ...last, digest: digest.digest("hex") } }),
  };
}

const lineOf = (value: object): string => `${JSON.stringify(value)}\n`;

const headFields = ({ agentId, request, workedMs }: FileHead) => ({
  format: formatName,
  version: formatVersion,
  agentId,
  request,
  workedMs,
});

/** What the digest covers of the first line. */
const coveredOf = (head: FileHead): string => lineOf(headFields(head));

const draftBytesMax = turnLimits.replyBytesMax;

/** What a line of a file says. */
export type FileLine =
  | { readonly kind: "head"; readonly head: FileHead }
  | { readonly kind: "event"; readonly logged: LoggedEvent }
  | { readonly kind: "draft"; readonly call: ModelCall }
  | { readonly kind: "piece"; readonly piece: DraftPiece }
  | { readonly kind: "end"; readonly hash: string };

/** Checks a file line by line. It fails with invalid_argument, saying which line is wrong and why. */
export interface FileReader {
  /** A line without its end. */
  take(line: string): FileLine;
  /** No more lines come. */
  end(): void;
}

/** The fault of a line, the first of a file being 1. */
export const wrongLine = (line: number, why: string): EngramError =>
  new EngramError("invalid_argument", `line ${line} of the file is wrong: ${why}`);

/** The line of an event: the first is behind the head. */
export const lineOfEvent = (sequence: number): number => sequence + 1;

type Place = {
  readonly head: FileHead;
  readonly digest: Bun.CryptoHasher;
  sequence: number;
  hash: Uint8Array;
  draft: { readonly pieces: number; taken: number; readonly bytes: Record<string, number> } | null;
};

export function makeFileReader(): FileReader {
  let lines = 0;
  let place: Place | null = null;
  let ended = false;
  const read = (line: string): FileLine => {
    const value = parsed(line);
    if (ended) throw new Wrong("the closing line is before it");
    if (place === null) {
      const head = headIn(value);
      const digest = new Bun.CryptoHasher("sha256").update(coveredOf(head));
      place = { head, digest, sequence: 0, hash: genesisHash(head.agentId), draft: null };
      return { kind: "head", head };
    }
    const taken = lineIn(value, place);
    if (taken.kind === "end") ended = true;
    else place.digest.update(line).update("\n");
    return taken;
  };
  return {
    take: (line) => {
      lines++;
      try {
        return read(line);
      } catch (error) {
        if (error instanceof Wrong) throw wrongLine(lines, error.message);
        throw error;
      }
    },
    end: () => {
      if (lines === 0) throw new EngramError("invalid_argument", "the file is empty");
      if (ended) return;
      throw new EngramError(
        "invalid_argument",
        `the file ends with line ${lines}, before its closing line: it is not whole`,
      );
    },
  };
}

/** What is wrong with the line just read. */
class Wrong extends Error {
  override readonly name = "Wrong";
}

function parsed(line: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw new Wrong(line === "" ? "it is empty" : "it is no JSON");
  }
  if (isJsonObject(value)) return value;
  throw new Wrong("it is no JSON object");
}

function headIn(value: JsonObject): FileHead {
  const { format, version, agentId, request, workedMs } = value;
  if (format !== formatName || typeof version !== "number" || version < 1)
    throw new Wrong("it is not the head of an exported agent");
  if (version > formatVersion)
    throw new Wrong(
      `the file has version ${version}, this engine knows versions up to ${formatVersion}: import it with a newer engine`,
    );
  if (typeof agentId !== "string" || !/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(agentId))
    throw new Wrong("its agentId is no agent's");
  if (!isDuration(workedMs)) throw new Wrong("its workedMs is no time");
  return { agentId, request: requestIn(request), workedMs };
}

function requestIn(request: unknown): RequestKey | null {
  if (request === null) return null;
  const { requestId, digest } = isJsonObject(request) ? request : {};
  if (typeof requestId !== "string" || requestId === "" || typeof digest !== "string")
    throw new Wrong("its request is none");
  return { requestId, digest };
}

function lineIn(value: JsonObject, place: Place): FileLine {
  if (value["end"] !== undefined) return endIn(value["end"], place);
  if (value["piece"] !== undefined) return pieceIn(value["piece"], place);
  if (place.draft !== null) throw new Wrong("it is neither a piece of the draft nor the end");
  if (value["draft"] !== undefined) return draftIn(value["draft"], place);
  return eventIn(value, place);
}

function eventIn({ sequence, at, event: value, hash }: JsonObject, place: Place): FileLine {
  if (typeof sequence !== "number" || !isJsonObject(value))
    throw new Wrong("it is neither an event nor a draft nor the end");
  const expected = place.sequence + 1;
  if (sequence !== expected)
    throw new Wrong(`it is event ${sequence} where event ${expected} belongs`);
  if (!isTime(at)) throw new Wrong("its time is none");
  // Stored events are what this gives, and it gives the same of what it was parsed from; the hash shows it.
  const body = JSON.stringify(value);
  const found = chainHash(place.hash, sequence, at, body);
  if (found.toHex() !== hash)
    throw new Wrong(`event ${sequence} was changed, or is not of this agent`);
  const event = corruptAsWrong(() => eventOf(value));
  const fault = faultyFieldOf(event);
  if (fault !== null) throw new Wrong(`${fault} of event ${sequence} cannot be what it is`);
  place.sequence = sequence;
  place.hash = found;
  return { kind: "event", logged: { sequence, atMs: at, event } };
}

/** What the codec does not know. */
function corruptAsWrong<T>(decode: () => T): T {
  try {
    return decode();
  } catch (error) {
    if (error instanceof EngramError && error.code === "corrupt") throw new Wrong(error.message);
    throw error;
  }
}

function draftIn(value: unknown, place: Place): FileLine {
  const { call: made, pieces } = isJsonObject(value) ? value : {};
  if (typeof pieces !== "number" || !Number.isSafeInteger(pieces) || pieces < 0)
    throw new Wrong("its draft has no number of pieces");
  const fault = faultyFieldOfCall(made);
  if (fault !== null) throw new Wrong(`${fault} of its draft cannot be what it is`);
  const call = corruptAsWrong(() => decodeCall(JSON.stringify(made)));
  if (call.afterSequence < 1 || call.afterSequence > place.sequence)
    throw new Wrong(`its draft follows event ${call.afterSequence}, which is not there`);
  place.draft = { pieces, taken: 0, bytes: { thinking: 0, text: 0 } };
  return { kind: "draft", call };
}

function pieceIn(value: unknown, { draft }: Place): FileLine {
  if (draft === null) throw new Wrong("it is a piece of a draft, but none has begun");
  const { kind, offset, content } = isJsonObject(value) ? value : {};
  if ((kind !== "thinking" && kind !== "text") || typeof content !== "string" || content === "")
    throw new Wrong("it is no piece of a draft");
  const begun = draft.bytes[kind] ?? 0;
  if (offset !== begun)
    throw new Wrong(`its piece does not join to the ${begun} bytes of ${kind} before it`);
  if (draft.taken === draft.pieces)
    throw new Wrong(`it is one piece more than the draft's ${draft.pieces}`);
  const bytes = begun + Buffer.byteLength(content);
  if (bytes > draftBytesMax) throw new Wrong("its draft is longer than a reply may be");
  draft.bytes[kind] = bytes;
  draft.taken++;
  return { kind: "piece", piece: { kind, offset, content } };
}

function endIn(value: unknown, { sequence, hash, draft, digest }: Place): FileLine {
  const end = isJsonObject(value) ? value : {};
  if (sequence === 0) throw new Wrong("the log has no events");
  if (end["sequence"] !== sequence || end["hash"] !== hash.toHex())
    throw new Wrong(`it is not the end of a log with ${sequence} events like the last one`);
  if (draft !== null && draft.taken < draft.pieces)
    throw new Wrong(`${draft.pieces - draft.taken} pieces of the draft are missing before it`);
  if (end["digest"] !== digest.digest("hex"))
    throw new Wrong("its digest is another: the first line or the draft was changed");
  return { kind: "end", hash: hash.toHex() };
}
