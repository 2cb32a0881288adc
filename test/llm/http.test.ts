import { afterAll, beforeAll, expect, test } from "bun:test";
import { createServer, type AddressInfo, type Socket } from "node:net";
import { send } from "../../src/llm/http.ts";
import { quiet } from "../support/stage.ts";

const partCount = 16;
// A character of two units lies across each border of slices.
const part = `x${"\u{1F600}".repeat(256 * 1024)}`;
const partBytes = Buffer.byteLength(part);

const server = createServer({ pauseOnConnect: true });
let url: URL;
beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  url = new URL(`http://127.0.0.1:${port}/`);
});
afterAll(() => void server.close());

/** A body, and how many of its parts were taken up to be sent. */
const watchedBody = () => {
  const looks = Array<number>(partCount).fill(0);
  const parts = new Proxy(Array<string>(partCount).fill(part), {
    get: (target, key, receiver): unknown => {
      if (typeof key === "string" && /^\d+$/.test(key)) looks[Number(key)]!++;
      return Reflect.get(target, key, receiver);
    },
  });
  // The first look is for the length.
  return { parts, taken: () => looks.filter((count) => count > 1).length };
};

const accepted = (): Promise<Socket> =>
  new Promise((resolve) => server.once("connection", resolve));

test("a body in parts is spelled out as the server takes it", async () => {
  const { parts, taken } = watchedBody();
  const coming = accepted();
  const { signal } = new AbortController();
  const reply = send(url, { method: "POST", headers: {}, body: parts }, signal);
  const socket = await coming;
  await quiet();
  expect(taken()).toBeLessThan(partCount);
  let bytes = 0;
  let head = "";
  const chunks: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => {
    if (head === "") head = chunk.toString("latin1").split("\r\n\r\n")[0] ?? "";
    bytes += chunk.length;
    chunks.push(chunk);
    if (bytes === head.length + 4 + partCount * partBytes)
      socket.end("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
  });
  socket.resume();
  expect((await reply).status).toBe(200);
  expect(head.toLowerCase()).toContain(`content-length: ${partCount * partBytes}`);
  expect(taken()).toBe(partCount);
  const sent = Buffer.concat(chunks).subarray(head.length + 4);
  expect(sent.equals(Buffer.from(part.repeat(partCount)))).toBe(true);
});

test("a body that nobody takes is let go of by a stop", async () => {
  const { parts, taken } = watchedBody();
  const coming = accepted();
  const stop = new AbortController();
  const reply = send(url, { method: "POST", headers: {}, body: parts }, stop.signal);
  const socket = await coming;
  socket.on("error", () => {});
  await quiet();
  const reason = new Error("paused");
  stop.abort(reason);
  await expect(reply).rejects.toBe(reason);
  const before = taken();
  socket.resume();
  await quiet();
  expect(taken()).toBe(before);
  expect(before).toBeLessThan(partCount);
});

test("an answer before the end of the body counts", async () => {
  const { parts } = watchedBody();
  const coming = accepted();
  const { signal } = new AbortController();
  const reply = send(url, { method: "POST", headers: {}, body: parts }, signal);
  const socket = await coming;
  socket.on("error", () => {});
  socket.write("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
  expect((await reply).status).toBe(413);
  socket.destroy();
});
