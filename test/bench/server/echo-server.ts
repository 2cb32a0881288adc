/**
 * One of the servers that are compared, in a process of its own: `raw` answers gRPC with node:http2 alone, `connect` is
 * connect-node as shipped, `engram` is the project's port. Prints its URL.
 */
import { createServer, type ServerHttp2Stream } from "node:http2";
import type { ConnectRouter } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { systemClock } from "../../../src/clock.ts";
import { AgentService, type ReplayRequest } from "../../../src/gen/engram/api/v1/agent_pb.ts";
import { openServer } from "../../../src/server/server.ts";
import { unwatched } from "../../support/server.ts";

const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

const routes = (router: ConnectRouter): void =>
  void router.service(AgentService, {
    getAgent: ({ agentId }) => ({ agentId }),
    // As tokens come: one in a turn of the event loop.
    replay: async function* ({ agentId, fromSequence }: ReplayRequest) {
      for (let sequence = 1n; sequence <= fromSequence; sequence += 1n) {
        await turn();
        yield {
          agentId,
          sequenceId: sequence,
          payload: { case: "text" as const, value: { content: "token" } },
        };
      }
    },
  });

const answerRaw = (stream: ServerHttp2Stream): void => {
  const chunks: Buffer[] = [];
  stream.on("error", () => {}).on("data", (chunk: Buffer) => chunks.push(chunk));
  stream.on("end", () => {
    stream.respond(
      { ":status": 200, "content-type": "application/grpc+proto" },
      { waitForTrailers: true },
    );
    stream.once("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
    stream.end(Buffer.concat(chunks));
  });
};

const listen = (server: ReturnType<typeof createServer>): void =>
  void server.listen(0, "127.0.0.1", () => {
    const address = server.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    console.log(`http://127.0.0.1:${port}`);
  });

switch (process.argv[2]) {
  case "raw":
    listen(createServer().on("stream", answerRaw));
    break;
  case "connect":
    listen(createServer(connectNodeAdapter({ routes })));
    break;
  default: {
    const { url } = await openServer({
      host: "127.0.0.1",
      port: 0,
      tls: null,
      apiKeys: [],
      corsOrigins: [],
      routes,
      ready: async () => null,
      warnings: async () => [],
      metrics: async () => "",
      watch: unwatched,
      clock: systemClock,
      log: () => {},
    });
    console.log(url);
  }
}
