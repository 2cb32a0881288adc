import { setImmediate as nextTurnOfTheLoop } from "node:timers/promises";
import { serverLimits } from "../limits.ts";
import type { Share } from "./room.ts";

/** How much of an answer was written since its writer last gave the event loop a turn. */
export type Pace = {
  wrote(bytes: number): void;
  /** Resolves at once, or where `answerBytesPerTurn` were written after a turn of the loop. */
  keep(): Promise<void>;
};

/**
 * A writer that goes on within the turn of a "drain" is never held back again: the runtime then keeps all that the
 * client's window allows (2 GiB) for a client that does not read. The turn also lets others run beside a handler that
 * always has more to say.
 */
export const makePace = (): Pace => {
  let written = 0;
  return {
    wrote: (bytes) => {
      written += bytes;
    },
    keep: async () => {
      if (written < serverLimits.answerBytesPerTurn) return;
      written = 0;
      await nextTurnOfTheLoop();
    },
  };
};

/** The answer's bytes at their pace. What waits to be read takes its share of the room. `ended` is called behind the last byte. */
export const pace = (
  bytes: AsyncIterable<Uint8Array>,
  share: Share,
  ended: () => void,
): AsyncIterable<Uint8Array> => ({
  [Symbol.asyncIterator]: () => {
    const source = bytes[Symbol.asyncIterator]();
    const { wrote, keep } = makePace();
    return {
      ...(source.throw === undefined ? {} : { throw: source.throw.bind(source) }),
      ...(source.return === undefined ? {} : { return: source.return.bind(source) }),
      next: async () => {
        await keep();
        share.set(0);
        const result = await source.next();
        if (result.done === true) ended();
        else {
          share.set(result.value.byteLength);
          wrote(result.value.byteLength);
        }
        return result;
      },
    };
  },
});
