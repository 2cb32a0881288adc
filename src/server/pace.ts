import { serverLimits } from "../limits.ts";
import type { Share } from "./room.ts";

const turn = async (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

/**
 * The answer's bytes, with a turn of the event loop after every `answerBytesPerTurn`. A writer that goes on within the
 * turn of a "drain" is never held back again: the runtime then keeps all that the client's window allows (2 GiB) for a
 * client that does not read. The turn also lets others run beside a handler that always has more to say. What
 * waits to be read takes its share of the room. `ended` is called behind the last byte.
 */
export const pace = (
  bytes: AsyncIterable<Uint8Array>,
  share: Share,
  ended: () => void,
): AsyncIterable<Uint8Array> => ({
  [Symbol.asyncIterator]: () => {
    const source = bytes[Symbol.asyncIterator]();
    let written = 0;
    return {
      ...(source.throw === undefined ? {} : { throw: source.throw.bind(source) }),
      ...(source.return === undefined ? {} : { return: source.return.bind(source) }),
      next: async () => {
        if (written >= serverLimits.answerBytesPerTurn) {
          written = 0;
          await turn();
        }
        share.set(0);
        const result = await source.next();
        if (result.done === true) ended();
        else {
          share.set(result.value.byteLength);
          written += result.value.byteLength;
        }
        return result;
      },
    };
  },
});
