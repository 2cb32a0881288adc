import { Code } from "@connectrpc/connect";
import type { Clock } from "../clock.ts";
import { messageOf } from "../errors.ts";
import { missingKeyMessage } from "./api-keys.ts";
import type { OriginVerdict } from "./cors.ts";
import type { Log } from "../log.ts";
import { askReady } from "./readiness.ts";
import { refuse, type Refusal } from "./refusal.ts";
import type { Rpc } from "./rpc.ts";
import type { HttpRequest, HttpResponse } from "./exchange.ts";

type DispatchOptions = {
  readonly rpc: Rpc;
  readonly checkOrigin: (request: HttpRequest, response: HttpResponse) => OriginVerdict;
  readonly hasKey: (request: HttpRequest) => boolean;
  readonly ready: () => Promise<string | null>;
  readonly warnings: () => Promise<readonly string[]>;
  readonly metrics: () => Promise<string>;
  readonly clock: Clock;
  readonly log: Log;
};

export type Dispatch = (request: HttpRequest, response: HttpResponse) => void;

const say = (response: HttpResponse, status: number, text: string): void => {
  response.writeHead(status, { "content-type": "text/plain; charset=utf-8" });
  response.end(text);
};

const pathOf = (request: HttpRequest): string => request.url?.split("?", 1)[0] ?? "";

/** HTTP/1.1 demands exactly one Host; two are how requests are smuggled past proxies. The runtime checks neither. */
const hostRefusal = (request: HttpRequest): string | null => {
  if (request.httpVersionMajor > 1) return null;
  const names = request.rawHeaders.filter((_, at) => at % 2 === 0);
  const hosts = names.filter((name) => name.toLowerCase() === "host").length;
  if (hosts > 1) return "the request has more than one Host header";
  return hosts === 0 && request.httpVersion === "1.1" ? "the request has no Host header" : null;
};

type PlainAnswer = (response: HttpResponse) => void | Promise<void>;

/** The paths that are no calls: `open` ones tell nothing worth a key. */
const makePlainPaths = (
  options: DispatchOptions,
): { open: ReadonlyMap<string, PlainAnswer>; locked: ReadonlyMap<string, PlainAnswer> } => {
  const { ready, warnings, metrics, clock, log } = options;
  const readyz: PlainAnswer = async (response) => {
    const reason = await askReady(ready, clock);
    const known = await warnings().catch((): readonly string[] => []);
    const lines = [reason ?? "ok", ...known.map((warning) => `warning: ${warning}`)];
    say(response, reason === null ? 200 : 503, `${lines.join("\n")}\n`);
  };
  const scrape: PlainAnswer = async (response) => {
    try {
      const text = await metrics();
      response.writeHead(200, { "content-type": "text/plain; version=0.0.4; charset=utf-8" });
      response.end(text);
    } catch (error) {
      log("error", "the metrics could not be collected", { cause: messageOf(error) });
      say(response, 500, "the metrics could not be collected; the server's log has the cause\n");
    }
  };
  const healthz: PlainAnswer = (response) => say(response, 200, "ok\n");
  return {
    open: new Map(Object.entries({ "/healthz": healthz, "/readyz": readyz })),
    locked: new Map(Object.entries({ "/metrics": scrape })),
  };
};

const answerPlain = (answer: PlainAnswer, request: HttpRequest, response: HttpResponse): void => {
  if (request.method === "GET" || request.method === "HEAD") {
    void answer(response);
    return;
  }
  refuse(request, response, {
    code: Code.Unimplemented,
    httpStatus: 405,
    message: `${pathOf(request)} is read with GET, not ${request.method ?? "nothing"}`,
    headers: { allow: "GET, HEAD" },
  });
};

const badHost = (message: string): Refusal => ({
  code: Code.InvalidArgument,
  httpStatus: 400,
  message,
  headers: { connection: "close" },
});

const foreignOrigin: Refusal = {
  code: Code.PermissionDenied,
  httpStatus: 403,
  message: "pages of this origin may not call this server: add it to CORS_ORIGINS",
};

const noKey: Refusal = {
  code: Code.Unauthenticated,
  httpStatus: 401,
  message: missingKeyMessage,
};

/** The listener of both HTTP servers: who may ask, then a call, a plain path, or neither. */
export const makeDispatch = (options: DispatchOptions): Dispatch => {
  const { rpc, checkOrigin, hasKey } = options;
  const plain = makePlainPaths(options);

  const nothingHere = (request: HttpRequest): Refusal => {
    const calls = rpc.services.map(({ service }) => `/${service.typeName}/`);
    const paths = [...plain.open.keys(), ...plain.locked.keys()];
    // gRPC has a code of its own for a method that is not there.
    const grpc = request.headers["content-type"]?.startsWith("application/grpc") === true;
    return {
      code: grpc ? Code.Unimplemented : Code.NotFound,
      httpStatus: 404,
      message: `nothing is served at ${pathOf(request)}; calls are POST to ${calls.join(", ")} and a method's name, plain paths are GET ${paths.join(", ")}`,
    };
  };
  const answerPermitted: Dispatch = (request, response) => {
    const path = pathOf(request);
    const handler = rpc.handlers.get(path);
    if (handler !== undefined) {
      // Its key is checked further in, where the refusal can be written in the call's protocol.
      void rpc.serve(handler, { request, response });
      return;
    }
    const locked = plain.locked.get(path);
    if (!hasKey(request)) refuse(request, response, noKey);
    else if (locked !== undefined) answerPlain(locked, request, response);
    else refuse(request, response, nothingHere(request));
  };
  return (request, response) => {
    const host = hostRefusal(request);
    if (host !== null) {
      refuse(request, response, badHost(host));
      return;
    }
    const health = plain.open.get(pathOf(request));
    const origin = checkOrigin(request, response);
    if (origin === "answered") return;
    if (health !== undefined) answerPlain(health, request, response);
    else if (origin === "foreign") refuse(request, response, foreignOrigin);
    else answerPermitted(request, response);
  };
};
