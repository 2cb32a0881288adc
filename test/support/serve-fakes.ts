import { systemClock } from "../../src/clock.ts";
import { openServer } from "../../src/server/server.ts";
import { makeFakeAgents } from "./fake-agents.ts";
import { unwatched } from "./server.ts";

/** Run by itself, this file serves the fake agents and prints the port. */
export const serveFakesEntry = import.meta.path;

const serve = async (): Promise<void> => {
  const server = await openServer({
    host: "127.0.0.1",
    port: 0,
    tls: null,
    apiKeys: [],
    corsOrigins: [],
    routes: makeFakeAgents().routes,
    ready: async () => null,
    warnings: async () => [],
    metrics: async () => "",
    watch: unwatched,
    clock: systemClock,
    log: () => {},
  });
  console.log(server.port);
};

if (import.meta.main) await serve();
