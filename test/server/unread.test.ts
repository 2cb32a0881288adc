import { expect, test } from "bun:test";
import { createServer, type IncomingMessage } from "node:http";
import { connect, createServer as createNetServer, type Server, type Socket } from "node:net";
import { Readable } from "node:stream";
import { requestLimits, serverLimits } from "../../src/limits.ts";
import { makeIntake } from "../../src/server/intake.ts";
import { roomLimits } from "../../src/server/room-limits.ts";
import { makeSweep } from "../../src/server/sweep.ts";
import { dropUnread, makeHoldBack } from "../../src/server/unread.ts";
import { makeManualClock } from "../support/manual-clock.ts";
import { envelope, openSession, post } from "../support/raw-http2.ts";
import { openTestServer } from "../support/server.ts";

const mib = 2 ** 20;
const path = "/engram.api.v1.AgentService/CreateAgent";
const json = { "content-type": "application/json" };
const head = (bytes: number, to = path): string =>
  `POST ${to} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: ${bytes}\r\n\r\n`;

/** What the sockets of both ends hold on a loopback, at most, and a piece that was being read. */
const onTheWay = 16 * mib;
/** Far more than that and all that is taken at once. */
const flood = 64 * mib;

/** How much a client could send, once it can send no more. */
async function sentAtLast(socket: Socket): Promise<number> {
  const sent = (): number => socket.bytesWritten - socket.writableLength;
  let before = -1;
  while (sent() !== before) {
    before = sent();
    for (let turn = 0; turn < 200; turn++) await new Promise((resolve) => setImmediate(resolve));
  }
  return before;
}

const portOf = (server: Server): number => {
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("it has no port");
  return address.port;
};

test("no more of an HTTP/1.1 request is read than is asked for", async () => {
  const { promise: asked, resolve: ask } = Promise.withResolvers<IncomingMessage>();
  const http1 = createServer();
  const sockets = createNetServer((socket) => {
    const holdBack = makeHoldBack(socket);
    http1.once("request", (request, response) => {
      holdBack(request);
      request.once("end", () => response.end("ok"));
      ask(request);
    });
    http1.emit("connection", socket);
  });
  await new Promise<void>((listening) => sockets.listen(0, "127.0.0.1", listening));
  const client = connect(portOf(sockets), "127.0.0.1");
  client.write(head(flood));
  client.write(Buffer.alloc(flood));
  const request = await asked;
  expect(await sentAtLast(client)).toBeLessThan(onTheWay);
  expect(request.readableLength).toBeLessThan(roomLimits.unreadBytesMax + mib);
  const answered = new Promise((resolve) => client.once("data", resolve));
  let read = 0;
  for await (const chunk of request) read += chunk.length;
  expect(read).toBe(flood);
  expect(String(await answered)).toStartWith("HTTP/1.1 200");
  client.destroy();
  sockets.close();
});

for (const [name, to, begin] of [
  ["that finds nothing", "/nothing", ""],
  ["that says it is too large", path, ""],
])
  test(`of a request ${name} little is read behind its answer, and that for a while`, async () => {
    const clock = makeManualClock();
    await using server = await openTestServer({ clock });
    const client = connect(server.port, "127.0.0.1");
    const closed = new Promise((resolve) => client.once("close", resolve));
    const answered = new Promise((resolve) => client.once("data", resolve));
    client.on("error", () => {}).write(head(flood, to) + begin);
    expect(String(await answered)).toMatch(/^HTTP\/1.1 4/);
    client.write(Buffer.alloc(flood));
    expect(await sentAtLast(client)).toBeLessThan(roomLimits.dropped.burstBytes + onTheWay);
    clock.advance(1_000);
    const more = roomLimits.dropped.burstBytes + 1_000 * roomLimits.dropped.bytesPerMs;
    expect(await sentAtLast(client)).toBeLessThan(more + onTheWay);
    clock.advance(serverLimits.goodbyeMs + serverLimits.sweepIntervalMs);
    await closed;
  });

test("JSON of too many values is refused before its end; who then ends it may go on", async () => {
  await using server = await openTestServer();
  const client = connect(server.port, "127.0.0.1");
  const next = (): Promise<string> =>
    new Promise((resolve) => client.once("data", (data: Buffer) => resolve(data.toString())));
  const bomb = "[".repeat(requestLimits.messagePartsMax + 1);
  const rest = " ".repeat(2 * mib);
  client.write(head(bomb.length + rest.length) + bomb);
  expect(await next()).toContain("resource_exhausted");
  client.write(rest);
  client.write("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
  expect(await next()).toStartWith("HTTP/1.1 200");
  client.destroy();
});

test("a client that sends all before it listens gets its refusal", async () => {
  await using server = await openTestServer();
  const bomb = "[".repeat(requestLimits.messageBytesMax);
  const client = connect(server.port, "127.0.0.1").pause();
  await new Promise<void>((sent) => client.write(head(bomb.length) + bomb, () => sent()));
  const answer = new Promise((resolve) => client.once("data", resolve));
  client.resume();
  expect(String(await answer)).toContain("resource_exhausted");
  client.destroy();
});

test("what comes and is not read any more goes to nobody, however it was read", async () => {
  const clock = makeManualClock();
  const means = { sweep: makeSweep(clock), dropped: makeIntake(clock, roomLimits.dropped) };
  const kept: unknown[] = [];
  const listened = new Readable({ read: () => {} }).on("data", (chunk) => kept.push(chunk));
  const iterated = new Readable({ read: () => {} });
  const items: AsyncIterator<unknown> = iterated[Symbol.asyncIterator]();
  void items.next().then(({ value }) => kept.push(value));
  for (const request of [listened, iterated]) {
    dropUnread(request, means, () => {});
    const ended = new Promise((resolve) => request.once("end", resolve));
    for (let n = 0; n < 3; n++) request.push(Buffer.alloc(1_000));
    request.push(null);
    await ended;
  }
  expect(kept).toEqual([undefined]);
  expect(clock.waiting()).toBe(1);
});

test("large messages of many clients are all taken", async () => {
  await using server = await openTestServer();
  const text = JSON.stringify({ goal: "x".repeat(requestLimits.messageBytesMax - 64), model: "m" });
  const url = `${server.url}${path}`;
  const zipped = { ...json, "content-encoding": "gzip" };
  const session = await openSession(server.url);
  const http1 = (headers: Record<string, string>, body: string | Uint8Array<ArrayBuffer>) =>
    fetch(url, { method: "POST", headers, body }).then(async (answer) => {
      await answer.arrayBuffer();
      return answer.status;
    });
  const http2 = () =>
    post(session, path, json, Buffer.from(text)).then(({ headers }) => headers[":status"]);
  const calls = Array.from({ length: 3 }, () => [
    http1(json, text),
    http1(zipped, Bun.gzipSync(text)),
    http2(),
  ]);
  expect(await Promise.all(calls.flat())).toEqual(Array.from({ length: 9 }, () => 200));
  session.destroy();
});

for (const [name, to, type, framed] of [
  ["a call", path, "application/json", false],
  ["a stream", "/engram.api.v1.AgentService/Replay", "application/connect+json", true],
] as const)
  test(`large messages of ${name} are read no faster than others can wait`, async () => {
    const clock = makeManualClock();
    await using server = await openTestServer({ clock });
    const text = Buffer.from(JSON.stringify({ agentId: "x".repeat(3 * mib) }));
    let answers = 0;
    const call = async (): Promise<void> => {
      const body = Uint8Array.from(framed ? envelope(text) : text);
      const headers = { "content-type": type };
      const answer = await fetch(server.url + to, { method: "POST", headers, body });
      await answer.arrayBuffer();
      answers += 1;
    };
    const calls = Array.from({ length: 5 }, call);
    // Others are served all the while.
    for (let n = 0; n < 20; n++) await (await fetch(`${server.url}/healthz`)).text();
    expect(answers).toBeLessThan(2);
    while (answers < calls.length) {
      clock.advance(10);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await Promise.all(calls);
  });

test("what is large is let in at its rate, by who came first; a lone message at once", async () => {
  const clock = makeManualClock();
  const { took } = makeIntake(clock, { bytesPerMs: 10, burstBytes: 1_000 });
  const done: string[] = [];
  const take = async (name: string, bytes: number): Promise<void> => {
    await took(bytes);
    done.push(name);
  };
  const settled = async (ms: number): Promise<readonly string[]> => {
    clock.advance(ms);
    for (let turn = 0; turn < 5; turn++) await Promise.resolve();
    return done.splice(0);
  };
  const all = [take("lone", 1_000), take("first", 1_000), take("second", 500)];
  expect(await settled(0)).toEqual(["lone"]);
  expect(await settled(99)).toEqual([]);
  expect(await settled(1)).toEqual(["first"]);
  expect(await settled(49)).toEqual([]);
  expect(await settled(1)).toEqual(["second"]);
  await Promise.all(all);
  clock.advance(3_600_000);
  const more = [take("rested", 1_000), take("greedy", 10)];
  expect(await settled(0)).toEqual(["rested"]);
  expect(await settled(1)).toEqual(["greedy"]);
  await Promise.all(more);
});
