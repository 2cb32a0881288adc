import { fileLimits } from "../limits.ts";
import { wrongLine } from "../store/agent-file.ts";

/** What messages carry. */
export type Bytes = Uint8Array<ArrayBuffer>;

const newline = 0x0a;

/** A file's lines, without their ends, from its bytes as they come. Fails with invalid_argument on one that is no text, or too long. */
export async function* linesOf(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  let begun: Uint8Array[] = [];
  let bytes = 0;
  let line = 1;
  const take = (part: Uint8Array): void => {
    bytes += part.length;
    if (bytes > fileLimits.lineBytesMax)
      throw wrongLine(line, `it is longer than ${fileLimits.lineBytesMax} bytes`);
    begun.push(part);
  };
  const whole = (): string => {
    const text = decoded(begun, line);
    begun = [];
    bytes = 0;
    line++;
    return text;
  };
  for await (const piece of pieces) {
    let from = 0;
    for (let to = piece.indexOf(newline); to !== -1; to = piece.indexOf(newline, from)) {
      take(piece.subarray(from, to));
      yield whole();
      from = to + 1;
    }
    if (from < piece.length) take(piece.subarray(from));
  }
  if (bytes > 0) yield whole();
}

function decoded(parts: readonly Uint8Array[], line: number): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(Buffer.concat(parts));
  } catch {
    throw wrongLine(line, "it is no UTF-8 text");
  }
}

/** A file's bytes from its lines, in pieces of which each fits a message. */
export async function* piecesOf(lines: AsyncIterable<string>): AsyncGenerator<Bytes> {
  let held: string[] = [];
  let chars = 0;
  for await (const line of lines) {
    held.push(line);
    chars += line.length;
    if (chars < fileLimits.pieceBytesMax) continue;
    yield* split(held);
    held = [];
    chars = 0;
  }
  if (chars > 0) yield* split(held);
}

function* split(lines: readonly string[]): Generator<Bytes> {
  const bytes = new TextEncoder().encode(lines.join(""));
  for (let at = 0; at < bytes.length; at += fileLimits.pieceBytesMax)
    yield bytes.subarray(at, at + fileLimits.pieceBytesMax);
}

/** A long text in parts that are turned into bytes one at a time, none of them half a character. */
export async function* slicesOf(text: string): AsyncGenerator<string> {
  for (let at = 0; at < text.length;) {
    const end = at + fileLimits.pieceBytesMax;
    const last = text.charCodeAt(end - 1);
    const next = last >= 0xd800 && last <= 0xdbff ? end + 1 : end;
    yield text.slice(at, next);
    at = next;
  }
}
