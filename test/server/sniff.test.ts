import { expect, test } from "bun:test";
import { connect, type Socket } from "node:net";
import { openTestServer } from "../support/server.ts";

const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const settings = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);
const frameTypeSettings = 4;

const dial = async (port: number): Promise<Socket> =>
  new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1", noDelay: true }, () => resolve(socket));
    socket.once("error", reject);
  });

/** Sends each piece once the server's side of the loop has had a turn to read the one before. */
const sendPieces = async (socket: Socket, pieces: readonly Uint8Array[]): Promise<void> => {
  for (const piece of pieces) {
    await new Promise<void>((resolve) => void socket.write(piece, () => resolve()));
    for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  }
};

const firstAnswer = async (socket: Socket): Promise<Buffer> =>
  new Promise((resolve, reject) => {
    socket.once("data", resolve);
    socket.once("close", () => reject(new Error("closed without an answer")));
  });

test("HTTP/2 is found wherever the preface is split", async () => {
  await using server = await openTestServer();
  const bytes = Buffer.concat([Buffer.from(preface), settings]);
  const splits = Array.from({ length: preface.length + 1 }, (_, at) => [
    bytes.subarray(0, at),
    bytes.subarray(at),
  ]);
  const byteByByte = [...bytes].map((byte) => Uint8Array.of(byte));
  for (const pieces of [...splits, byteByByte]) {
    const socket = await dial(server.port);
    const answer = firstAnswer(socket);
    await sendPieces(
      socket,
      pieces.filter(({ length }) => length > 0),
    );
    expect((await answer)[3]).toBe(frameTypeSettings);
    socket.destroy();
  }
});

for (const head of [
  "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
  // Each begins like the preface and is none.
  "PUT /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
  "PROPFIND /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
  "PRI * HTTP/1.1\r\nHost: a\r\n\r\n",
]) {
  test(`HTTP/1.1 is found wherever "${head.slice(0, 8)}" is split`, async () => {
    await using server = await openTestServer();
    const bytes = Buffer.from(head);
    for (let at = 1; at < bytes.length; at += 1) {
      const socket = await dial(server.port);
      const answer = firstAnswer(socket);
      await sendPieces(socket, [bytes.subarray(0, at), bytes.subarray(at)]);
      expect((await answer).toString()).toStartWith("HTTP/1.1 ");
      socket.destroy();
    }
  });
}
