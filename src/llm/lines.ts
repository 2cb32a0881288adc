import { isJsonObject, type JsonObject } from "../agent/json.ts";
import type { EngramError } from "../errors.ts";
import { modelServerLimits } from "./server-limits.ts";

const newline = 0x0a;

/** Cuts bytes into lines, the last one with or without its end; `tooLong` is thrown at a line over the bound. */
export async function* linesOf(
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

/** The JSON object that the bytes are; null: they are none, or not UTF-8. */
export const objectIn = (bytes: Uint8Array): JsonObject | null => {
  try {
    const value: unknown = JSON.parse(utf8.decode(bytes));
    return isJsonObject(value) ? value : null;
  } catch {
    return null;
  }
};

export const isBlank = (line: Uint8Array): boolean =>
  line.every((byte) => byte === 0x20 || byte === 0x0d);
