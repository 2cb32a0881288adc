import type { Clock } from "../clock.ts";
import { EngramError } from "../errors.ts";
import { modelServerLimits } from "./server-limits.ts";

/** Stands over the requests of one model call, so that they end together. */
export type Watch = {
  /** Aborted by the caller's signal, by silence, or by `end`; its reason is what to throw. */
  readonly signal: AbortSignal;
  /** Awaits the server's next sign of life; past `timeoutMs` the watch aborts with model_timeout. */
  readonly heard: <T>(awaited: Promise<T>) => Promise<T>;
  /** The reply has grown: where that is not heard of for several silences, the watch aborts in the same way. */
  readonly grew: () => void;
  /** Lets go of the caller's signal and stops what still runs. */
  readonly end: () => void;
};

/** Starts a watch; the caller ends it. `server` names the model server in the message. */
export const startWatch = (
  clock: Clock,
  timeoutMs: number,
  server: string,
  outer: AbortSignal,
): Watch => {
  const stopped = new AbortController();
  const stop = (): void => stopped.abort(outer.reason);
  outer.addEventListener("abort", stop, { once: true });
  if (outer.aborted) stop();
  const abortFor = (what: string): void => {
    const message = `the model server at ${server} ${what}; LLM_TIMEOUT_MS sets how long to wait`;
    stopped.abort(new EngramError("model_timeout", message, { transient: true }));
  };
  const silent = (): void => abortFor(`was silent for ${timeoutMs} ms`);
  const stillMs = timeoutMs * modelServerLimits.silencesMax;
  const patience = (): (() => void) =>
    clock.after(stillMs, () => abortFor(`sent nothing of a reply for ${stillMs} ms`));
  let expectNoMore = patience();
  return {
    signal: stopped.signal,
    heard: async (awaited) => {
      const cancel = clock.after(timeoutMs, silent);
      try {
        return await awaited;
      } finally {
        cancel();
      }
    },
    grew: () => {
      expectNoMore();
      expectNoMore = patience();
    },
    end: () => {
      expectNoMore();
      outer.removeEventListener("abort", stop);
      stopped.abort(new Error("the call is over"));
    },
  };
};

/** Resolves as `answer` does, which never rejects, or rejects with the reason of `signal`. */
export const unlessAborted = async <T>(answer: Promise<T>, signal: AbortSignal): Promise<T> => {
  signal.throwIfAborted();
  const { promise: stopped, reject } = Promise.withResolvers<never>();
  const stop = (): void => reject(signal.reason);
  signal.addEventListener("abort", stop, { once: true });
  try {
    return await Promise.race([answer, stopped]);
  } finally {
    signal.removeEventListener("abort", stop);
  }
};
