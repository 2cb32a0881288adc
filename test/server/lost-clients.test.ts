import { heapStats } from "bun:jsc";
import { expect, test } from "bun:test";
import { connect } from "node:net";
import { envelope, openSession } from "../support/raw-http2.ts";
import { openTestServer } from "../support/server.ts";
import { stuckClientsEntry, untilStuck } from "../support/stuck-clients.ts";

test("killed clients leave no handler behind, not even one that is stuck in a write", async () => {
  await using server = await openTestServer();
  const count = 10;
  for (let round = 0; round < 2; round += 1) {
    await using child = Bun.spawn(
      [process.execPath, stuckClientsEntry, server.url, String(count)],
      {
        stderr: "inherit",
      },
    );
    await server.agents.untilRunning(3 * count);
    child.kill("SIGSTOP");
    await untilStuck(server);
    expect(server.agents.flooded()).toBeGreaterThan(0);
    child.kill("SIGKILL");
    await child.exited;
    await server.agents.untilRunning(0);
  }
});

test("a chat that is reset before its first message is canceled, and its handler ends", async () => {
  await using server = await openTestServer();
  const session = await openSession(server.url);
  const stream = session.request({
    ":method": "POST",
    ":path": "/engram.api.v1.AgentService/Chat",
    "content-type": "application/grpc",
    "grpc-encoding": "gzip",
  });
  stream.on("error", () => {});
  await server.agents.untilRunning(1);
  stream.close(8);
  await server.agents.untilRunning(0);
  session.destroy();
  expect(server.logged.filter(({ level }) => level === "error")).toEqual([]);
});

test("a chat over plain gRPC that is reset before its first message has no handler yet", async () => {
  await using server = await openTestServer();
  const session = await openSession(server.url);
  const chat = () =>
    session.request({
      ":method": "POST",
      ":path": "/engram.api.v1.AgentService/Chat",
      "content-type": "application/grpc",
    });
  const silent = chat();
  silent.on("error", () => {});
  const spoken = chat();
  spoken.write(envelope(Uint8Array.of()));
  await server.agents.untilRunning(1);
  silent.close(8);
  spoken.end();
  await server.agents.untilRunning(0);
  session.close();
  await server.drain(10_000);
  expect(server.logged.filter(({ level }) => level === "error")).toEqual([]);
});

test("HTTP/1.1 clients that go away in mid-request and mid-answer leave nothing", async () => {
  await using server = await openTestServer();
  const head = (method: string, type: string, length: number): string =>
    `POST /engram.api.v1.AgentService/${method} HTTP/1.1\r\nHost: a\r\nContent-Type: application/${type}\r\nContent-Length: ${length}\r\n\r\n`;
  const follow = '{"agentId":"follow"}';
  const framed = `\0\0\0\0${String.fromCharCode(follow.length)}${follow}`;
  const answering = connect(server.port, "127.0.0.1", () =>
    answering.write(head("Replay", "connect+json", framed.length) + framed),
  );
  await new Promise((resolve) => answering.once("data", resolve));
  await server.agents.untilRunning(1);
  answering.destroy();
  await server.agents.untilRunning(0);

  const asking = connect(server.port, "127.0.0.1", () => {
    asking.write(`${head("SendMessage", "json", 100)}{`);
    asking.destroySoon();
  });
  await new Promise((resolve) => asking.once("close", resolve));
  await server.drain(10_000);
  expect(server.logged.filter(({ level }) => level === "error")).toEqual([]);
});

/** Every call has one, on either way through the server. */
const signalsHeld = (): number => heapStats().objectTypeCounts["AbortSignal"] ?? 0;

test.each([
  ["plain gRPC", "identity"],
  ["gRPC through connect", "gzip"],
])("what ended calls held can all be collected: %s", async (_way, encoding) => {
  await using server = await openTestServer();
  const sessions = await Promise.all([1, 2, 3].map(() => openSession(server.url)));
  const perSession = 90;
  for (const session of sessions)
    for (let n = 0; n < perSession; n += 1) {
      const headers = { "content-type": "application/grpc", "grpc-encoding": encoding };
      const path = "/engram.api.v1.AgentService/Chat";
      const stream = session.request({ ":method": "POST", ":path": path, ...headers });
      stream.on("error", () => {}).resume();
      stream.write(envelope(Uint8Array.of()));
    }
  const count = perSession * sessions.length;
  await server.agents.untilRunning(count);
  expect(signalsHeld()).toBeGreaterThanOrEqual(count);
  for (const session of sessions) session.destroy();
  await server.agents.untilRunning(0);
  // A collector that looks at the stack finds some of what has just been let go.
  for (let look = 0; look < 200 && signalsHeld() > count / 10; look += 1) {
    await new Promise((resolve) => setImmediate(resolve));
    Bun.gc(true);
  }
  expect(signalsHeld()).toBeLessThanOrEqual(count / 10);
});
