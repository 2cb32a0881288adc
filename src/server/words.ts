import { serverLimits } from "../limits.ts";

/** As many characters as take no more than `bytesMax` percent-encoded, as gRPC sends them. None is half a pair. */
function within(chars: Iterable<string>, bytesMax: number): readonly string[] {
  const taken: string[] = [];
  let bytes = 0;
  for (const char of chars) {
    bytes += encodeURIComponent(char).length;
    if (bytes > bytesMax) break;
    taken.push(char);
  }
  return taken;
}

/** Of what is cut both ends stay: what is wrong stands at the begin of a message, and what to do at its end. */
const tailBytes = serverLimits.statusBytesMax / 4;
const headBytes = serverLimits.statusBytesMax - tailBytes - encodeURIComponent(" … ").length;

/** A failure's message as clients are told it: what it quotes is theirs, and may have megabytes. */
export function sendable(message: string): string {
  const text = message.toWellFormed();
  const head = within(
    text.slice(0, serverLimits.statusBytesMax).toWellFormed(),
    serverLimits.statusBytesMax,
  );
  if (head.join("") === text) return text;
  const tail = within(
    Array.from(text.slice(-tailBytes).toWellFormed()).toReversed(),
    tailBytes,
  ).toReversed();
  return `${within(head, headBytes).join("")} … ${tail.join("")}`;
}

/**
 * A message as gRPC's header carries it. Not every client takes back more than has to be escaped; HTTP/2 takes no blanks
 * at either end.
 */
export const grpcMessageOf = (message: string): string =>
  message.replace(/[^ -$&-~]+|^ +| +$/gu, encodeURIComponent);
