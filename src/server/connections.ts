import type { IncomingMessage, Server as Http1Server, ServerResponse } from "node:http";
import type { Http2Server, ServerHttp2Stream } from "node:http2";
import type { Socket } from "node:net";
import type { Readable, Writable } from "node:stream";
import { serverLimits } from "../limits.ts";
import { type Connection, makeConnection, type Surroundings } from "./connection.ts";
import { roomLimits } from "./room-limits.ts";
import type { Sweep } from "./sweep.ts";
import type { PortWatch } from "./watch.ts";

/** All connections of the port, and the calls that run on them. */
export type Connections = {
  /** Takes a new socket; false (and the socket destroyed) if there is no room for it. */
  readonly accept: (socket: Socket) => boolean;
  /** Finds out the protocol of an accepted socket; with TLS, once the handshake is done. */
  readonly sniff: (socket: Socket) => void;
  /** Counts an HTTP/1.1 request, from its head to the close of its answer. */
  readonly enter: (request: IncomingMessage, response: ServerResponse) => void;
  /** Counts an HTTP/2 stream, which is one request. */
  readonly enterStream: (stream: ServerHttp2Stream) => void;
  /** The first message of a stream has come. */
  readonly hasAsked: (stream: ServerHttp2Stream) => void;
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
  readonly watch: PortWatch;
};

/** An answer that came before the end of its request leaves the client the time of a goodbye to stop sending. */
const endUnread = (request: Readable, sweep: Sweep, end: () => void): void => {
  if (request.readableEnded) return;
  const cancel = sweep.watch(serverLimits.goodbyeMs, end);
  request.once("end", cancel).once("close", cancel).resume();
};

export const makeConnections = (options: ConnectionsOptions): Connections => {
  const { sweep, connectionsMax, watch } = options;
  const bySocket = new Map<Socket, Connection>();
  const bySession = new WeakMap<object, Connection>();
  const surroundings: Surroundings = {
    ...options,
    onSession: (session, connection) => void bySession.set(session, connection),
  };
  const connectionOf = (stream: ServerHttp2Stream): Connection | undefined =>
    bySession.get(stream.session ?? stream);
  let calls = 0;
  let leaving: PromiseWithResolvers<void> | null = null;
  const began = (connection: Connection | undefined, answer: Writable): number => {
    const together = connection?.callBegan() ?? 0;
    calls += 1;
    answer.once("close", () => {
      calls -= 1;
      connection?.callEnded();
    });
    return together;
  };
  return {
    accept: (socket) => {
      if (bySocket.size >= connectionsMax || leaving !== null) {
        socket.on("error", () => {});
        socket.destroy();
        return false;
      }
      bySocket.set(socket, makeConnection(socket, surroundings));
      watch.connected();
      socket.once("close", () => {
        watch.disconnected();
        bySocket.delete(socket);
        if (bySocket.size === 0) leaving?.resolve();
      });
      return true;
    },
    sniff: (socket) => bySocket.get(socket)?.sniff(),
    enter: (request, response) => {
      const together = began(bySocket.get(request.socket), response);
      if (together > roomLimits.pipelinedMax) request.socket.destroy();
      response.once("finish", () => endUnread(request, sweep, () => request.socket.destroy()));
      if (leaving !== null) response.setHeader("connection", "close");
    },
    enterStream: (stream) => {
      const connection = connectionOf(stream);
      began(connection, stream);
      stream.once("finish", () => {
        connection?.hasAsked();
        endUnread(stream, sweep, () => stream.close());
      });
    },
    hasAsked: (stream) => connectionOf(stream)?.hasAsked(),
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
