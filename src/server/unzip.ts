import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import { Code, ConnectError } from "@connectrpc/connect";
import { requestLimits } from "../limits.ts";
import { tooLarge } from "./frames.ts";
import { roomLimits } from "./room-limits.ts";
import type { Share } from "./room.ts";

/**
 * Fails with RESOURCE_EXHAUSTED where a message grows too large, with INVALID_ARGUMENT where it is not zipped, and with
 * CANCELED once the call of the share is gone.
 */
export type Unzip = (message: Uint8Array, share: Share) => Promise<Uint8Array>;

const gunzipped = promisify(gunzip);
const gone = new ConnectError("the client ended the call", Code.Canceled);

/** A message may grow a thousandfold, so a few are unzipped at once and the others wait as small as they came. */
export function makeUnzip(): Unzip {
  let running = 0;
  const waiting = new Set<() => void>();
  const untilTurn = async (share: Share): Promise<void> =>
    new Promise((resolve, reject) => {
      const begin = (): void => {
        waiting.delete(begin);
        forget();
        running += 1;
        resolve();
      };
      waiting.add(begin);
      const forget = share.onClose(() => {
        waiting.delete(begin);
        reject(gone);
      });
      if (waiting.has(begin) && running < roomLimits.unzipsMax) begin();
    });
  return async (message, share) => {
    if (message.length === 0) return message;
    await untilTurn(share);
    try {
      return await gunzipped(message, { maxOutputLength: requestLimits.messageBytesMax });
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "ERR_BUFFER_TOO_LARGE")
        throw new ConnectError(tooLarge("more"), Code.ResourceExhausted);
      throw new ConnectError("the message is not what gzip makes", Code.InvalidArgument);
    } finally {
      running -= 1;
      const [next] = waiting;
      next?.();
    }
  };
}
