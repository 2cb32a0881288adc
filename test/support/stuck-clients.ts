import { connect } from "node:http2";
import { create, toBinary } from "@bufbuild/protobuf";
import { ClientMessageSchema } from "../../src/gen/engram/api/v1/agent_pb.ts";
import { envelope } from "./raw-http2.ts";
import type { TestServer } from "./server.ts";

/** Run by itself, this file is the clients below. Arguments: URL, number of chats of each kind. */
export const stuckClientsEntry = import.meta.path;

const ask = (content: string): Uint8Array =>
  envelope(
    toBinary(
      ClientMessageSchema,
      create(ClientMessageSchema, {
        agentId: "a",
        payload: { case: "userInput", value: { content } },
      }),
    ),
  );

/**
 * Chats over connections of their own: some ask for a flood, some for silence, some go on. To be stopped, so that the
 * server is stuck in its writes, and killed.
 */
const openChats = (url: string, count: number): void => {
  for (let each = 0; each < count; each += 1) {
    for (const content of ["flood", "hold", "hello"]) {
      // A window that is never full: only TCP can hold the flood back.
      const session = connect(url, { settings: { initialWindowSize: 2 ** 31 - 1 } });
      session.on("connect", () => session.setLocalWindowSize(2 ** 31 - 1));
      const stream = session.request({
        ":method": "POST",
        ":path": "/engram.api.v1.AgentService/Chat",
        "content-type": "application/grpc",
      });
      stream.on("error", () => {});
      session.on("error", () => {});
      stream.write(ask(content));
    }
  }
};

/** Settles once the floods have stood still for a while in which the server answered others. */
export const untilStuck = async ({ agents, url }: TestServer): Promise<void> => {
  for (let still = 0, seen = agents.flooded(); still < 50; still += 1) {
    await (await fetch(`${url}/healthz`)).text();
    if (agents.flooded() !== seen) still = 0;
    seen = agents.flooded();
  }
};

if (import.meta.main) {
  const [url = "", count = "1"] = process.argv.slice(2);
  openChats(url, Number(count));
}
