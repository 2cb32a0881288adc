import type { Socket } from "node:net";
import type { ConnectRouter } from "@connectrpc/connect";
import type { Clock } from "../clock.ts";
import type { Log } from "../log.ts";
import { makeThrottledWarning } from "./log.ts";
import { makeConnections } from "./connections.ts";
import { makeOriginCheck } from "./cors.ts";
import { connectionsAllowed } from "./descriptors.ts";
import { makeDispatch } from "./dispatch.ts";
import { makeDoorkeeper } from "./doorkeeper.ts";
import { type Ending, makeEnding } from "./ending.ts";
import { makeGrpc } from "./grpc/grpc.ts";
import { makeIntake } from "./intake.ts";
import { handRequests, makeHttpServers } from "./http-servers.ts";
import { listen, makeSocketServer, type TlsFiles } from "./listen.ts";
import { roomLimits } from "./room-limits.ts";
import { makeRoom } from "./room.ts";
import { makeServices } from "./services.ts";
import { makeSweep } from "./sweep.ts";
import type { PortWatch } from "./watch.ts";

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

export type Server = Ending & {
  readonly port: number;
  readonly url: string;
  /** Takes the TLS files as they are now for connections to come. Fails with invalid_argument, and changes nothing then. */
  readonly renewTls: () => Promise<void>;
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
  const intake = makeIntake(clock, roomLimits.read);
  const dropped = makeIntake(clock, roomLimits.dropped);
  const connections = makeConnections({ http1, http2, sweep, dropped, connectionsMax, watch });
  const shutdown = new AbortController();
  const shutdownSignal = shutdown.signal;
  let stopping = false;

  const { gate, hasKey } = makeDoorkeeper(options, connections.calls);
  const { hasAsked } = connections;
  const parts = { ...options, gate, shutdownSignal, sweep, intake, room: makeRoom(), hasAsked };
  const { rpc, health } = makeServices(parts);
  const checkOrigin = makeOriginCheck(options.corsOrigins);
  const dispatch = makeDispatch({ ...options, rpc, checkOrigin, hasKey });
  const grpc = makeGrpc({ ...parts, services: rpc.services });
  handRequests({ http1, http2 }, connections, { dispatch, grpc });

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
