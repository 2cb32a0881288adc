import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";
import type { Log } from "../log.ts";
import { type AskedJson, askedJsonKey } from "./asked-json.ts";
import { tooLarge } from "./frames.ts";
import type { Sweep } from "./sweep.ts";
import { timed } from "./timed.ts";
import { type CallWatch, nameOf } from "./watch.ts";
import { sendable } from "./words.ts";

/** How connect names a message that does not parse; it answers INTERNAL, though the client is at fault. */
const parseFailure = /^parse binary: /;

/** And one that is too large: by the name of an option. */
const sizeFailure = /^message size (?:(\d+) )?is larger than configured readMaxBytes/;

/** The failure as it is sent; what is wrong about it is mended in place, since connect may hold it already. */
const corrected = (error: ConnectError, asked: AskedJson | null): ConnectError => {
  const misfit = error.code === Code.InvalidArgument ? (asked?.misfit() ?? null) : null;
  const { code, rawMessage } = rightOf(error);
  return Object.assign(error, { code, rawMessage: sendable(misfit ?? rawMessage) });
};

function rightOf({ code, rawMessage }: ConnectError): { code: Code; rawMessage: string } {
  if (code === Code.Internal && parseFailure.test(rawMessage))
    return {
      code: Code.InvalidArgument,
      rawMessage: `the request message is not valid protobuf: ${rawMessage.replace(parseFailure, "")}`,
    };
  const size = sizeFailure.exec(rawMessage);
  return { code, rawMessage: size === null ? rawMessage : tooLarge(size[1] ?? "more") };
}

/**
 * Corrects the failure behind `signal`: a unary request that cannot be read is the client's fault. Connect reads it
 * outside of every interceptor, but aborts the call's signal with the error before it writes the error down.
 */
export const correctReadFailure = (signal: AbortSignal, asked: AskedJson): void => {
  const correct = (): void => {
    const reason: unknown = signal.reason;
    if (reason instanceof ConnectError) corrected(reason, asked);
  };
  signal.addEventListener("abort", correct, { once: true });
};

/** What a reader of a request gets when its bytes stop: the client's doing, unless connect says otherwise. */
export const requestFailure = (error: unknown, asked: AskedJson | null): ConnectError => {
  if (!(error instanceof ConnectError)) {
    return new ConnectError("the client ended the call in mid-request", Code.Canceled);
  }
  return corrected(error, asked);
};

const abortedWith = (signal: AbortSignal): ConnectError | null => {
  const reason: unknown = signal.aborted ? signal.reason : null;
  return reason instanceof ConnectError ? reason : null;
};

const causesMax = 4;

/** The stack, and those of what caused it. */
const traceOf = (error: unknown, causesLeft = causesMax): string => {
  if (!(error instanceof Error)) return String(error);
  const trace = error.stack ?? error.message;
  const caused = error.cause !== undefined && causesLeft > 0;
  return caused ? `${trace}\ncaused by ${traceOf(error.cause, causesLeft - 1)}` : trace;
};

type Call = { readonly name: string; readonly signal: AbortSignal; readonly log: Log };
type WatchedCall = Call & { readonly watch: CallWatch };

/**
 * What a handler's failure is to the client: its own ConnectError; of an aborted call the reason (deadline, shutdown,
 * cancellation); anything else is a bug, logged with its stack and answered INTERNAL without a word of it.
 */
export const handlerFailure = (error: unknown, { name, signal, log }: Call): ConnectError => {
  if (error instanceof ConnectError && error.code !== Code.Unknown) return corrected(error, null);
  const reason = abortedWith(signal);
  if (reason !== null) return reason;
  if (signal.aborted) return new ConnectError("the client ended the call", Code.Canceled);
  log("error", "a call failed by a bug", { call: name, cause: traceOf(error) });
  return new ConnectError("internal error: the server's log has the cause", Code.Internal);
};

/** A handler may answer an abort by simply ending; the client must not take that for the whole answer. */
const guardOutput = <T>(messages: AsyncIterable<T>, call: WatchedCall): AsyncIterable<T> => ({
  [Symbol.asyncIterator]: () => {
    const source = messages[Symbol.asyncIterator]();
    const fail = (error: unknown): never => {
      const failure = handlerFailure(error, call);
      call.watch.ended(call.signal, failure);
      throw failure;
    };
    const settle = (result: IteratorResult<T, unknown>): IteratorResult<T, undefined> => {
      if (result.done !== true) return { done: false, value: result.value };
      const reason = abortedWith(call.signal);
      call.watch.ended(call.signal, reason);
      if (reason !== null) throw reason;
      return { done: true, value: undefined };
    };
    /** What an aborted call has still to say is not waited for, nor is whoever would read it. */
    const stop = async (reason: ConnectError): Promise<never> => {
      await source.return?.();
      return fail(reason);
    };
    return {
      next: async () => {
        const reason = abortedWith(call.signal);
        return reason === null ? source.next().then(settle, fail) : stop(reason).catch(fail);
      },
      throw: async (error: unknown) => {
        if (source.throw === undefined) throw error;
        return settle(await source.throw(error));
      },
      return: async () => {
        await source.return?.();
        return { done: true, value: undefined };
      },
    };
  },
});

/**
 * Stands between connect and every handler. Handlers must know: `signal` aborts after a success too, so an abort is no
 * failure; they release what they hold on `signal`, since a reader may wait on a client that never speaks again; a
 * stream of requests without a first message in time is DEADLINE_EXCEEDED, and one that ends without any is
 * INVALID_ARGUMENT.
 */
export const makeGuard =
  (log: Log, sweep: Sweep, watch: CallWatch): Interceptor =>
  (next) =>
  async (request) => {
    const call = { name: nameOf(request.method), signal: request.signal, log, watch };
    const asked = request.contextValues.get(askedJsonKey);
    const failure = (error: unknown): ConnectError => requestFailure(error, asked);
    try {
      if (!request.stream) {
        asked.is(null);
        const response = await next(request);
        watch.ended(request.signal, null);
        return response;
      }
      const message = timed(request.message, { sweep, until: "first", failure });
      request.signal.addEventListener("abort", message.cancel, { once: true });
      const response = await next({ ...request, message });
      return response.stream
        ? { ...response, message: guardOutput(response.message, call) }
        : response;
    } catch (error) {
      const failed = handlerFailure(error, call);
      watch.ended(request.signal, failed);
      throw failed;
    }
  };
