import { isJsonObject, type JsonObject } from "../agent/json.ts";
import type { EngramError } from "../errors.ts";
import { failureOfBytes, failureOfLine, type Subject } from "./ollama-failure.ts";
import { modelServerLimits } from "./server-limits.ts";

const newline = 0x0a;

/** Cuts bytes into lines, the last one with or without its end; `tooLong` is thrown at a line over the bound. */
async function* linesOf(
  chunks: AsyncIterable<Uint8Array>,
  tooLong: () => EngramError,
): AsyncGenerator<Uint8Array> {
  let parts: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of chunks) {
    let from = 0;
    for (let to = chunk.indexOf(newline); to !== -1; to = chunk.indexOf(newline, from)) {
      yield Buffer.concat([...parts, chunk.subarray(from, to)]);
      parts = [];
      length = 0;
      from = to + 1;
    }
    parts.push(chunk.subarray(from));
    length += chunk.length - from;
    if (length > modelServerLimits.lineBytesMax) throw tooLong();
  }
  if (length > 0) yield Buffer.concat(parts);
}

const utf8 = new TextDecoder("utf-8", { fatal: true });

const objectIn = (line: Uint8Array): JsonObject | null => {
  try {
    const value: unknown = JSON.parse(utf8.decode(line));
    return isJsonObject(value) ? value : null;
  } catch {
    return null;
  }
};

const isBlank = (line: Uint8Array): boolean => line.every((byte) => byte === 0x20 || byte === 0x0d);

/**
 * The lines of a reply that are known to be JSON objects, each with its end. The package would drop a line that it
 * cannot read, and with it a part of the answer, so that must not get as far. An error line is thrown as its failure.
 */
export async function* checkedLines(
  chunks: AsyncIterable<Uint8Array>,
  subject: Subject,
): AsyncGenerator<Uint8Array> {
  let begun = false;
  let bytes = 0;
  const tooLong = (): EngramError => failureOfBytes(subject, "a line without end", begun);
  for await (const line of linesOf(chunks, tooLong)) {
    if (isBlank(line)) continue;
    const value = objectIn(line);
    if (value === null) throw failureOfBytes(subject, "a line that is not JSON", begun);
    if (value["error"] !== undefined) throw failureOfLine(subject, value["error"]);
    begun = true;
    bytes += line.length;
    if (bytes > modelServerLimits.responseBytesMax)
      throw failureOfBytes(subject, "more than a reply can be", begun);
    yield Buffer.concat([line, Uint8Array.of(newline)]);
  }
}
