import type { EngramError } from "../../errors.ts";
import { isBlank, linesOf, objectIn } from "../lines.ts";
import type { Subject } from "../failure.ts";
import { failureOfBytes, failureOfLine } from "./failure.ts";
import { modelServerLimits } from "../server-limits.ts";

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
    yield Buffer.concat([line, Uint8Array.of(0x0a)]);
  }
}
