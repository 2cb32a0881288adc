import { Code, ConnectError } from "@connectrpc/connect";
import type { Sweep } from "./sweep.ts";

type Terms = {
  readonly sweep: Sweep;
  readonly delayMs: number;
  /** What must be there in time: the first item, or the end. */
  readonly until: "first" | "end";
  /** Names what did not come, in the DEADLINE_EXCEEDED that the reader gets. */
  readonly late: string;
  /** What the reader gets in place of an error. */
  readonly failure: (error: unknown) => ConnectError;
  /** The message of the INVALID_ARGUMENT that the reader gets when the source ends without an item; null: an end. */
  readonly empty: string | null;
};

export type Timed<T> = AsyncIterable<T> & {
  /** Takes the deadline back; for a source that nobody read to its end. */
  readonly cancel: () => void;
};

/**
 * The source's items under a deadline, to be read once. A reader that stops early leaves the source as it is: to end a
 * request's body is to end its socket or stream, perhaps before the answer is out.
 */
export const timed = <T>(items: AsyncIterable<T>, terms: Terms): Timed<T> => {
  const source = items[Symbol.asyncIterator]();
  let count = 0;
  let failed: ConnectError | null = null;
  let rejectWaiting: ((error: ConnectError) => void) | null = null;
  const cancel = terms.sweep.watch(terms.delayMs, () => {
    failed = new ConnectError(terms.late, Code.DeadlineExceeded);
    rejectWaiting?.(failed);
  });
  const settle = (result: IteratorResult<T, unknown>): IteratorResult<T, undefined> => {
    if (result.done !== true) {
      count += 1;
      if (terms.until === "first") cancel();
      return { done: false, value: result.value };
    }
    cancel();
    if (count === 0 && terms.empty !== null)
      throw new ConnectError(terms.empty, Code.InvalidArgument);
    return { done: true, value: undefined };
  };
  const next = async (): Promise<IteratorResult<T, undefined>> =>
    new Promise((resolve, reject) => {
      if (failed !== null) {
        reject(failed);
        return;
      }
      rejectWaiting = reject;
      source
        .next()
        .then(settle)
        .then(resolve, (error: unknown) => {
          cancel();
          reject(terms.failure(error));
        });
    });
  return { [Symbol.asyncIterator]: () => ({ next }), cancel };
};
