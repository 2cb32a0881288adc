import { expect, test } from "bun:test";
import { type ClientHttp2Session, constants } from "node:http2";
import { connect } from "node:net";
import { serverLimits } from "../../src/limits.ts";
import { curl } from "../support/curl.ts";
import {
  endHeaders,
  envelope,
  frame,
  greeting,
  grpcHead,
  openSession,
  post,
} from "../support/raw-http2.ts";
import { openTestServer } from "../support/server.ts";

const chat = {
  ":method": "POST",
  ":path": "/engram.api.v1.AgentService/Chat",
  "content-type": "application/grpc",
};

const frameType = { headers: 1, reset: 3, goaway: 7, windowUpdate: 8 };
/** The error code of the first GOAWAY among these frames; null: there is none. */
const goawayCode = (bytes: Buffer): number | null => {
  for (let at = 0; at + 9 <= bytes.length; at += 9 + bytes.readUIntBE(at, 3)) {
    if (bytes[at + 3] === frameType.goaway) return bytes.readUInt32BE(at + 13);
  }
  return null;
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
  const { path, reset } = { path: chat[":path"], reset: "\0\0\0\x08" };
  const storm = Array.from({ length: 2 * serverLimits.streamResetsBurst }, (_, call) => {
    const stream = 2 * call + 1;
    const head = frame(frameType.headers, endHeaders, stream, grpcHead(path));
    return Buffer.concat([head, frame(frameType.reset, 0, stream, reset)]);
  });
  const socket = connect(server.port, "127.0.0.1", () =>
    socket.write(Buffer.concat([greeting, ...storm])),
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
  const silent = (from: number, count: number): Buffer =>
    Buffer.concat(
      Array.from({ length: count }, (_, call) => {
        const stream = 2 * (from + call) + 1;
        const head = frame(frameType.headers, endHeaders, stream, grpcHead(chat[":path"]));
        // The server resets it: a window cannot grow by nothing.
        return Buffer.concat([head, frame(frameType.windowUpdate, 0, stream, "\0\0\0\0")]);
      }),
    );
  const { unaskedStreamsMax } = serverLimits;
  const flood = connect(server.port, "127.0.0.1", () =>
    flood.write(Buffer.concat([greeting, silent(0, 2 * unaskedStreamsMax)])),
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
