import { Code, ConnectError } from "@connectrpc/connect";
import { requestLimits } from "../limits.ts";

/** Before each message of gRPC, gRPC-Web and Connect's streams: a byte of flags, and its length in four. */
const headBytes = 5;

/** A message as it goes over the wire. */
export type Frame = {
  /** 1: compressed. */
  readonly flags: number;
  readonly message: Uint8Array;
  /** The message with its head. */
  readonly bytes: Uint8Array;
};

/** Cuts a request's bytes into messages. What is not taken is kept, so no more than a message should be added ahead. */
export type Frames = {
  add(bytes: Uint8Array): void;
  /** The next message; null: it is not whole yet. Throws a ConnectError on one that is too large. */
  take(): Frame | null;
  /** What is there of a message that is not whole. */
  rest(): Uint8Array;
};

export function makeFrames(): Frames {
  let chunks: Uint8Array[] = [];
  let bytes = 0;
  /** With its head; 0: not known yet. */
  let wanted = 0;
  /** At the begin and at the end of a message: each byte is copied twice at most. */
  const joined = (): Buffer => {
    const [first, ...more] = chunks;
    const all = first instanceof Buffer && more.length === 0 ? first : Buffer.concat(chunks);
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
      const frame = all.subarray(0, wanted);
      bytes -= wanted;
      chunks = bytes === 0 ? [] : [all.subarray(wanted)];
      wanted = 0;
      return { flags: frame.readUInt8(0), message: frame.subarray(headBytes), bytes: frame };
    },
    rest: joined,
  };
}

function lengthIn(head: Buffer): number {
  const length = head.readUInt32BE(1);
  if (length > requestLimits.messageBytesMax)
    throw new ConnectError(tooLarge(`${length}`), Code.ResourceExhausted);
  return length;
}

/** Of a message with so many bytes ("more", where it was not read to its end), for who sent it. */
export const tooLarge = (bytes: string): string =>
  `the message has ${bytes} bytes; at most ${requestLimits.messageBytesMax} are taken: send less, or let a tool read what is large`;

/** A message as it goes over the wire, not compressed. */
export function frameOf(message: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(headBytes + message.length);
  frame.writeUInt8(0, 0);
  frame.writeUInt32BE(message.length, 1);
  frame.set(message, headBytes);
  return frame;
}
