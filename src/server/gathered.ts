import { requestLimits } from "../limits.ts";

/** Bytes that came in pieces, put together: pieces of a byte each would take a hundred times their size. */
export type Gathered = {
  add(bytes: Uint8Array): void;
  /** What is there. What was given stays as it is. */
  all(): Buffer;
  /** Takes so many bytes from the front away. */
  drop(count: number): void;
};

export function makeGathered(): Gathered {
  let room: Buffer = Buffer.alloc(0);
  let from = 0;
  let to = 0;
  /** A single piece is kept as it came; nothing is written behind it. */
  let isOwn = false;
  return {
    add: (bytes) => {
      const held = to - from;
      if (held === 0) {
        room = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
        isOwn = false;
        from = 0;
        to = bytes.length;
        return;
      }
      if (!isOwn || room.length - to < bytes.length) {
        const doubled = Math.min(2 * held, requestLimits.messageBytesMax);
        const larger = Buffer.allocUnsafeSlow(Math.max(held + bytes.length, doubled));
        room.copy(larger, 0, from, to);
        room = larger;
        isOwn = true;
        from = 0;
        to = held;
      }
      room.set(bytes, to);
      to += bytes.length;
    },
    all: () => room.subarray(from, to),
    drop: (count) => {
      from += count;
    },
  };
}
