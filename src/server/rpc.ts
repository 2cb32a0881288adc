import { constants, type ServerHttp2Stream } from "node:http2";
import {
  Code,
  type ConnectError,
  type ConnectRouter,
  createConnectRouter,
  createContextKey,
  createContextValues,
  createServiceImplSpec,
  type HandlerContext,
  type ServiceImplSpec,
} from "@connectrpc/connect";
import {
  compressionGzip,
  universalRequestFromNodeRequest,
  universalResponseToNodeResponse,
} from "@connectrpc/connect-node";
import type {
  UniversalHandler,
  UniversalServerRequest,
  UniversalServerResponse,
} from "@connectrpc/connect/protocol";
import { messageOf } from "../errors.ts";
import { requestLimits, serverLimits } from "../limits.ts";
import { askedJsonKey, makeAskedJson } from "./asked-json.ts";
import { clampDeadline } from "./deadline-header.ts";
import { correctReadFailure, makeGuard, requestFailure } from "./failures.ts";
import type { Intake } from "./intake.ts";
import type { Log } from "../log.ts";
import { pace } from "./pace.ts";
import { refuse, type Refusal } from "./refusal.ts";
import { roomLimits } from "./room-limits.ts";
import type { Room } from "./room.ts";
import type { Sweep } from "./sweep.ts";
import { timed } from "./timed.ts";
import { makeUnzip, type Unzip } from "./unzip.ts";
import { vetted } from "./vetted.ts";
import { fromWebText, toWebText } from "./web-text.ts";
import { grpcMessageOf } from "./words.ts";
import { makeCallWatch, type PortWatch } from "./watch.ts";
import type { HttpRequest, HttpResponse } from "./exchange.ts";

type Exchange = { readonly request: HttpRequest; readonly response: HttpResponse };

export type Rpc = {
  /** Every path that is a call. */
  readonly handlers: ReadonlyMap<string, UniversalHandler>;
  readonly services: readonly ServiceImplSpec[];
  /** Answers one call in whichever of the three protocols it came; never throws. */
  readonly serve: (handler: UniversalHandler, exchange: Exchange) => Promise<void>;
};

export type RpcOptions = {
  readonly routes: (router: ConnectRouter) => void;
  /** Runs before a call's body is read; a ConnectError refuses the call. */
  readonly gate: (context: HandlerContext) => void;
  /** Its abort aborts every call, with its reason. */
  readonly shutdownSignal: AbortSignal;
  /** Called with a stream of which a message has come. */
  readonly hasAsked: (stream: ServerHttp2Stream) => void;
  readonly sweep: Sweep;
  readonly watch: PortWatch;
  readonly room: Room;
  readonly intake: Intake;
  readonly log: Log;
};

const isByteStream = (body: UniversalServerRequest["body"]): body is AsyncIterable<Uint8Array> =>
  typeof body === "object" && body !== null && Symbol.asyncIterator in body;

/** Connect refuses a call in the wrong shape with a bare HTTP status; this is what it means. */
const shapeRefusal = (
  { status, header }: UniversalServerResponse,
  { method, supportedContentType }: UniversalHandler,
  request: HttpRequest,
): Refusal => {
  const contentType = request.headers["content-type"] ?? "none";
  const unary = method.methodKind === "unary";
  const types = ["json", "proto"].map((format) =>
    unary ? `application/${format}` : `application/connect+${format}`,
  );
  const offer = [...types, "application/grpc", "application/grpc-web"].filter((type) =>
    supportedContentType(type),
  );
  const base = { code: Code.Unimplemented, httpStatus: status };
  switch (status) {
    case 405:
      return {
        ...base,
        message: `${method.name} is called with POST, not ${request.method ?? "nothing"}`,
        headers: { allow: "POST" },
      };
    case 505:
      return {
        ...base,
        message: `${method.name} streams in both directions, which needs HTTP/2; SendMessage is the same turn as one call`,
        headers: Object.fromEntries(header ?? []),
      };
    default:
      return {
        code: Code.InvalidArgument,
        httpStatus: status,
        message: `${method.name} does not take content-type ${contentType}; it takes ${offer.join(", ")}`,
        headers: { "accept-post": offer.join(", ") },
      };
  }
};

/** A call that takes one message must have sent it in time; streams wait for their first one further in. */
const withTimedBody = (
  universal: UniversalServerRequest,
  { response }: Exchange,
  sweep: Sweep,
): UniversalServerRequest => {
  if (!isByteStream(universal.body)) return universal;
  const failure = (error: unknown): ConnectError => requestFailure(error, null);
  const body = timed(universal.body, { sweep, until: "end", failure });
  response.once("close", body.cancel);
  return { ...universal, body };
};

type Vetting = Pick<RpcOptions, "room" | "intake" | "hasAsked"> & { readonly unzip: Unzip };

/** What is passed on is not zipped any more. */
const withVettedBody = (
  universal: UniversalServerRequest,
  { method }: UniversalHandler,
  { response }: Exchange,
  { room, unzip, intake, hasAsked }: Vetting,
): UniversalServerRequest => {
  const { body, header } = universal;
  if (!isByteStream(body)) return universal;
  const contentType = header.get("content-type") ?? "";
  const isFramed = /^application\/(grpc|connect\+)/.test(contentType);
  const encodings = isFramed ? ["grpc-encoding", "connect-content-encoding"] : ["content-encoding"];
  const isZipped = encodings.some((name) => header.get(name) === compressionGzip.name);
  if (isZipped && !isFramed)
    for (const name of ["content-encoding", "content-length"]) header.delete(name);
  const isJson = /json(;|$)/.test(contentType);
  const form = { type: method.input, isJson, isFramed, isZipped };
  const share = room.share();
  response.once("close", share.close);
  const came = (): void => {
    if ("stream" in response) hasAsked(response.stream);
  };
  const asked = makeAskedJson(method.input);
  universal.contextValues?.set(askedJsonKey, asked);
  const means = { share, unzip, intake, came, asked };
  return { ...universal, body: vetted(body, form, means) };
};

/** Connect takes one in any case. */
const normalizeContentType = (header: Headers): void => {
  const type = header.get("content-type");
  if (type === null) return;
  header.set("content-type", type.slice(0, roomLimits.contentTypeCharsMax).toLowerCase());
};

/** Connect escapes more of a gRPC status' message than all clients take back. */
const respell = (trailer: Headers | undefined): void => {
  const message = trailer?.get("grpc-message") ?? null;
  if (message !== null) trailer?.set("grpc-message", grpcMessageOf(decodeURIComponent(message)));
};

const withPacedBody = (
  answer: UniversalServerResponse,
  { response }: Exchange,
  room: Room,
): UniversalServerResponse => {
  const { body, trailer } = answer;
  if (body === undefined) return answer;
  const share = room.share();
  response.once("close", share.close);
  return { ...answer, body: pace(body, share, () => respell(trailer)) };
};

/** Connect awaits a blocked write's drain for ever when the client is gone, and the handler with it. */
const releaseWriterOnClose = (response: HttpResponse): void => {
  response.once("close", () => queueMicrotask(() => void response.emit("drain")));
};

/** Ends a call for which its client's reading is not waited any more. */
const cutOffKey = createContextKey(() => {}, { description: "ends an answer that is not read" });

/** A writer that waits is let go on, to the end; what of the answer is not read soon is not waited for. */
const makeCutOff =
  ({ request, response }: Exchange, sweep: Sweep) =>
  (): void => {
    response.emit("drain");
    const close = (): void => {
      if ("stream" in response) response.stream.close(constants.NGHTTP2_CANCEL);
      else request.socket.destroy();
    };
    response.once("close", sweep.watch(serverLimits.goodbyeMs, close));
  };

const badUrl: Refusal = {
  code: Code.InvalidArgument,
  httpStatus: 400,
  message: "the request has no usable host or path",
};

/** null: its host and path make no URL. */
const universalOf = (exchange: Exchange, sweep: Sweep): UniversalServerRequest | null => {
  const { request, response } = exchange;
  const values = createContextValues().set(cutOffKey, makeCutOff(exchange, sweep));
  try {
    return universalRequestFromNodeRequest(request, response, undefined, values);
  } catch {
    return null;
  }
};

export const makeRpc = (parts: RpcOptions): Rpc => {
  const { routes, gate, shutdownSignal, sweep, log } = parts;
  const vetting = { ...parts, unzip: makeUnzip() };
  const watch = makeCallWatch(parts.watch);
  const router = createConnectRouter({
    acceptCompression: [compressionGzip],
    readMaxBytes: requestLimits.messageBytesMax,
    writeMaxBytes: serverLimits.responseBytesMax,
    interceptors: [makeGuard(log, sweep, watch)],
    requestGate: (context) => {
      gate(context);
      // Before the watch listens: it is to be told the corrected code.
      if (context.method.methodKind === "unary")
        correctReadFailure(context.signal, context.values.get(askedJsonKey));
      watch.began(context.method, context.signal, context.values.get(cutOffKey));
    },
    shutdownSignal,
  });
  const services: ServiceImplSpec[] = [];
  const noting: ConnectRouter = {
    ...router,
    service: (service, implementation, options) => {
      services.push(createServiceImplSpec(service, implementation));
      router.service(service, implementation, options);
      return noting;
    },
  };
  routes(noting);
  const handlers = new Map(router.handlers.map((handler) => [handler.requestPath, handler]));

  const answer = async (
    handler: UniversalHandler,
    exchange: Exchange,
    universal: UniversalServerRequest,
  ): Promise<void> => {
    const { request, response } = exchange;
    clampDeadline(universal.header);
    normalizeContentType(universal.header);
    const streamsIn = /^(client|bidi)_streaming$/.test(handler.method.methodKind);
    const timely = streamsIn ? universal : withTimedBody(universal, exchange, sweep);
    const asked = fromWebText(timely);
    const answered = await handler(withVettedBody(asked ?? timely, handler, exchange, vetting));
    const result = asked === null ? answered : toWebText(answered);
    if (result.body === undefined && result.status >= 400) {
      refuse(request, response, shapeRefusal(result, handler, request));
      return;
    }
    await universalResponseToNodeResponse(withPacedBody(result, exchange, parts.room), response);
  };
  return {
    handlers,
    services,
    serve: async (handler, exchange) => {
      const universal = universalOf(exchange, sweep);
      if (universal === null) {
        refuse(exchange.request, exchange.response, badUrl);
        return;
      }
      releaseWriterOnClose(exchange.response);
      try {
        await answer(handler, exchange, universal);
      } catch (error) {
        log("debug", "an answer could not be sent", { error: messageOf(error) });
        exchange.response.destroy();
      }
    },
  };
};
