import { Code, ConnectError } from "@connectrpc/connect";
import { requestLimits } from "../../limits.ts";

/** Before each message: a byte of flags, and its length in four. */
const headBytes = 5;

/** Cuts a request's bytes into messages. What is not taken is kept, so no more than a message should be added ahead. */
export type Frames = {
  add(bytes: Buffer): void;
  /** The next message; null: it is not whole yet. Throws a ConnectError on one that is compressed or too large. */
  take(): Uint8Array | null;
  isEmpty(): boolean;
};

export function makeFrames(): Frames {
  let chunks: Buffer[] = [];
  let bytes = 0;
  /** With its head; 0: not known yet. */
  let wanted = 0;
  /** At the begin and at the end of a message: each byte is copied twice at most. */
  const joined = (): Buffer => {
    const [first, ...more] = chunks;
    if (first === undefined) return Buffer.alloc(0);
    const all = more.length === 0 ? first : Buffer.concat(chunks);
    chunks = [all];
    return all;
  };
  return {
    add: (chunk) => {
      chunks.push(chunk);
      bytes += chunk.length;
    },
    take: () => {
      if (wanted === 0 && bytes >= headBytes) wanted = headBytes + lengthIn(joined());
      if (wanted === 0 || bytes < wanted) return null;
      const all = joined();
      const message = all.subarray(headBytes, wanted);
      bytes -= wanted;
      chunks = bytes === 0 ? [] : [all.subarray(wanted)];
      wanted = 0;
      return message;
    },
    isEmpty: () => bytes === 0,
  };
}

function lengthIn(head: Buffer): number {
  if (head.readUInt8(0) !== 0)
    throw new ConnectError(
      "the message is marked as compressed, but the call has no grpc-encoding",
      Code.InvalidArgument,
    );
  const length = head.readUInt32BE(1);
  if (length > requestLimits.messageBytesMax)
    throw new ConnectError(
      `the message has ${length} bytes; at most ${requestLimits.messageBytesMax} are taken`,
      Code.ResourceExhausted,
    );
  return length;
}

/** A message as it goes over the wire, with its head. */
export function frameOf(message: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(headBytes + message.length);
  frame.writeUInt8(0, 0);
  frame.writeUInt32BE(message.length, 1);
  frame.set(message, headBytes);
  return frame;
}
