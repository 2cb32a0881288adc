import { type ClientHttp2Session, connect } from "node:http2";
import { create, toBinary } from "@bufbuild/protobuf";
import {
  GetAgentRequestSchema,
  ReplayRequestSchema,
} from "../../../src/gen/engram/api/v1/agent_pb.ts";
import { frameOf } from "../../../src/server/frames.ts";

const echoServer = new URL("echo-server.ts", import.meta.url).pathname;
const inFlight = 32;
const windowMs = 1_000;
const tokens = 2_000n;

const agentId = "01a20540-b5c3-701e-b768-b26a82f3caff";
const question = frameOf(
  toBinary(GetAgentRequestSchema, create(GetAgentRequestSchema, { agentId })),
);
const stream = frameOf(
  toBinary(ReplayRequestSchema, create(ReplayRequestSchema, { agentId, fromSequence: tokens })),
);

/** One of the compared servers, and a client of it that does next to nothing. Whoever opened it closes it. */
export type Echo = {
  /** Unary calls a second, 32 at a time over one connection. */
  callsPerSecond(): Promise<number>;
  /** Messages a second of one call that streams them. */
  messagesPerSecond(): Promise<number>;
  close(): Promise<void>;
};

export async function openEcho(kind: "raw" | "connect" | "engram"): Promise<Echo> {
  const server = Bun.spawn([process.execPath, echoServer, kind], { stdout: "pipe" });
  const reader = server.stdout.getReader();
  const { value } = await reader.read();
  const session = connect(new TextDecoder().decode(value).trim());
  await new Promise((resolve) => session.once("connect", resolve));
  return {
    callsPerSecond: async () => {
      const endMs = performance.now() + windowMs;
      let calls = 0;
      const caller = async (): Promise<void> => {
        while (performance.now() < endMs) {
          await call(session, "GetAgent", question);
          calls += 1;
        }
      };
      await Promise.all(Array.from({ length: inFlight }, caller));
      return calls / (windowMs / 1000);
    },
    messagesPerSecond: async () => {
      const startMs = performance.now();
      await call(session, "Replay", stream);
      return Number(tokens) / ((performance.now() - startMs) / 1000);
    },
    close: async () => {
      session.destroy();
      server.kill();
      await server.exited;
    },
  };
}

const call = (session: ClientHttp2Session, method: string, frame: Uint8Array): Promise<void> =>
  new Promise((resolve, reject) => {
    const request = session.request({
      ":method": "POST",
      ":path": `/engram.api.v1.AgentService/${method}`,
      "content-type": "application/grpc",
      te: "trailers",
    });
    request.once("error", reject).once("close", resolve).resume();
    request.end(frame);
  });
