import { expect, test } from "bun:test";
import { Code, ConnectError } from "@connectrpc/connect";
import { connect } from "node:net";
import { requestLimits } from "../../src/limits.ts";
import { roomLimits } from "../../src/server/room-limits.ts";
import { makeRoom } from "../../src/server/room.ts";
import { makeUnzip } from "../../src/server/unzip.ts";
import { openTestServer } from "../support/server.ts";

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
