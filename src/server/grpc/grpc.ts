import type { IncomingHttpHeaders, ServerHttp2Stream } from "node:http2";
import {
  create,
  type DescMessage,
  fromBinary,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  Code,
  ConnectError,
  type HandlerContext,
  type MethodImplSpec,
  type ServiceImplSpec,
} from "@connectrpc/connect";
import { parseTimeout } from "@connectrpc/connect/protocol-grpc";
import { type Clock, timerMsMax } from "../../clock.ts";
import { messageOf } from "../../errors.ts";
import { serverLimits } from "../../limits.ts";
import type { Log } from "../../log.ts";
import { handlerFailure } from "../failures.ts";
import { mustHaveFewFields } from "../parts.ts";
import type { Sweep } from "../sweep.ts";
import { type CallContext, openContext } from "./context.ts";
import { type Input, readInput } from "./input.ts";
import { openOutput, type Output } from "./output.ts";

/*
 * Plain gRPC over HTTP/2, without connect's pipeline of generators: it costs a sixth of the time and half of the memory
 * of a call. Whatever else may come (compressed messages, JSON, gRPC-Web, Connect) is left to connect.
 */

type GrpcOptions = {
  readonly services: readonly ServiceImplSpec[];
  /** Runs before a call's body is read; a ConnectError refuses the call. */
  readonly gate: (context: HandlerContext) => void;
  /** Its abort aborts every call, with its reason. */
  readonly shutdownSignal: AbortSignal;
  readonly sweep: Sweep;
  readonly clock: Clock;
  readonly log: Log;
};

export type Grpc = {
  /** Takes a stream that is a call in plain gRPC and answers it; false: it is none. Never throws. */
  readonly take: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => boolean;
};

type Call = {
  readonly input: Input;
  readonly output: Output;
  readonly context: CallContext;
};

const plainTypes: ReadonlySet<string | undefined> = new Set([
  "application/grpc",
  "application/grpc+proto",
]);

/** A page's call is looked at by its origin first. */
const isPlain = (headers: IncomingHttpHeaders): boolean =>
  headers[":method"] === "POST" &&
  plainTypes.has(headers["content-type"]) &&
  (headers["grpc-encoding"] ?? "identity") === "identity" &&
  headers.origin === undefined;

const ended = new ConnectError("the call has ended", Code.Canceled);

export function makeGrpc({ services, gate, shutdownSignal, sweep, clock, log }: GrpcOptions): Grpc {
  const methods: ReadonlyMap<string, MethodImplSpec> = new Map(
    services.flatMap(({ service, methods: all }) =>
      Object.values(all).map((spec) => [`/${service.typeName}/${spec.method.name}`, spec] as const),
    ),
  );
  /** Aborts the calls that run. */
  const running = new Set<(reason: ConnectError) => void>();
  shutdownSignal.addEventListener("abort", () => {
    const reason: unknown = shutdownSignal.reason;
    for (const abort of running) abort(ConnectError.from(reason, Code.Unavailable));
  });

  const answer = async (
    spec: MethodImplSpec,
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
  ): Promise<void> => {
    const input = readInput(stream);
    const output = openOutput(stream);
    const timeout = timeoutIn(headers);
    const endMs = clock.monotonicMs() + (timeout.ms ?? 0);
    const timeoutMs = () => (timeout.ms === undefined ? undefined : endMs - clock.monotonicMs());
    const context = openContext({ method: spec.method, headers, timeoutMs });
    const abort = (reason: ConnectError): void => {
      context.abort(reason);
      input.end(reason);
      output.end(reason);
    };
    running.add(abort);
    stream.once("close", () => {
      if (running.has(abort)) abort(new ConnectError("the client ended the call", Code.Canceled));
    });
    const cancelLate = sweep.watch(serverLimits.bodyMs, () => abort(lateRequest(spec)));
    const cancelDeadline =
      timeout.ms === undefined
        ? () => {}
        : clock.after(timeout.ms, () =>
            abort(new ConnectError("the operation timed out", Code.DeadlineExceeded)),
          );
    try {
      if (timeout.error !== undefined) throw timeout.error;
      gate(context);
      await perform(spec, { input, output, context }, cancelLate);
      if (context.reason !== null) throw context.reason;
      output.end(null);
    } catch (error) {
      const { parent, name } = spec.method;
      const { signal } = context;
      output.end(handlerFailure(error, { name: `${parent.typeName}/${name}`, signal, log }));
    } finally {
      cancelLate();
      cancelDeadline();
      running.delete(abort);
      input.end(ended);
      context.abort(null);
    }
  };

  return {
    take: (stream, headers) => {
      const path = headers[":path"]?.split("?", 1)[0] ?? "";
      const spec = isPlain(headers) ? methods.get(path) : undefined;
      if (spec === undefined) return false;
      stream.on("error", () => {});
      void answer(spec, stream, headers);
      return true;
    },
  };
}

/** Hands the request to the method and its answers to the client. `began`: the request, or its first part, is there. */
async function perform(spec: MethodImplSpec, call: Call, began: () => void): Promise<void> {
  const { input, output, context } = call;
  const say = (answer: MessageInitShape<DescMessage>): Promise<void> =>
    output.write(toBinary(spec.method.output, create(spec.method.output, answer)));
  const sayAll = async (answers: AsyncIterable<MessageInitShape<DescMessage>>): Promise<void> => {
    for await (const answer of answers) {
      if (context.reason !== null) return;
      await say(answer);
    }
  };
  switch (spec.kind) {
    case "unary":
      return say(await spec.impl(await onlyMessage(spec.method.input, input, began), context));
    case "server_streaming":
      return sayAll(spec.impl(await onlyMessage(spec.method.input, input, began), context));
    case "client_streaming":
      return say(await spec.impl(allMessages(spec.method.input, input, began), context));
    case "bidi_streaming":
      return sayAll(spec.impl(allMessages(spec.method.input, input, began), context));
  }
}

async function onlyMessage<T extends DescMessage>(
  type: T,
  input: Input,
  began: () => void,
): Promise<MessageShape<T>> {
  const bytes = await input.next();
  if (bytes === null)
    throw new ConnectError("the call has no request message", Code.InvalidArgument);
  if ((await input.next()) !== null)
    throw new ConnectError("the call takes one request message, not more", Code.InvalidArgument);
  began();
  return parsed(type, bytes);
}

/** A client's immediate reset looks like a regular end. */
async function* allMessages<T extends DescMessage>(
  type: T,
  input: Input,
  began: () => void,
): AsyncGenerator<MessageShape<T>> {
  let bytes = await input.next();
  began();
  if (bytes === null)
    throw new ConnectError("the call ended before its first message", Code.Canceled);
  for (; bytes !== null; bytes = await input.next()) yield parsed(type, bytes);
}

function parsed<T extends DescMessage>(type: T, bytes: Uint8Array): MessageShape<T> {
  mustHaveFewFields(type, bytes);
  try {
    return fromBinary(type, bytes);
  } catch (error) {
    throw new ConnectError(
      `the request message is not valid protobuf: ${messageOf(error)}`,
      Code.InvalidArgument,
    );
  }
}

function lateRequest({ kind }: MethodImplSpec): ConnectError {
  const seconds = serverLimits.bodyMs / 1000;
  const streams = kind === "bidi_streaming" || kind === "client_streaming";
  return new ConnectError(
    streams
      ? `no first message within ${seconds} s`
      : `the request was not complete within ${seconds} s`,
    Code.DeadlineExceeded,
  );
}

/** A timer holds no more than `timerMsMax`. */
function timeoutIn(headers: IncomingHttpHeaders): { ms?: number; error?: ConnectError } {
  const header = headers["grpc-timeout"];
  if (typeof header !== "string") return {};
  const { timeoutMs = 0, error } = parseTimeout(header, Infinity);
  return error === undefined ? { ms: Math.min(timeoutMs, timerMsMax) } : { error };
}
