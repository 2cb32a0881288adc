import { createServer as createHttp1Server, type Server as Http1Server } from "node:http";
import {
  createServer as createHttp2Server,
  type Http2Server,
  type ServerHttp2Stream,
} from "node:http2";
import { serverLimits } from "../limits.ts";
import type { Connections } from "./connections.ts";
import type { Dispatch } from "./dispatch.ts";
import type { Grpc } from "./grpc/grpc.ts";

export type HttpServers = { readonly http1: Http1Server; readonly http2: Http2Server };

/** HTTP/1 and HTTP/2 without a port of their own. Their own time limits do not hold for sockets handed over. */
export const makeHttpServers = (): HttpServers => {
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
export const handRequests = (
  { http1, http2 }: HttpServers,
  connections: Connections,
  { dispatch, grpc }: { readonly dispatch: Dispatch; readonly grpc: Grpc },
): void => {
  http1.on("request", (request, response) => {
    connections.enter(request, response);
    dispatch(request, response);
  });
  // Makes requests and answers of streams; has no connections of its own.
  const requests = createHttp2Server().on("request", dispatch);
  http2.on("stream", (stream: ServerHttp2Stream, headers, flags, rawHeaders) => {
    if (!connections.enterStream(stream)) return;
    if (!grpc.take(stream, headers)) requests.emit("stream", stream, headers, flags, rawHeaders);
  });
};
