import { systemClock } from "../../src/clock.ts";
import { openServer } from "../../src/server/server.ts";
import { makeFakeAgents } from "./fake-agents.ts";

/** The fake agents in a process of their own; prints the port. */
const server = await openServer({
  host: "127.0.0.1",
  port: 0,
  tls: null,
  apiKeys: [],
  corsOrigins: [],
  routes: makeFakeAgents().routes,
  ready: async () => null,
  metrics: null,
  clock: systemClock,
  log: () => {},
});
console.log(server.port);
