import type { Server as Http1Server } from "node:http";
import type { Http2Server } from "node:http2";
import type { Socket } from "node:net";
import { serverLimits } from "../limits.ts";
import { type Connection, makeConnection, type Surroundings } from "./connection.ts";
import type { HttpRequest, HttpResponse } from "./exchange.ts";
import type { Sweep } from "./sweep.ts";

/** All connections of the port, and the calls that run on them. */
export type Connections = {
  /** Takes a new socket; false (and the socket destroyed) if there is no room for it. */
  readonly accept: (socket: Socket) => boolean;
  /** Finds out the protocol of an accepted socket; with TLS, once the handshake is done. */
  readonly sniff: (socket: Socket) => void;
  /** Counts a call, from its head to the close of its answer. */
  readonly enter: (request: HttpRequest, response: HttpResponse) => void;
  /** How many calls run. */
  readonly calls: () => number;
  /** Ends every connection, one with calls after them. Settles when all are gone. */
  readonly goodbye: () => Promise<void>;
  readonly destroyAll: () => void;
};

type ConnectionsOptions = {
  readonly http1: Http1Server;
  readonly http2: Http2Server;
  readonly sweep: Sweep;
  readonly connectionsMax: number;
};

/** An answer that came before the end of its request leaves the client the time of a goodbye to stop sending. */
const endUnreadRequest = (request: HttpRequest, response: HttpResponse, sweep: Sweep): void => {
  // HTTP/2's response finishes only with its stream, which waits for the request; the stream's own half is in time.
  const half = "stream" in response ? response.stream : response;
  half.once("finish", () => {
    if (request.complete) return;
    const cancel = sweep.watch(serverLimits.goodbyeMs, () => {
      if ("stream" in request) request.stream.close();
      else request.socket.destroy();
    });
    request.once("end", cancel).once("close", cancel).resume();
  });
};

export const makeConnections = (options: ConnectionsOptions): Connections => {
  const { sweep, connectionsMax } = options;
  const bySocket = new Map<Socket, Connection>();
  const bySession = new WeakMap<object, Connection>();
  const surroundings: Surroundings = {
    ...options,
    onSession: (session, connection) => void bySession.set(session, connection),
  };
  const connectionOf = (request: HttpRequest): Connection | undefined =>
    "stream" in request
      ? bySession.get(request.stream.session ?? request)
      : bySocket.get(request.socket);
  let calls = 0;
  let leaving: PromiseWithResolvers<void> | null = null;
  return {
    accept: (socket) => {
      if (bySocket.size >= connectionsMax || leaving !== null) {
        socket.on("error", () => {});
        socket.destroy();
        return false;
      }
      bySocket.set(socket, makeConnection(socket, surroundings));
      socket.once("close", () => {
        bySocket.delete(socket);
        if (bySocket.size === 0) leaving?.resolve();
      });
      return true;
    },
    sniff: (socket) => bySocket.get(socket)?.sniff(),
    enter: (request, response) => {
      const connection = connectionOf(request);
      connection?.callBegan();
      calls += 1;
      response.once("close", () => {
        calls -= 1;
        connection?.callEnded();
      });
      endUnreadRequest(request, response, sweep);
      if (leaving !== null && request.httpVersionMajor === 1) {
        response.setHeader("connection", "close");
      }
    },
    calls: () => calls,
    goodbye: async () => {
      leaving ??= Promise.withResolvers<void>();
      for (const connection of bySocket.values()) connection.goodbye();
      if (bySocket.size === 0) leaving.resolve();
      return leaving.promise;
    },
    destroyAll: () => {
      for (const connection of bySocket.values()) connection.destroy();
    },
  };
};
