import { EngramError } from "../errors.ts";

/** The whole standard input as text. Fails with invalid_argument where it is longer than `bytesMax`, or no UTF-8. */
export async function readStdin(bytesMax: number): Promise<string> {
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of Bun.stdin.stream()) {
    bytes += piece.length;
    if (bytes > bytesMax)
      throw new EngramError(
        "invalid_argument",
        `the standard input has more than the ${bytesMax} bytes that an engine takes at once`,
      );
    pieces.push(piece);
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(pieces));
  } catch (cause) {
    throw new EngramError("invalid_argument", "the standard input is no UTF-8 text", { cause });
  }
}
