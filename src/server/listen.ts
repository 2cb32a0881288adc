import { readFile } from "node:fs/promises";
import { createServer, type Server as NetServer, type Socket } from "node:net";
import { createSecureContext, createServer as createTlsServer } from "node:tls";
import type { Clock } from "../clock.ts";
import { EngramError, messageOf } from "../errors.ts";
import { serverLimits } from "../limits.ts";
import type { Connections } from "./connections.ts";
import type { Log } from "../log.ts";

export type TlsFiles = { readonly certPath: string; readonly keyPath: string };

type SocketSource = {
  readonly accept: (socket: Socket) => boolean;
  readonly sniff: Connections["sniff"];
};

const readPem = async (path: string, setting: string): Promise<string> => {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    throw new EngramError("invalid_argument", `${setting} cannot be read: ${messageOf(cause)}`, {
      cause,
    });
  }
};

type KeyPair = { readonly cert: string; readonly key: string };

const readKeyPair = async ({ certPath, keyPath }: TlsFiles): Promise<KeyPair> => {
  const cert = await readPem(certPath, "TLS_CERT");
  const key = await readPem(keyPath, "TLS_KEY");
  try {
    createSecureContext({ cert, key });
    return { cert, key };
  } catch (cause) {
    const message = `TLS_CERT and TLS_KEY are no matching pair of PEM files: ${messageOf(cause)}`;
    throw new EngramError("invalid_argument", message, { cause });
  }
};

export type SocketServer = {
  readonly sockets: NetServer;
  /** Reads the TLS files anew, for connections from now on; files that cannot be used change nothing. Fails with invalid_argument. */
  readonly renewTls: () => Promise<void>;
};

/** A server that gives each socket to `accept` as it comes and to `sniff` once its bytes are readable. */
export const makeSocketServer = async (
  tls: TlsFiles | null,
  { accept, sniff }: SocketSource,
  log: Log,
): Promise<SocketServer> => {
  if (tls === null) {
    const sockets = createServer({ noDelay: true }, (socket) => {
      if (accept(socket)) sniff(socket);
    });
    return { sockets, renewTls: async () => {} };
  }
  const ALPNProtocols = ["h2", "http/1.1"];
  const sockets = createTlsServer({ ...(await readKeyPair(tls)), ALPNProtocols }, sniff);
  // Comes before the handshake, with the same socket.
  sockets.on("connection", (socket) => {
    socket.setNoDelay(true);
    accept(socket);
  });
  sockets.on("tlsClientError", (error, socket) => {
    log("debug", "a TLS handshake failed", { error: messageOf(error) });
    socket.destroy();
  });
  return {
    sockets,
    renewTls: async () => sockets.setSecureContext(await readKeyPair(tls)),
  };
};

const listenOnce = async (server: NetServer, host: string, port: number): Promise<unknown> =>
  new Promise((resolve) => {
    const end = (outcome: Error | null): void => {
      server.off("error", end).off("listening", done);
      resolve(outcome);
    };
    const done = (): void => end(null);
    server.once("error", end).once("listening", done);
    server.listen({ host, port, backlog: serverLimits.listenBacklog });
  });

/** Listens, and gives the port that was bound. A port in use is tried again for `listenRetryMs`; then `unavailable`. */
export const listen = async (
  server: NetServer,
  { host, port }: { host: string; port: number },
  clock: Clock,
  log: Log,
): Promise<number> => {
  const untilMs = clock.monotonicMs() + serverLimits.listenRetryMs;
  for (let attempt = 1; ; attempt += 1) {
    const cause = await listenOnce(server, host, port);
    if (cause === null) break;
    const inUse = cause instanceof Error && "code" in cause && cause.code === "EADDRINUSE";
    if (!inUse || clock.monotonicMs() >= untilMs) {
      const hint = inUse ? "end the program that has the port or set GRPC_PORT" : "check HOST";
      const message = `cannot listen on ${host}:${port}: ${messageOf(cause)}; ${hint}`;
      throw new EngramError("unavailable", message, { cause });
    }
    if (attempt === 1) log("warn", "the port is in use; trying again", { host, port });
    await new Promise<void>((resolve) => {
      clock.after(serverLimits.listenRetryIntervalMs, resolve);
    });
  }
  const address = server.address();
  return typeof address === "object" && address !== null ? address.port : port;
};
