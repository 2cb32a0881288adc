import { systemClock } from "../../src/clock.ts";
import { openServer, type Server, type ServerOptions } from "../../src/server/server.ts";
import { type FakeAgents, makeFakeAgents } from "./fake-agents.ts";

/** Nobody counts. */
export const unwatched: ServerOptions["watch"] = {
  connected: () => {},
  disconnected: () => {},
  refused: () => {},
  began: () => () => {},
};

export type Logged = { level: string; message: string; fields: Record<string, unknown> };

export type TestServer = AsyncDisposable &
  Server & {
    readonly agents: FakeAgents;
    readonly logged: Logged[];
    /** host:port, as gRPC clients want it. */
    readonly target: string;
  };

/** A server on a free port with the fake agents behind it; closes itself at the end of the scope. */
export const openTestServer = async (options: Partial<ServerOptions> = {}): Promise<TestServer> => {
  const agents = makeFakeAgents();
  const logged: Logged[] = [];
  const server = await openServer({
    host: "127.0.0.1",
    port: 0,
    tls: null,
    apiKeys: [],
    corsOrigins: [],
    routes: agents.routes,
    ready: async () => null,
    warnings: async () => [],
    metrics: async () => "engram_up 1\n",
    watch: unwatched,
    clock: systemClock,
    log: (level, message, fields = {}) => logged.push({ level, message, fields }),
    ...options,
  });
  return {
    ...server,
    agents,
    logged,
    target: `127.0.0.1:${server.port}`,
    [Symbol.asyncDispose]: server.close,
  };
};
