import type { ServerHttp2Stream } from "node:http2";
import { Code, ConnectError } from "@connectrpc/connect";
import { makeFrames } from "../frames.ts";
import type { Share } from "../room.ts";

/** What a client sends in one call. Nothing is read ahead: what is not asked for stays with the client. */
export type Input = {
  /** The next message; null: the client has half-closed. Rejects with a ConnectError. One at a time. */
  next(): Promise<Uint8Array | null>;
  /** From now on `next` rejects with this, and what comes is dropped. */
  end(error: ConnectError): void;
};

export function readInput(stream: ServerHttp2Stream, share: Share): Input {
  const frames = makeFrames();
  let ended = false;
  let failed: ConnectError | null = null;
  let waiting: PromiseWithResolvers<Uint8Array | null> | null = null;

  const settle = (): void => {
    if (waiting === null) return;
    const { resolve, reject } = waiting;
    try {
      if (failed !== null) throw failed;
      const frame = frames.take();
      share.set(frames.rest().length + (frame?.message.length ?? 0));
      if (frame === null && !ended) {
        stream.resume();
        return;
      }
      if (frame === null && frames.rest().length > 0)
        throw new ConnectError("the request ends in the middle of a message", Code.InvalidArgument);
      if (frame !== null && frame.flags !== 0)
        throw new ConnectError(
          "the message is marked as compressed, but the call has no grpc-encoding",
          Code.InvalidArgument,
        );
      resolve(frame?.message ?? null);
    } catch (error) {
      reject(error);
    }
    waiting = null;
    if (failed === null) stream.pause();
    else stream.resume();
  };
  stream.on("data", (chunk: Buffer) => {
    // What comes behind the end is dropped: a client that goes on must not be stuck in it.
    if (failed !== null) return;
    frames.add(chunk);
    if (waiting === null) stream.pause();
    else settle();
  });
  stream.once("end", () => {
    ended = true;
    settle();
  });
  stream.pause();
  return {
    next: () => {
      waiting = Promise.withResolvers();
      const { promise } = waiting;
      settle();
      return promise;
    },
    end: (error) => {
      failed ??= error;
      if (waiting === null) stream.resume();
      else settle();
    },
  };
}
