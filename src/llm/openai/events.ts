import type { JsonObject } from "../../agent/json.ts";
import type { EngramError } from "../../errors.ts";
import type { Subject } from "../failure.ts";
import type { HttpReply } from "../http.ts";
import { linesOf, objectIn } from "../lines.ts";
import { failureOfBytes } from "./failure.ts";
import { modelServerLimits } from "../server-limits.ts";

type FailureOf = (error: unknown) => EngramError;

const done = Buffer.from("[DONE]");

/** The field that a line of an event stream sets; null: it is none of an event stream's lines. */
const fieldOf = (line: Buffer): { readonly name: string; readonly value: Buffer } | null => {
  const end = line.at(-1) === 0x0d ? line.length - 1 : line.length;
  const colon = line.indexOf(":");
  const name = line.toString("utf8", 0, colon === -1 ? end : colon).replace(/^\uFEFF/, "");
  if (!["", "data", "event", "id", "retry", "error"].includes(name)) return null;
  if (colon === -1) return { name, value: Buffer.alloc(0) };
  return { name, value: line.subarray(line[colon + 1] === 0x20 ? colon + 2 : colon + 1, end) };
};

const eventOf = (chunk: Uint8Array): Uint8Array =>
  Buffer.concat([Buffer.from("data: "), chunk, Buffer.from("\n\n")]);

/** The data of the events, in bounds; an event called `error`, or a line of that name, is thrown as its failure. */
async function* dataIn(
  chunks: AsyncIterable<Uint8Array>,
  subject: Subject,
  failureOf: FailureOf,
): AsyncGenerator<Buffer> {
  let data: Buffer[] = [];
  let kind = "";
  let begun = false;
  let bytes = 0;
  const wrong = (what: string): EngramError => failureOfBytes(subject, what, begun);
  const whole = (): Buffer => {
    const joined = Buffer.concat(data.flatMap((part, at) => (at === 0 ? [part] : [newline, part])));
    if (kind === "error") throw failureOf(objectIn(joined)?.["error"] ?? joined.toString());
    data = [];
    begun ||= joined.length > 0;
    return joined;
  };
  for await (const line of linesOf(chunks, () => wrong("a line without end"))) {
    bytes += line.length;
    if (bytes > modelServerLimits.responseBytesMax) throw wrong("more than a reply can be");
    const field = fieldOf(Buffer.from(line.buffer, line.byteOffset, line.byteLength));
    if (field === null) throw wrong("a line that is no event's");
    const { name, value } = field;
    if (name === "error") throw failureOf(objectIn(value) ?? value.toString());
    if (name === "event") kind = value.toString();
    if (name === "data") data.push(value);
    // An empty line ends an event; one that begins with a colon is a comment.
    if (line.length - (line.at(-1) === 0x0d ? 1 : 0) > 0) continue;
    if (data.length > 0) yield whole();
    kind = "";
  }
  if (data.length > 0) yield whole();
}

const newline = Buffer.from("\n");

/** A body that is one JSON object, as of servers that do not stream. */
const wholeBody = async (
  chunks: AsyncIterable<Uint8Array>,
  subject: Subject,
): Promise<JsonObject> => {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of chunks) {
    parts.push(chunk);
    bytes += chunk.length;
    if (bytes > modelServerLimits.lineBytesMax)
      throw failureOfBytes(subject, "more than a reply can be", true);
  }
  const value = objectIn(Buffer.concat(parts));
  if (value === null) throw failureOfBytes(subject, "a body that is not JSON", parts.length > 0);
  return value;
};

/**
 * The events of a reply that are known to be JSON objects, spelled as the package reads them; a reply that comes as
 * one JSON body is one event. The package would print what it cannot read, take an error for the end of a stream, and a
 * stream that was cut for a whole one, so those must not get as far.
 */
export async function* checkedEvents(
  { header }: HttpReply,
  chunks: AsyncIterable<Uint8Array>,
  { subject, failureOf }: { readonly subject: Subject; readonly failureOf: FailureOf },
): AsyncGenerator<Uint8Array> {
  if (header("content-type").includes("json")) {
    const body = await wholeBody(chunks, subject);
    if (body["error"] !== undefined && body["error"] !== null) throw failureOf(body["error"]);
    yield eventOf(Buffer.from(JSON.stringify(body)));
    return;
  }
  let begun = false;
  for await (const data of dataIn(chunks, subject, failureOf)) {
    if (data.equals(done)) return;
    if (data.every((byte) => byte === 0x20)) continue;
    const chunk = objectIn(data);
    if (chunk === null) throw failureOfBytes(subject, "an event that is not JSON", begun);
    if (chunk["error"] !== undefined && chunk["error"] !== null) throw failureOf(chunk["error"]);
    begun = true;
    // Those of more than one line cannot be passed on as they came.
    yield eventOf(data.includes(0x0a) ? Buffer.from(JSON.stringify(chunk)) : data);
  }
}
