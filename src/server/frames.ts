import { Code, ConnectError } from "@connectrpc/connect";
import { requestLimits } from "../limits.ts";
import { makeGathered } from "./gathered.ts";

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
  /** What is there and was not taken. */
  rest(): Uint8Array;
};

export function makeFrames(): Frames {
  const gathered = makeGathered();
  return {
    add: gathered.add,
    take: () => {
      const all = gathered.all();
      if (all.length < headBytes) return null;
      const end = headBytes + lengthIn(all);
      if (all.length < end) return null;
      gathered.drop(end);
      const bytes = all.subarray(0, end);
      return { flags: bytes.readUInt8(0), message: bytes.subarray(headBytes), bytes };
    },
    rest: gathered.all,
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
export const frameOf = (message: Uint8Array): Buffer => flaggedFrameOf(0, message);

export function flaggedFrameOf(flags: number, message: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(headBytes + message.length);
  frame.writeUInt8(flags, 0);
  frame.writeUInt32BE(message.length, 1);
  frame.set(message, headBytes);
  return frame;
}
