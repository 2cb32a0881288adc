import { Code, ConnectError } from "@connectrpc/connect";
import { serverLimits } from "../limits.ts";
import type { Sweep } from "./sweep.ts";

type Terms = {
  readonly sweep: Sweep;
  readonly until: Until;
  /** What the reader gets in place of an error. */
  readonly failure: (error: unknown) => ConnectError;
};

/** What of a request must be there in time: the first message of a stream, or the end of all others. */
export type Until = "first" | "end";

/** What a request comes to that was not there within `bodyMs`. */
export const lateRequest = (until: Until): ConnectError => {
  const seconds = serverLimits.bodyMs / 1000;
  return new ConnectError(
    until === "first"
      ? `no first message within ${seconds} s`
      : `the request was not complete within ${seconds} s`,
    Code.DeadlineExceeded,
  );
};

/** What a stream of requests comes to that ended without any. */
export const emptyStream = (): ConnectError =>
  new ConnectError("the call ended before its first message", Code.InvalidArgument);

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
  const cancel = terms.sweep.watch(serverLimits.bodyMs, () => {
    failed = lateRequest(terms.until);
    rejectWaiting?.(failed);
  });
  const settle = (result: IteratorResult<T, unknown>): IteratorResult<T, undefined> => {
    if (result.done !== true) {
      count += 1;
      if (terms.until === "first") cancel();
      return { done: false, value: result.value };
    }
    cancel();
    if (count === 0 && terms.until === "first") throw emptyStream();
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
