import type { ServerHttp2Stream } from "node:http2";
import { Code, ConnectError } from "@connectrpc/connect";
import { setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import { serverLimits } from "../../limits.ts";
import { frameOf } from "../frames.ts";
import { makePace } from "../pace.ts";
import type { Share } from "../room.ts";
import { grpcMessageOf } from "../words.ts";

/** What a client is answered in one call. */
export type Output = {
  /** Resolves when the client can be given more, is gone, or the call has ended. */
  write(message: Uint8Array): Promise<void>;
  /** The call ends well, or with the error; later words are not heard. */
  end(error: ConnectError | null): void;
};

/** Where it is not, to answer throws. */
const isOpen = (stream: ServerHttp2Stream): boolean =>
  !stream.destroyed && !stream.closed && stream.session !== undefined;

const statusOf = (error: ConnectError): Record<string, string> =>
  Object.fromEntries([
    ...setTrailerStatus(new Headers(), error),
    ["grpc-message", grpcMessageOf(error.rawMessage)],
  ]);

const head = { ":status": 200, "content-type": "application/grpc+proto" } as const;

export function openOutput(stream: ServerHttp2Stream, share: Share): Output {
  let ended = false;
  let trailers: Record<string, string> = { "grpc-status": "0" };
  const pace = makePace();
  let release = (): void => {};
  const begin = (): void => {
    stream.respond(head, { waitForTrailers: true });
    stream.once("wantTrailers", () => {
      // Asked for of what is destroyed in mid-answer too, and its client must not take that for the end.
      if (ended && isOpen(stream)) stream.sendTrailers(trailers);
    });
  };
  const drained = (): Promise<void> =>
    new Promise((resolve) => {
      release = () => {
        stream.off("drain", release).off("close", release);
        resolve();
      };
      stream.on("drain", release).on("close", release);
    });
  return {
    write: async (message) => {
      if (message.length > serverLimits.responseBytesMax)
        throw new ConnectError(
          `the answer has ${message.length} bytes; at most ${serverLimits.responseBytesMax} are sent`,
          Code.ResourceExhausted,
        );
      if (ended || !isOpen(stream)) return;
      share.set(message.length);
      if (!stream.headersSent) begin();
      const more = stream.write(frameOf(message));
      pace.wrote(message.length);
      if (!more) await drained();
      share.set(0);
      await pace.keep();
    },
    end: (error) => {
      if (ended) return;
      ended = true;
      release();
      if (!isOpen(stream)) return;
      if (error !== null && !stream.headersSent) {
        // Without an answer its status stands in the head, and nothing may follow.
        stream.respond({ ...head, ...statusOf(error) }, { endStream: true });
        return;
      }
      if (error !== null) trailers = statusOf(error);
      if (!stream.headersSent) begin();
      stream.end();
    },
  };
}
