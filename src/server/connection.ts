import type { IncomingMessage, Server as Http1Server } from "node:http";
import type { Http2Server, ServerHttp2Session } from "node:http2";
import type { Socket } from "node:net";
import { serverLimits } from "../limits.ts";
import type { Sweep } from "./sweep.ts";
import { makeTrust, type Trust } from "./trust.ts";
import { makeHoldBack } from "./unread.ts";

/** What every HTTP/2 client sends first. */
const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

/** The two servers that sockets are handed to, and the sweep that ends what stands still. */
export type Surroundings = {
  readonly http1: Http1Server;
  readonly http2: Http2Server;
  readonly sweep: Sweep;
  /** Tells which connection a new HTTP/2 session belongs to. */
  readonly onSession: (session: ServerHttp2Session, connection: Connection) => void;
};

/**
 * One socket. 1: it has an absolute deadline unless a call runs on it. 2: it has an error listener from the start.
 * 3: its first bytes are looked at until they differ from the preface or are all of it, so it does not matter how they
 * were split.
 */
export type Connection = {
  /** Reads the first bytes and hands the socket over. */
  readonly sniff: () => void;
  /** Gives how many run now. */
  readonly callBegan: () => number;
  readonly callEnded: () => void;
  /** Reads no more of this HTTP/1.1 request, its last, than is asked for. */
  readonly holdBack: (request: IncomingMessage) => void;
  /** null: of HTTP/1.1, or before its first bytes. */
  readonly trust: () => Trust | null;
  /** Ends it when no call runs, else after the last call. */
  readonly goodbye: () => void;
  readonly destroy: () => void;
};

const nothing = (): void => {};

/** Peeks at the first bytes, which stay in the socket, and says whether they are the preface. */
const sniffPreface = (socket: Socket, found: (isHttp2: boolean) => void): void => {
  let seen = Buffer.alloc(0);
  const look = (chunk: Buffer): void => {
    seen = Buffer.concat([seen, chunk]);
    const length = Math.min(seen.length, preface.length);
    const isPrefix = seen.compare(preface, 0, length, 0, length) === 0;
    if (isPrefix && length < preface.length) return;
    socket.off("data", look);
    socket.pause();
    socket.unshift(seen);
    found(isPrefix);
    socket.resume();
  };
  socket.on("data", look);
};

/** Asks the peer for a sign of life again and again; one that gives none in time is gone. */
const keepAsking = (session: ServerHttp2Session, socket: Socket, sweep: Sweep): void => {
  let cancel = nothing;
  const ask = (): void => {
    cancel = sweep.watch(serverLimits.pingIntervalMs, () => {
      cancel = sweep.watch(serverLimits.pingTimeoutMs, () => socket.destroy());
      session.ping((error) => {
        cancel();
        if (error === null) ask();
      });
    });
  };
  ask();
  session.once("close", () => cancel());
};

export const makeConnection = (socket: Socket, surroundings: Surroundings): Connection => {
  const { http1, http2, sweep, onSession } = surroundings;
  let session: ServerHttp2Session | null = null;
  let calls = 0;
  let leaving = false;
  let trust: Trust | null = null;
  let gone = false;
  let cancelDeadline = sweep.watch(serverLimits.sniffMs, () => socket.destroy());
  const setDeadline = (delayMs: number, onLate: () => void): void => {
    cancelDeadline();
    // Events of a call may come after its socket's last one.
    if (!gone) cancelDeadline = sweep.watch(delayMs, onLate);
  };
  /** Both ends are polite: what was answered still goes out. */
  const end = (): void => {
    if (session === null) socket.end();
    else session.close();
    setDeadline(serverLimits.goodbyeMs, () => socket.destroy());
  };
  socket.on("error", nothing);
  socket.once("close", () => {
    gone = true;
    cancelDeadline();
  });

  const connection: Connection = {
    sniff: () =>
      sniffPreface(socket, (isHttp2) => {
        setDeadline(serverLimits.headMs, end);
        if (!isHttp2) {
          http1.emit("connection", socket);
          return;
        }
        http2.once("session", (begun) => {
          session = begun;
          trust = makeTrust(begun);
          begun.on("error", nothing);
          onSession(begun, connection);
          keepAsking(begun, socket, sweep);
        });
        // Emits "session" before it returns.
        http2.emit("connection", socket);
      }),
    callBegan: () => {
      cancelDeadline();
      calls += 1;
      return calls;
    },
    callEnded: () => {
      calls -= 1;
      if (calls > 0) return;
      if (leaving) end();
      else setDeadline(serverLimits.idleMs, end);
    },
    holdBack: makeHoldBack(socket),
    trust: () => trust,
    goodbye: () => {
      leaving = true;
      if (session !== null) session.close();
      else if (calls === 0) socket.destroy();
    },
    destroy: () => {
      session?.destroy();
      socket.destroy();
    },
  };
  return connection;
};
