import { constants, type IncomingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import {
  Code,
  ConnectError,
  type HandlerContext,
  type MethodImplSpec,
  type ServiceImplSpec,
} from "@connectrpc/connect";
import { parseTimeout } from "@connectrpc/connect/protocol-grpc";
import { type Clock, timerMsMax } from "../../clock.ts";
import { serverLimits } from "../../limits.ts";
import type { Log } from "../../log.ts";
import { handlerFailure } from "../failures.ts";
import type { Room } from "../room.ts";
import type { Sweep } from "../sweep.ts";
import { emptyStream, lateRequest } from "../timed.ts";
import { openContext } from "./context.ts";
import { readInput } from "./input.ts";
import { openOutput } from "./output.ts";
import { perform } from "./perform.ts";
import { codeOf, nameOf, type PortWatch } from "../watch.ts";

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
  readonly room: Room;
  readonly watch: PortWatch;
  /** Called with a stream whose first message has come. */
  readonly hasAsked: (stream: ServerHttp2Stream) => void;
  readonly clock: Clock;
  readonly log: Log;
};

type Surroundings = Omit<GrpcOptions, "services" | "shutdownSignal"> & {
  /** Aborts the calls that run. */
  readonly running: Set<(reason: ConnectError) => void>;
};

type Asked = { readonly stream: ServerHttp2Stream; readonly headers: IncomingHttpHeaders };

export type Grpc = {
  /** Takes a stream that is a call in plain gRPC and answers it; false: it is none. Never throws. */
  readonly take: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => boolean;
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
const gone = new ConnectError("the client ended the call", Code.Canceled);

export function makeGrpc(options: GrpcOptions): Grpc {
  const { services, shutdownSignal } = options;
  const methods: ReadonlyMap<string, MethodImplSpec> = new Map(
    services.flatMap(({ service, methods: all }) =>
      Object.values(all).map((spec) => [`/${service.typeName}/${spec.method.name}`, spec] as const),
    ),
  );
  const running: Surroundings["running"] = new Set();
  const surroundings = { ...options, running };
  shutdownSignal.addEventListener("abort", () => {
    const reason: unknown = shutdownSignal.reason;
    for (const abort of running) abort(ConnectError.from(reason, Code.Unavailable));
  });

  return {
    take: (stream, headers) => {
      const path = headers[":path"]?.split("?", 1)[0] ?? "";
      const spec = isPlain(headers) ? methods.get(path) : undefined;
      if (spec === undefined) return false;
      stream.on("error", () => {});
      void answer(surroundings, spec, { stream, headers });
      return true;
    },
  };
}

/** Answers one call; never fails. */
async function answer(
  { gate, sweep, room, watch, hasAsked, clock, log, running }: Surroundings,
  spec: MethodImplSpec,
  { stream, headers }: Asked,
): Promise<void> {
  const asked = room.share();
  const answered = room.share();
  const input = readInput(stream, asked);
  const output = openOutput(stream, answered);
  const timeout = timeoutIn(headers);
  const endMs = clock.monotonicMs() + (timeout.ms ?? 0);
  const timeoutMs = () => (timeout.ms === undefined ? undefined : endMs - clock.monotonicMs());
  const context = openContext({ method: spec.method, headers, timeoutMs });
  const abort = (reason: ConnectError): void => {
    context.abort(reason);
    input.end(reason);
    output.end(reason);
    if (!stream.destroyed) closeUnread(stream, sweep);
  };
  running.add(abort);
  stream.once("close", () => {
    if (running.has(abort)) abort(gone);
  });
  const cancelLate = sweep.watch(serverLimits.bodyMs, () =>
    abort(lateRequest(takesStream(spec) ? "first" : "end")),
  );
  const cancelDeadline =
    timeout.ms === undefined
      ? () => {}
      : clock.after(timeout.ms, () =>
          abort(new ConnectError("the operation timed out", Code.DeadlineExceeded)),
        );
  let tellEnd = (_code: string): void => {};
  try {
    gate(context);
    tellEnd = watch.began(nameOf(spec.method), spec.kind);
    if (timeout.error !== undefined) throw timeout.error;
    // Until there is one, a call is no more than its stream: floods of heads alone stay cheap.
    const first = await input.next();
    if (first === null) throw nothingAsked(spec);
    hasAsked(stream);
    await perform(spec, { first, input, output, context }, cancelLate);
    output.end(null);
    tellEnd(context.reason === null ? "ok" : codeOf(context.reason));
  } catch (error) {
    const { reason } = context;
    const name = nameOf(spec.method);
    // An aborted call makes no signal for its failure's sake: floods abort many.
    const failure = reason ?? handlerFailure(error, { name, signal: context.signal, log });
    tellEnd(codeOf(failure));
    // Aborted, it has been told why.
    if (reason === null) output.end(failure);
  } finally {
    cancelLate();
    cancelDeadline();
    running.delete(abort);
    input.end(ended);
    asked.close();
    answered.close();
    context.abort(null);
  }
}

/** Behind an answer that its client does not read, the status would wait for ever, and the stream with it. */
function closeUnread(stream: ServerHttp2Stream, sweep: Sweep): void {
  const close = (): void => stream.close(constants.NGHTTP2_CANCEL);
  stream.once("close", sweep.watch(serverLimits.goodbyeMs, close));
}

const takesStream = ({ kind }: MethodImplSpec): boolean =>
  kind === "bidi_streaming" || kind === "client_streaming";

const nothingAsked = (spec: MethodImplSpec): ConnectError =>
  takesStream(spec)
    ? emptyStream()
    : new ConnectError("the call has no request message", Code.InvalidArgument);

/** A timer holds no more than `timerMsMax`. */
function timeoutIn(headers: IncomingHttpHeaders): { ms?: number; error?: ConnectError } {
  const header = headers["grpc-timeout"];
  if (typeof header !== "string") return {};
  const { timeoutMs = 0, error } = parseTimeout(header, Infinity);
  return error === undefined ? { ms: Math.min(timeoutMs, timerMsMax) } : { error };
}
