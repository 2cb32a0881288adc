import { readFileSync } from "node:fs";
import { type ClientHttp2Session, connect } from "node:http2";
import { create, toBinary } from "@bufbuild/protobuf";
import { ClientMessageSchema } from "../../../src/gen/engram/api/v1/agent_pb.ts";
import { frameOf } from "../../../src/server/frames.ts";
import { openEngine } from "../../support/engine-process.ts";

const perConnection = 100;
const agents = 100;
const pageBytes = 4_096;
/** For what was only needed to open them to be collected. */
const settleMs = 8_000;
/** And all of it once they are closed: the runtime looks through the whole heap some ten seconds after it has stopped growing. */
const returnMs = 20_000;

/** What the engine's memory grows by, in KiB, for each of so many open Chat streams; and what is left of it after them. */
export type ChatMemory = { readonly perStreamKib: number; readonly leftMib: number };

/** Opens Chat streams on the built binary, a hundred to a connection, each attached to an agent that rests. */
export async function measureChats(count: number): Promise<ChatMemory> {
  await using engine = await openEngine();
  const ids: string[] = [];
  for (let made = 0; made < agents; made++) {
    const config = { waitForInput: true };
    const { agentId } = await engine.client.createAgent({ goal: "x", model: "scripted", config });
    ids.push(agentId);
  }
  // As much as it will need for its own work is taken before the measurement.
  await openAll(engine.url, ids, perConnection);
  const before = rssBytes(engine.pid);
  const close = await openAll(engine.url, ids, count);
  await Bun.sleep(settleMs);
  const held = rssBytes(engine.pid);
  await close();
  await Bun.sleep(returnMs);
  return {
    perStreamKib: (held - before) / count / 1024,
    leftMib: (rssBytes(engine.pid) - before) / 2 ** 20,
  };
}

const rssBytes = (pid: number): number =>
  Number(readFileSync(`/proc/${pid}/statm`, "utf8").split(" ")[1]) * pageBytes;

async function openAll(
  url: string,
  agentIds: readonly string[],
  count: number,
): Promise<() => Promise<void>> {
  const sessions: ClientHttp2Session[] = [];
  for (let opened = 0; opened < count; opened += perConnection) {
    const session = connect(url);
    sessions.push(session);
    await new Promise((resolve) => session.once("connect", resolve));
    for (let n = 0; n < perConnection; n++)
      openChat(session, agentIds[(opened + n) % agentIds.length] ?? "");
  }
  return async () => {
    for (const session of sessions) session.destroy();
  };
}

function openChat(session: ClientHttp2Session, agentId: string): void {
  const stream = session.request({
    ":method": "POST",
    ":path": "/engram.api.v1.AgentService/Chat",
    "content-type": "application/grpc",
    te: "trailers",
  });
  stream.on("error", () => {}).resume();
  stream.write(frameOf(toBinary(ClientMessageSchema, create(ClientMessageSchema, { agentId }))));
}
