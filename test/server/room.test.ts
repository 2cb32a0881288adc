import { expect, test } from "bun:test";
import { Code, ConnectError, createServiceImplSpec } from "@connectrpc/connect";
import {
  type ClientHttp2Stream,
  constants,
  createServer,
  type ServerHttp2Stream,
} from "node:http2";
import { connect } from "node:net";
import { AgentService } from "../../src/gen/engram/api/v1/agent_pb.ts";
import { requestLimits } from "../../src/limits.ts";
import { roomLimits } from "../../src/server/room-limits.ts";
import { makeGrpc } from "../../src/server/grpc/grpc.ts";
import { makeRoom } from "../../src/server/room.ts";
import { makeSweep } from "../../src/server/sweep.ts";
import { makeUnzip } from "../../src/server/unzip.ts";
import { makeManualClock } from "../support/manual-clock.ts";
import { envelope, openSession } from "../support/raw-http2.ts";
import { openTestServer, unwatched } from "../support/server.ts";

const codeOf = async (what: () => unknown): Promise<Code | null> => {
  try {
    await what();
    return null;
  } catch (error) {
    return ConnectError.from(error).code;
  }
};

test("who holds much finds no room beside others who do; who holds little does", async () => {
  const { allBytesMax, smallBytes } = roomLimits;
  const room = makeRoom();
  const first = room.share();
  first.set(allBytesMax / 2);
  first.set(allBytesMax);
  expect(await codeOf(() => room.share().set(smallBytes))).toBeNull();
  const late = room.share();
  expect(await codeOf(() => late.set(smallBytes + 1))).toBe(Code.ResourceExhausted);
  late.close();
  first.close();
  first.set(allBytesMax);
  expect(await codeOf(() => room.share().set(allBytesMax / 2))).toBeNull();
});

test("a few messages are unzipped at once, and none for a call that is gone", async () => {
  const room = makeRoom();
  const unzip = makeUnzip();
  const zipped = Bun.gzipSync(new Uint8Array(requestLimits.messageBytesMax));
  const order: string[] = [];
  const one = async (name: string, share = room.share()): Promise<void> => {
    await unzip(zipped, share).then(
      ({ length }) => order.push(`${name} ${length}`),
      (error) => order.push(`${name} ${ConnectError.from(error).code}`),
    );
  };
  const gone = room.share();
  gone.close();
  const leaving = room.share();
  const all = [one("gone", gone)];
  for (let n = 0; n < roomLimits.unzipsMax; n++) all.push(one("began"));
  all.push(one("leaving", leaving), one("waited"));
  leaving.close();
  await Promise.all(all);
  const whole = requestLimits.messageBytesMax;
  expect(order.slice(0, 2)).toEqual([`gone ${Code.Canceled}`, `leaving ${Code.Canceled}`]);
  expect(order.slice(2)).toEqual([
    ...Array.from({ length: roomLimits.unzipsMax }, () => `began ${whole}`),
    `waited ${whole}`,
  ]);
});

test("what is not zipped, or grows too large, is refused with what is wrong", async () => {
  const unzip = makeUnzip();
  const share = makeRoom().share();
  const bomb = Bun.gzipSync(new Uint8Array(requestLimits.messageBytesMax + 1));
  for (let n = 0; n < 2 * roomLimits.unzipsMax; n++) {
    expect(await codeOf(() => unzip(Buffer.from("hello"), share))).toBe(Code.InvalidArgument);
    expect(await codeOf(() => unzip(bomb, share))).toBe(Code.ResourceExhausted);
    expect(await codeOf(() => unzip(bomb.subarray(0, 100), share))).toBe(Code.InvalidArgument);
  }
  expect(await unzip(Buffer.of(), share)).toHaveLength(0);
});

test("who asks for much over HTTP/1.1 before the first answer loses the connection", async () => {
  await using server = await openTestServer();
  const body = '{"agentId":"a"}';
  const request = `POST /engram.api.v1.AgentService/SendMessage HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  const socket = connect(server.port, "127.0.0.1");
  socket.on("error", () => {}).resume();
  socket.write(request.repeat(roomLimits.pipelinedMax));
  await server.agents.untilRunning(roomLimits.pipelinedMax);
  const closed = new Promise((resolve) => socket.once("close", resolve));
  socket.write(request);
  await closed;
  await server.agents.untilRunning(0);
});

test("an answer that finds no room beside those that nobody reads ends with the reason", async () => {
  const clock = makeManualClock();
  const text = "x".repeat(2 * roomLimits.smallBytes);
  const grpc = makeGrpc({
    services: [
      createServiceImplSpec<typeof AgentService>(AgentService, {
        replay: async function* () {
          for (let n = 0; n < 100; n++)
            yield { payload: { case: "text" as const, value: { content: text } } };
        },
      }),
    ],
    gate: () => {},
    shutdownSignal: new AbortController().signal,
    sweep: makeSweep(clock),
    room: makeRoom(3 * text.length),
    watch: unwatched,
    hasAsked: () => {},
    clock,
    log: () => {},
  });
  const server = createServer().on(
    "stream",
    (stream: ServerHttp2Stream, headers) => void grpc.take(stream, headers),
  );
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("it has no port");
  const session = await openSession(`http://127.0.0.1:${address.port}`);
  const replay = (): ClientHttp2Stream => {
    const stream = session.request({
      ":method": "POST",
      ":path": "/engram.api.v1.AgentService/Replay",
      "content-type": "application/grpc",
    });
    stream.end(envelope(Uint8Array.of()));
    return stream;
  };
  const stuck = [replay(), replay()];
  const status = (stream: ClientHttp2Stream): Promise<unknown> =>
    new Promise((resolve) => stream.once("response", (head) => resolve(head["grpc-status"])));
  expect(await Promise.all(stuck.map(status))).toEqual([undefined, undefined]);
  expect(await status(replay())).toBe(String(Code.ResourceExhausted));
  for (const stream of stuck) stream.close(constants.NGHTTP2_CANCEL);
  await Promise.all(stuck.map((stream) => new Promise((resolve) => stream.once("close", resolve))));
  expect(await status(replay())).toBeUndefined();
  session.destroy();
  server.close();
});
