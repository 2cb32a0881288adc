import { expect, test } from "bun:test";
import { type ClientHttp2Session, constants } from "node:http2";
import { connect } from "node:net";
import { serverLimits } from "../../src/limits.ts";
import { curl } from "../support/curl.ts";
import {
  endHeaders,
  endStream,
  envelope,
  frame,
  greeting,
  grpcHead,
  openSession,
  post,
} from "../support/raw-http2.ts";
import { openTestServer, unwatched } from "../support/server.ts";

const chat = {
  ":method": "POST",
  ":path": "/engram.api.v1.AgentService/Chat",
  "content-type": "application/grpc",
};

const frameType = { headers: 1, reset: 3, goaway: 7, windowUpdate: 8 };
const reset = "\0\0\0\x08";
const streamOf = (call: number): number => 2 * call + 1;
const head = (call: number, path = chat[":path"]): Buffer =>
  frame(frameType.headers, endHeaders, streamOf(call), grpcHead(path));
const canceled = (call: number): Buffer =>
  Buffer.concat([head(call), frame(frameType.reset, 0, streamOf(call), reset)]);
/** The server has to reset it: a window cannot grow by nothing. */
const broken = (call: number, path = chat[":path"]): Buffer =>
  Buffer.concat([head(call, path), frame(frameType.windowUpdate, 0, streamOf(call), "\0\0\0\0")]);
const whole = (call: number): Buffer =>
  frame(frameType.headers, endHeaders | endStream, streamOf(call), grpcHead("/healthz"));
const many = (count: number, make: (call: number) => Buffer, from = 0): Buffer =>
  Buffer.concat(Array.from({ length: count }, (_, call) => make(from + call)));

/** The error code of the first GOAWAY among these frames; null: there is none. */
const goawayCode = (bytes: Buffer): number | null => {
  for (let at = 0; at + 9 <= bytes.length; at += 9 + bytes.readUIntBE(at, 3)) {
    if (bytes[at + 3] === frameType.goaway) return bytes.readUInt32BE(at + 13);
  }
  return null;
};

/** Whether a head of the stream is among these frames. */
const isAnswered = (bytes: Buffer, stream: number): boolean => {
  for (let at = 0; at + 9 <= bytes.length; at += 9 + bytes.readUIntBE(at, 3)) {
    if (bytes[at + 3] === frameType.headers && bytes.readUInt32BE(at + 5) === stream) return true;
  }
  return false;
};

const untilTold = async (session: ClientHttp2Session, streams: number): Promise<void> => {
  while (session.remoteSettings.maxConcurrentStreams !== streams)
    await new Promise((resolve) => session.once("remoteSettings", resolve));
};

test("a connection is told how long a head may be, and may have few calls until it has asked something", async () => {
  await using server = await openTestServer();
  const asked = {
    "an answer": (session: ClientHttp2Session) =>
      post(session, "/healthz", { ":method": "GET" }, Buffer.of()),
    "a first message": async (session: ClientHttp2Session) => {
      session.request(chat).write(envelope(Uint8Array.of()));
      await server.agents.untilRunning(1);
    },
  };
  for (const ask of Object.values(asked)) {
    const session = await openSession(server.url);
    await untilTold(session, serverLimits.streamsAtFirst);
    expect(session.remoteSettings.maxHeaderListSize).toBe(serverLimits.headerBytesMax);
    await ask(session);
    await untilTold(session, serverLimits.streamsPerConnectionMax);
    session.destroy();
  }
});

test("a storm of resets ends its connection and leaves no handler; others are served", async () => {
  await using server = await openTestServer();
  const socket = connect(server.port, "127.0.0.1", () =>
    socket.write(Buffer.concat([greeting, many(2 * serverLimits.streamResetsBurst, canceled)])),
  );
  const said: Buffer[] = [];
  socket.on("error", () => {}).on("data", (chunk: Buffer) => said.push(chunk));
  await new Promise((resolve) => socket.once("close", resolve));
  expect(goawayCode(Buffer.concat(said))).toBe(constants.NGHTTP2_ENHANCE_YOUR_CALM);
  await server.agents.untilRunning(0);
  expect((await curl(`${server.url}/healthz`)).status).toBe(200);
});

test("a connection whose streams ask nothing is cut; one that asks in between is not", async () => {
  await using server = await openTestServer();
  const { unaskedStreamsMax } = serverLimits;
  // Few enough are left open, and few enough canceled, for both to be let pass by themselves.
  const left = serverLimits.streamsAtFirst - 10;
  const silent = [many(left, head), many(unaskedStreamsMax + 1 - left, canceled, left)];
  const flood = connect(server.port, "127.0.0.1", () =>
    flood.write(Buffer.concat([greeting, ...silent])),
  );
  const said: Buffer[] = [];
  flood.on("error", () => {}).on("data", (chunk: Buffer) => said.push(chunk));
  await new Promise((resolve) => flood.once("close", resolve));
  expect(goawayCode(Buffer.concat(said))).toBe(constants.NGHTTP2_ENHANCE_YOUR_CALM);

  const session = await openSession(server.url);
  for (let round = 0; round < 3; round += 1) {
    const streams = Array.from({ length: unaskedStreamsMax / 4 }, () => session.request(chat));
    for (const stream of streams) stream.on("error", () => {}).close(constants.NGHTTP2_NO_ERROR);
    const answer = await post(session, "/healthz", { ":method": "GET" }, Buffer.of());
    expect(answer.body.toString()).toBe("ok\n");
  }
  session.destroy();
});

for (const [name, together] of [
  ["in one piece", 2 * serverLimits.unaskedStreamsMax],
  ["one by one", 1],
] as const)
  test(`streams that the server has to reset end their connection soon: ${name}`, async () => {
    let begun = 0;
    const began = () => {
      begun += 1;
      return () => {};
    };
    await using server = await openTestServer({ watch: { ...unwatched, began } });
    const { brokenStreamsMax } = serverLimits;
    const flood = connect(server.port, "127.0.0.1");
    const closed = new Promise((resolve) => flood.once("close", resolve));
    const said: Buffer[] = [];
    let calls = together;
    flood.on("error", () => {}).write(Buffer.concat([greeting, many(together, broken)]));
    // Greeting or reset, each is answered.
    flood.on("data", (chunk: Buffer) => {
      said.push(chunk);
      if (calls < 2 * serverLimits.unaskedStreamsMax) flood.write(broken(calls++));
    });
    await closed;
    expect(goawayCode(Buffer.concat(said))).toBe(constants.NGHTTP2_ENHANCE_YOUR_CALM);
    expect(begun).toBeGreaterThan(brokenStreamsMax);
    expect(begun).toBeLessThan(brokenStreamsMax + 3);
  });

test("a connection that is cut has no more of its streams answered", async () => {
  await using server = await openTestServer();
  const flood = connect(server.port, "127.0.0.1");
  const closed = new Promise((resolve) => flood.once("close", resolve));
  const streams = many(2 * serverLimits.brokenStreamsMax, (call) => broken(call, "/nothing"));
  flood.on("error", () => {}).resume();
  flood.write(Buffer.concat([greeting, streams]));
  await closed;
  expect((await curl(`${server.url}/healthz`)).status).toBe(200);
});

for (const [name, count, make] of [
  ["is answered many calls at once", serverLimits.streamsAtFirst / 2 - 1, whole],
  ["cancels many calls at once", serverLimits.streamsAtFirst / 2 - 1, canceled],
  ["asks something between a few calls that are broken", serverLimits.brokenStreamsMax - 1, broken],
] as const)
  test(`a client keeps its connection that ${name}`, async () => {
    await using server = await openTestServer();
    const client = connect(server.port, "127.0.0.1");
    const said: Buffer[] = [];
    client.write(greeting);
    for (const round of [0, 1]) {
      const first = round * (count + 1);
      const last = first + count;
      client.write(Buffer.concat([many(count, make, first), whole(last)]));
      while (!isAnswered(Buffer.concat(said), streamOf(last)))
        said.push(await new Promise((resolve) => client.once("data", resolve)));
    }
    expect(goawayCode(Buffer.concat(said))).toBeNull();
    client.destroy();
  });

test("the heads of many calls may come before the first message of any", async () => {
  await using server = await openTestServer();
  const session = await openSession(server.url);
  await untilTold(session, serverLimits.streamsAtFirst);
  await post(session, "/healthz", { ":method": "GET" }, Buffer.of());
  await untilTold(session, serverLimits.streamsPerConnectionMax);
  const count = serverLimits.streamsPerConnectionMax - 1;
  const streams = Array.from({ length: count }, () => session.request(chat));
  // Comes behind all their heads.
  await post(session, "/healthz", { ":method": "GET" }, Buffer.of());
  for (const stream of streams) stream.write(envelope(Uint8Array.of()));
  await server.agents.untilRunning(count);
  session.destroy();
  await server.agents.untilRunning(0);
});

test("clients that cancel now and then keep their connection", async () => {
  await using server = await openTestServer();
  const session = await openSession(server.url);
  for (let call = 0; call < serverLimits.streamResetsBurst / 2; call += 1) {
    const stream = session.request(chat);
    const closed = new Promise<void>((resolve) => stream.once("close", () => resolve()));
    stream.close(constants.NGHTTP2_CANCEL);
    await closed;
  }
  const answer = await post(session, "/healthz", { ":method": "GET" }, Buffer.of());
  expect(answer.body.toString()).toBe("ok\n");
  session.destroy();
});

test("a head that is too long is refused on both versions", async () => {
  await using server = await openTestServer();
  const long = ["--header", `x-long: ${"x".repeat(2 * serverLimits.headerBytesMax)}`];
  const http1 = await curl(`${server.url}/healthz`, "--http1.1", ...long);
  expect(http1.status).toBeGreaterThanOrEqual(400);
  const http2 = await curl(`${server.url}/healthz`, "--http2-prior-knowledge", ...long);
  expect(http2.status).not.toBe(200);
  expect((await curl(`${server.url}/healthz`)).status).toBe(200);
});
