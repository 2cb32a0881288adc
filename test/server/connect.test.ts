import { expect, test } from "bun:test";
import { Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { AgentService as DuraAgentService } from "../../src/gen/dura/api/v1/agent_pb.ts";
import { AgentService } from "../../src/gen/engram/api/v1/agent_pb.ts";
import { openTestServer } from "../support/server.ts";

type Options = { readonly baseUrl: string; readonly httpVersion: "1.1" | "2" };
const protocols: Record<string, (options: Options) => Transport> = {
  grpc: createGrpcTransport,
  "grpc with json": (options) => createGrpcTransport({ ...options, useBinaryFormat: false }),
  "grpc-web": createGrpcWebTransport,
  "grpc-web with json": (options) => createGrpcWebTransport({ ...options, useBinaryFormat: false }),
  connect: (options) => createConnectTransport({ ...options, useBinaryFormat: true }),
  "connect with json": (options) => createConnectTransport({ ...options, useBinaryFormat: false }),
};
const codeOf = async (call: Promise<unknown>): Promise<Code> => {
  try {
    await call;
  } catch (error) {
    return ConnectError.from(error).code;
  }
  throw new Error("the call did not fail");
};
const say = async function* (...contents: string[]) {
  for (const content of contents) {
    yield { agentId: "a", payload: { case: "userInput" as const, value: { content } } };
  }
};

for (const [name, makeTransport] of Object.entries(protocols)) {
  // gRPC proper does not exist over HTTP/1.1.
  for (const httpVersion of name.startsWith("grpc-web") || name.startsWith("connect")
    ? (["1.1", "2"] as const)
    : (["2"] as const)) {
    test(`${name} over HTTP/${httpVersion}`, async () => {
      await using server = await openTestServer();
      const transport = makeTransport({ baseUrl: server.url, httpVersion });
      for (const service of [AgentService, DuraAgentService]) {
        const client = createClient(service, transport);
        expect((await client.getAgent({ agentId: "ä" })).agentId).toBe("ä");
        const old = await Array.fromAsync(client.replay({ agentId: "r" }));
        expect(old.map(({ sequenceId }) => sequenceId)).toEqual([1n, 2n, 3n]);
        expect(await codeOf(client.createAgent({ goal: "refuse" }))).toBe(Code.NotFound);
        expect(await codeOf(client.createAgent({ goal: "bug" }))).toBe(Code.Internal);
        expect(await codeOf(client.createAgent({ goal: "unknown" }))).toBe(Code.Internal);
        expect(await codeOf(Array.fromAsync(client.replay({ agentId: "bug" })))).toBe(
          Code.Internal,
        );
        const large = { goal: "x".repeat(5 * 1024 * 1024) };
        expect(await codeOf(client.createAgent(large))).toBe(Code.ResourceExhausted);
        if (httpVersion === "2") {
          const said = await Array.fromAsync(client.chat(say("one", "two")));
          expect(said.map(({ payload }) => payload.value)).toMatchObject([
            { content: "echo one" },
            { content: "echo two" },
          ]);
        }
      }
    });
  }
}

test("a deadline cuts a stream whose handler only stops with DEADLINE_EXCEEDED, not OK", async () => {
  await using server = await openTestServer();
  const transport = createGrpcTransport({ baseUrl: server.url });
  // The header goes by hand, so that the client's own deadline does not come first.
  const call = createClient(AgentService, transport).replay(
    { agentId: "follow" },
    { headers: { "grpc-timeout": "50m" } },
  );
  expect(await codeOf(Array.fromAsync(call))).toBe(Code.DeadlineExceeded);
});

test("a deadline of a year is no deadline of a millisecond", async () => {
  for (const [makeTransport, header, value] of [
    [protocols["grpc"], "grpc-timeout", "9000H"],
    [protocols["connect"], "connect-timeout-ms", "9999999999"],
  ] as const) {
    await using server = await openTestServer();
    const transport = makeTransport!({ baseUrl: server.url, httpVersion: "2" });
    const client = createClient(AgentService, transport);
    const running = client.sendMessage({ agentId: "a" }, { headers: { [header]: value } });
    let answered = false;
    const answer = running.finally(() => (answered = true));
    await server.agents.untilRunning(1);
    // Time for a timer of a millisecond: another call's deadline passes.
    const short = client.replay({ agentId: "follow" }, { timeoutMs: 20 });
    expect(await codeOf(Array.fromAsync(short))).toBe(Code.DeadlineExceeded);
    expect(answered).toBe(false);
    server.agents.release();
    expect((await answer).text).toBe("done");
  }
});
