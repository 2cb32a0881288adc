import { expect, test } from "bun:test";
import { create, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { connect, type Socket } from "node:net";
import {
  Health,
  HealthCheckResponse_ServingStatus,
} from "../../src/gen/grpc/health/v1/health_pb.ts";
import { AgentService, ReplayRequestSchema } from "../../src/gen/engram/api/v1/agent_pb.ts";
import { makeManualClock } from "../support/manual-clock.ts";
import { envelope, openSession, post } from "../support/raw-http2.ts";
import { openTestServer } from "../support/server.ts";

const deadlineMs = 8000;

const dial = async (port: number, bytes: string): Promise<Socket> =>
  new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => {
      if (bytes === "") resolve(socket);
      else socket.write(bytes);
    });
    socket.once("data", () => resolve(socket));
    socket.once("error", reject);
  });
const closed = async (socket: Socket): Promise<void> =>
  new Promise((resolve) => socket.once("close", () => resolve()));
const errorOf = async (call: Promise<unknown>): Promise<ConnectError> =>
  call.then(
    () => {
      throw new Error("the call did not fail");
    },
    (error: unknown) => ConnectError.from(error),
  );

test("without calls, a drain ends every connection at once, without the clock", async () => {
  await using server = await openTestServer({ clock: makeManualClock() });
  const silent = await dial(server.port, "");
  const keptAlive = await dial(server.port, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
  const session = await openSession(server.url);
  // A connection is HTTP/2 once its first bytes have been read.
  await post(session, "/healthz", { ":method": "GET" }, Buffer.of());
  const goaway = new Promise<number>((resolve) => session.once("goaway", resolve));
  const all = [closed(silent), closed(keptAlive), goaway];
  await server.drain(deadlineMs);
  await Promise.all(all);
  expect(await goaway).toBe(0);
  expect(await errorOf(openSession(server.url))).toBeInstanceOf(ConnectError);
});

for (const [name, makeTransport] of Object.entries({
  "gRPC over HTTP/2": createGrpcTransport,
  "Connect over HTTP/1.1": (options: { baseUrl: string }) =>
    createConnectTransport({ ...options, httpVersion: "1.1" }),
})) {
  test(`a call that ends in time ends well: ${name}`, async () => {
    await using server = await openTestServer({ clock: makeManualClock() });
    const client = createClient(AgentService, makeTransport({ baseUrl: server.url }));
    const call = client.sendMessage({ agentId: "a" });
    const text = call.then((answer) => answer.text);
    await server.agents.untilRunning(1);
    const drained = server.drain(deadlineMs);
    server.agents.release();
    expect(await text).toBe("done");
    await drained;
  });

  test(`a stream that does not end is told UNAVAILABLE before the deadline: ${name}`, async () => {
    const clock = makeManualClock();
    await using server = await openTestServer({ clock });
    const client = createClient(AgentService, makeTransport({ baseUrl: server.url }));
    const error = errorOf(Array.fromAsync(client.replay({ agentId: "follow" })));
    await server.agents.untilRunning(1);
    const drained = server.drain(deadlineMs);
    clock.advance(deadlineMs - 1001);
    expect(server.agents.lastAbort()).toBeNull();
    clock.advance(1);
    expect(await error).toMatchObject({ code: Code.Unavailable });
    await drained;
    expect(server.agents.running()).toBe(0);
  });
}

test("what is left at the deadline is destroyed", async () => {
  const clock = makeManualClock();
  await using server = await openTestServer({ clock });
  const session = await openSession(server.url);
  session.on("error", () => {});
  // Waits for messages for ever, and looks at no signal; in connect's hands it is not told more.
  const stream = session.request({
    ":method": "POST",
    ":path": "/engram.api.v1.AgentService/Chat",
    "content-type": "application/grpc",
    "grpc-encoding": "gzip",
  });
  stream.on("error", () => {});
  const ended = new Promise<void>((resolve) => stream.once("close", () => resolve()));
  await server.agents.untilRunning(1);
  const drained = server.drain(deadlineMs);
  clock.advance(deadlineMs - 1000);
  // The drain has gone on to its last wait.
  await Bun.sleep(0);
  clock.advance(1000);
  await drained;
  await ended;
  await server.agents.untilRunning(0);
});

test("a stream that is destroyed in mid-answer does not look like a whole one", async () => {
  await using server = await openTestServer();
  const session = await openSession(server.url);
  const request = toBinary(ReplayRequestSchema, create(ReplayRequestSchema, { agentId: "follow" }));
  const answer = post(
    session,
    "/engram.api.v1.AgentService/Replay",
    { "content-type": "application/grpc" },
    envelope(request),
  );
  await server.agents.untilRunning(1);
  await post(session, "/healthz", { ":method": "GET" }, Buffer.of());
  await server.close();
  const { body, trailers } = await answer;
  expect(body.length).toBeGreaterThan(0);
  expect(trailers).toEqual({});
  session.destroy();
});

test("a call after the goodbye is UNAVAILABLE, and health says so", async () => {
  const clock = makeManualClock();
  await using server = await openTestServer({ clock });
  const session = await openSession(server.url);
  const health = createClient(Health, createGrpcTransport({ baseUrl: server.url }));
  const watch = health.watch({})[Symbol.asyncIterator]();
  expect((await watch.next()).value?.status).toBe(HealthCheckResponse_ServingStatus.SERVING);
  const drained = server.drain(deadlineMs);
  expect((await watch.next()).value?.status).toBe(HealthCheckResponse_ServingStatus.NOT_SERVING);
  expect((await watch.next()).done).toBe(true);
  session.destroy();
  await drained;
});

test("a second drain and a close join the first", async () => {
  await using server = await openTestServer({ clock: makeManualClock() });
  await Promise.all([server.drain(deadlineMs), server.drain(0), server.close()]);
  await server.close();
});
