import { createServer as createHttp1Server, type Server as Http1Server } from "node:http";
import {
  createServer as createHttp2Server,
  type Http2Server,
  type ServerHttp2Stream,
} from "node:http2";
import type { Server as NetServer, Socket } from "node:net";
import { Code, ConnectError, type ConnectRouter, type HandlerContext } from "@connectrpc/connect";
import type { Clock } from "../clock.ts";
import { Health } from "../gen/grpc/health/v1/health_pb.ts";
import { ServerReflection } from "../gen/grpc/reflection/v1/reflection_pb.ts";
import { ServerReflection as ServerReflectionAlpha } from "../gen/grpc/reflection/v1alpha/reflection_pb.ts";
import { serverLimits } from "../limits.ts";
import { makeKeyCheck, missingKeyMessage } from "./api-keys.ts";
import { type Connections, makeConnections } from "./connections.ts";
import { makeOriginCheck } from "./cors.ts";
import { connectionsAllowed } from "./descriptors.ts";
import { type Dispatch, makeDispatch } from "./dispatch.ts";
import { type Grpc, makeGrpc } from "./grpc/grpc.ts";
import { makeHealth } from "./health.ts";
import { listen, makeSocketServer, type TlsFiles } from "./listen.ts";
import type { Log } from "../log.ts";
import { makeThrottledWarning } from "./log.ts";
import { makeReflection } from "./reflection.ts";
import { makeRpc } from "./rpc.ts";
import { makeSweep } from "./sweep.ts";
import type { PortWatch } from "./watch.ts";
import type { HttpRequest } from "./exchange.ts";

export type ServerOptions = {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  readonly tls: TlsFiles | null;
  /** Empty: nobody needs a key. */
  readonly apiKeys: readonly string[];
  readonly corsOrigins: readonly string[];
  /** Adds the services; health and reflection come by themselves. */
  readonly routes: (router: ConnectRouter) => void;
  /** null: ready; else the reason, in a sentence for the operator. */
  readonly ready: () => Promise<string | null>;
  /** What the operator should know though all is ready; shown on /readyz. */
  readonly warnings: () => Promise<readonly string[]>;
  /** Prometheus text. */
  readonly metrics: () => Promise<string>;
  readonly watch: PortWatch;
  readonly clock: Clock;
  readonly log: Log;
};

export type Server = {
  readonly port: number;
  readonly url: string;
  /**
   * Refuses what is new, tells clients to go elsewhere and waits for the calls that run; shortly before the deadline
   * their signals abort with UNAVAILABLE, at the deadline what is left is destroyed.
   */
  readonly drain: (deadlineMs: number) => Promise<void>;
  /** Takes the TLS files as they are now for connections to come. Fails with invalid_argument, and changes nothing then. */
  readonly renewTls: () => Promise<void>;
  /** Destroys every connection at once. It and drain may be called in any order, and again. */
  readonly close: () => Promise<void>;
};

type Parts = {
  readonly sockets: NetServer;
  readonly http1: Http1Server;
  readonly http2: Http2Server;
  readonly connections: Connections;
};

/** HTTP/1 and HTTP/2 without a port of their own. Their own time limits do not hold for sockets handed over. */
const makeHttpServers = (): { http1: Http1Server; http2: Http2Server } => {
  const http1 = createHttp1Server({
    maxHeaderSize: serverLimits.headerBytesMax,
    // Announced in Keep-Alive, a little less than what is kept.
    keepAliveTimeout: serverLimits.idleMs - serverLimits.sweepIntervalMs,
  });
  http1.on("clientError", (_, socket) => {
    if (socket.writable) socket.end("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
    else socket.destroy();
  });
  const http2 = createHttp2Server({
    settings: {
      maxConcurrentStreams: serverLimits.streamsAtFirst,
      maxHeaderListSize: serverLimits.headerBytesMax,
    },
    maxSessionMemory: serverLimits.sessionMemoryMb,
    maxHeaderListPairs: serverLimits.headerPairsMax,
    streamResetBurst: serverLimits.streamResetsBurst,
    streamResetRate: serverLimits.streamResetsPerSecond,
  });
  http2.on("sessionError", () => {});
  return { http1, http2 };
};

/** Each request is counted; calls in plain gRPC go their own short way, all else to `dispatch`. */
const handRequests = (
  { http1, http2, connections }: Omit<Parts, "sockets">,
  dispatch: Dispatch,
  grpc: Grpc,
): void => {
  http1.on("request", (request, response) => {
    connections.enter(request, response);
    dispatch(request, response);
  });
  // Makes requests and answers of streams; has no connections of its own.
  const requests = createHttp2Server().on("request", dispatch);
  http2.on("stream", (stream: ServerHttp2Stream, headers, flags, rawHeaders) => {
    connections.enterStream(stream);
    if (!grpc.take(stream, headers)) requests.emit("stream", stream, headers, flags, rawHeaders);
  });
};

type Doorkeeper = {
  readonly gate: (context: HandlerContext) => void;
  readonly hasKey: (request: HttpRequest) => boolean;
};

/** Who may call: with a key and while there is room; health is for all and always. */
const makeDoorkeeper = (
  { apiKeys, clock, log, watch }: ServerOptions,
  calls: () => number,
): Doorkeeper => {
  const check = makeKeyCheck(apiKeys);
  const warn = makeThrottledWarning(log, clock);
  return {
    gate: (context) => {
      if (context.service.typeName === Health.typeName) return;
      if (!check((name) => context.requestHeader.get(name) ?? undefined)) {
        watch.refused("key");
        const { pathname } = new URL(context.url);
        warn("a call without a valid API key was refused", { path: pathname });
        throw new ConnectError(missingKeyMessage, Code.Unauthenticated);
      }
      if (calls() > serverLimits.callsMax) {
        watch.refused("room");
        const message = `the server has ${serverLimits.callsMax} open calls: try again later`;
        throw new ConnectError(message, Code.ResourceExhausted);
      }
    },
    hasKey: ({ headers, url }) => {
      const header = (name: string): string | undefined => {
        const value = headers[name];
        return Array.isArray(value) ? value.join(", ") : value;
      };
      if (check(header)) return true;
      watch.refused("key");
      warn("a request without a valid API key was refused", { path: url?.split("?", 1)[0] });
      return false;
    },
  };
};

const wait = async (clock: Clock, delayMs: number, done: Promise<void>): Promise<void> =>
  new Promise((resolve) => {
    const cancel = clock.after(Math.max(0, delayMs), resolve);
    void done.then(cancel).then(resolve);
  });

const makeEnding = (
  { sockets, http1, http2, connections }: Parts,
  clock: Clock,
  shutdown: AbortController,
): Pick<Server, "drain" | "close"> => {
  const closed = new Promise<void>((resolve) => sockets.once("close", () => resolve()));
  let draining: Promise<void> | null = null;
  const close = async (): Promise<void> => {
    sockets.close();
    const empty = connections.goodbye();
    connections.destroyAll();
    http1.close();
    http2.close();
    // The port may be closed before its last sockets are.
    await Promise.all([closed, empty]);
  };
  const drain = async (deadlineMs: number): Promise<void> => {
    sockets.close();
    const empty = connections.goodbye();
    const graceMs = Math.min(serverLimits.drainAbortMs, deadlineMs / 2);
    let left = true;
    void empty.then(() => (left = false));
    await wait(clock, deadlineMs - graceMs, empty);
    if (left) {
      const message = "the server is stopping: connect again and go on after the last sequence_id";
      shutdown.abort(new ConnectError(message, Code.Unavailable));
      await wait(clock, graceMs, empty);
    }
    await close();
  };
  return {
    close,
    drain: async (deadlineMs) => (draining ??= drain(deadlineMs)),
  };
};

/**
 * Opens the port: gRPC, gRPC-Web, Connect and the plain paths, on HTTP/1.1 and HTTP/2 alike. The caller closes it.
 * TLS files that cannot be used are `invalid_argument`, a port that cannot be had `unavailable`.
 */
export const openServer = async (options: ServerOptions): Promise<Server> => {
  const { host, port, tls, clock, log, watch } = options;
  const sweep = makeSweep(clock);
  const { http1, http2 } = makeHttpServers();
  const connectionsMax = await connectionsAllowed();
  const connections = makeConnections({ http1, http2, sweep, connectionsMax, watch });
  const shutdown = new AbortController();
  const shutdownSignal = shutdown.signal;
  let stopping = false;

  const { gate, hasKey } = makeDoorkeeper(options, connections.calls);
  // Known once all have been added, these among them.
  const services = () => rpc.services;
  const health = makeHealth({
    ready: options.ready,
    services: () => services().map(({ service }) => service.typeName),
    clock,
  });
  const rpc = makeRpc({
    ...options,
    routes: (router) => {
      options.routes(router);
      const reflection = makeReflection(() => services().map(({ service }) => service));
      router.service(Health, health.implementation);
      router.service(ServerReflection, reflection);
      router.service(ServerReflectionAlpha, reflection);
    },
    gate,
    shutdownSignal,
    sweep,
  });
  const checkOrigin = makeOriginCheck(options.corsOrigins);
  const dispatch = makeDispatch({ ...options, rpc, checkOrigin, hasKey });
  const grpc = makeGrpc({
    ...options,
    services: rpc.services,
    gate,
    shutdownSignal,
    sweep,
    hasAsked: connections.hasAsked,
  });
  handRequests({ http1, http2, connections }, dispatch, grpc);

  const warnFull = makeThrottledWarning(log, clock);
  const accept = (socket: Socket): boolean => {
    const accepted = connections.accept(socket);
    if (!accepted && !stopping) warnFull("no room for another connection", { connectionsMax });
    return accepted;
  };
  const { sockets, renewTls } = await makeSocketServer(
    tls,
    { accept, sniff: connections.sniff },
    log,
  );
  const portBound = await listen(sockets, { host, port }, clock, log);
  sockets.on("error", (error) => log("error", "the port failed", { cause: error.message }));

  const ending = makeEnding({ sockets, http1, http2, connections }, clock, shutdown);
  const stop = (): void => {
    stopping = true;
    health.stop();
  };
  const name = host.includes(":") ? `[${host}]` : host;
  return {
    port: portBound,
    renewTls,
    url: `${tls === null ? "http" : "https"}://${name}:${portBound}`,
    drain: async (deadlineMs) => {
      stop();
      await ending.drain(deadlineMs);
    },
    close: async () => {
      stop();
      await ending.close();
    },
  };
};
