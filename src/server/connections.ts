import type { IncomingMessage, Server as Http1Server, ServerResponse } from "node:http";
import type { Http2Server, ServerHttp2Stream } from "node:http2";
import type { Socket } from "node:net";
import type { Writable } from "node:stream";
import { type Connection, makeConnection, type Surroundings } from "./connection.ts";
import type { Intake } from "./intake.ts";
import { roomLimits } from "./room-limits.ts";
import type { Sweep } from "./sweep.ts";
import { dropUnread } from "./unread.ts";
import type { PortWatch } from "./watch.ts";

/** All connections of the port, and the calls that run on them. */
export type Connections = {
  /** Takes a new socket; false (and the socket destroyed) if there is no room for it. */
  readonly accept: (socket: Socket) => boolean;
  /** Finds out the protocol of an accepted socket; with TLS, once the handshake is done. */
  readonly sniff: (socket: Socket) => void;
  /** Counts an HTTP/1.1 request, from its head to the close of its answer. */
  readonly enter: (request: IncomingMessage, response: ServerResponse) => void;
  /** Counts an HTTP/2 stream, which is one request; false: its connection is cut, and it with it. */
  readonly enterStream: (stream: ServerHttp2Stream) => boolean;
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
  /** Of what comes and nobody reads. */
  readonly dropped: Intake;
  readonly connectionsMax: number;
  readonly watch: PortWatch;
};

export const makeConnections = (options: ConnectionsOptions): Connections => {
  const { connectionsMax, watch } = options;
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
      const connection = bySocket.get(request.socket);
      connection?.holdBack(request);
      const together = began(connection, response);
      if (together > roomLimits.pipelinedMax) request.socket.destroy();
      const drop = (): void => dropUnread(request, options, () => request.socket.destroy());
      // Before the runtime drops what nobody has read of, at any speed.
      response.prependOnceListener("finish", drop);
      if (leaving !== null) response.setHeader("connection", "close");
    },
    enterStream: (stream) => {
      const connection = connectionOf(stream);
      began(connection, stream);
      connection?.trust()?.began(stream);
      stream.once("finish", () => dropUnread(stream, options, () => stream.close()));
      return !stream.destroyed;
    },
    hasAsked: (stream) => connectionOf(stream)?.trust()?.asked(),
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
