import { expect, test } from "bun:test";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { ClientHttp2Session, ClientHttp2Stream } from "node:http2";
import fc from "fast-check";
import {
  ClientMessageSchema,
  GetAgentRequestSchema,
  ServerMessageSchema,
} from "../../src/gen/engram/api/v1/agent_pb.ts";
import { requestLimits } from "../../src/limits.ts";
import { frameOf, makeFrames } from "../../src/server/frames.ts";
import { envelope, openSession, post } from "../support/raw-http2.ts";
import { openTestServer } from "../support/server.ts";

const path = (method: string): string => `/engram.api.v1.AgentService/${method}`;
const plain = { "content-type": "application/grpc", te: "trailers" };

const input = (content: string): Uint8Array =>
  envelope(
    toBinary(
      ClientMessageSchema,
      create(ClientMessageSchema, {
        agentId: "a",
        payload: { case: "userInput", value: { content } },
      }),
    ),
  );

const openChat = (session: ClientHttp2Session): ClientHttp2Stream =>
  session.request({ ":method": "POST", ":path": path("Chat"), ...plain });

/** The texts of an answer's messages. */
const textsIn = (body: Buffer): readonly string[] => {
  const frames = makeFrames();
  frames.add(body);
  const texts: string[] = [];
  for (let frame = frames.take(); frame !== null; frame = frames.take()) {
    const { payload } = fromBinary(ServerMessageSchema, frame.message);
    texts.push(payload.case === "text" ? payload.value.content : "");
  }
  return texts;
};

test("messages come out as they went in, however their bytes are cut", () => {
  const messages = fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 20 });
  const cuts = fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 50 });
  fc.assert(
    fc.property(messages, cuts, (given, sizes) => {
      const bytes = Buffer.concat(given.map(frameOf));
      const frames = makeFrames();
      const found: Uint8Array[] = [];
      let at = 0;
      for (let n = 0; at < bytes.length; n++) {
        const size = sizes[n % sizes.length] ?? 1;
        frames.add(bytes.subarray(at, at + size));
        at += size;
        for (let next = frames.take(); next !== null; next = frames.take())
          found.push(next.message);
      }
      expect(found.map((one) => Buffer.from(one).toHex())).toEqual(
        given.map((one) => Buffer.from(one).toHex()),
      );
      expect(frames.rest().length).toBe(0);
    }),
  );
});

test("messages sent together are answered one after the other, and so are single bytes", async () => {
  await using server = await openTestServer();
  const session = await openSession(server.url);
  const all = Buffer.concat(["one", "two", "three"].map(input));
  const echoes = ["echo one", "echo two", "echo three"];
  const together = await post(session, path("Chat"), plain, all);
  expect(textsIn(together.body)).toEqual(echoes);
  expect(together.trailers["grpc-status"]).toBe("0");

  const stream = openChat(session);
  const said: Buffer[] = [];
  stream.on("data", (chunk: Buffer) => said.push(chunk));
  for (const byte of all) {
    stream.write(Uint8Array.of(byte));
    await new Promise((resolve) => setImmediate(resolve));
  }
  stream.end();
  await new Promise((resolve) => stream.once("close", resolve));
  expect(textsIn(Buffer.concat(said))).toEqual(echoes);
  session.destroy();
});

test("a chat whose content type is written in capitals is one too", async () => {
  await using server = await openTestServer();
  const session = await openSession(server.url);
  const stream = session.request({
    ":method": "POST",
    ":path": path("Chat"),
    "content-type": "Application/GRPC+Proto",
  });
  stream.write(input("one"));
  const said = await new Promise<Buffer>((resolve) => stream.once("data", resolve));
  expect(textsIn(said)).toEqual(["echo one"]);
  session.destroy();
});

const asked = envelope(
  toBinary(GetAgentRequestSchema, create(GetAgentRequestSchema, { agentId: "a" })),
);

for (const [name, body, status, words] of [
  ["a length of 4 GiB", Uint8Array.of(0, 0xff, 0xff, 0xff, 0xff), "8", "4294967295"],
  [
    "a byte more than is taken",
    envelope(new Uint8Array(requestLimits.messageBytesMax + 1)),
    "8",
    `${requestLimits.messageBytesMax}`,
  ],
  ["half a message", Uint8Array.of(0, 0, 0, 0, 9, 1), "3", "middle of a message"],
  ["no message", Uint8Array.of(), "3", "no request message"],
  ["two messages", Buffer.concat([asked, asked]), "3", "one request message"],
  [
    "compression, but no name for it",
    envelope(Bun.gzipSync(Uint8Array.from(asked)), 1),
    "3",
    "grpc-encoding",
  ],
  ["a flag that nobody knows", envelope(Uint8Array.of(), 2), "3", "grpc-encoding"],
] as const)
  test(`a plain unary call with ${name} is refused with ${status}`, async () => {
    await using server = await openTestServer();
    const session = await openSession(server.url);
    const { headers, trailers } = await post(session, path("GetAgent"), plain, body);
    expect({ ...headers, ...trailers }).toMatchObject({ "grpc-status": status });
    const message = decodeURIComponent(String({ ...headers, ...trailers }["grpc-message"]));
    expect(message).toContain(words);
    // The connection goes on.
    const next = await post(session, path("GetAgent"), plain, asked);
    expect(next.trailers["grpc-status"]).toBe("0");
    session.destroy();
  });

for (const timeout of ["5", "x", "123456789S", "-1m"])
  test(`a grpc-timeout of ${timeout} is refused`, async () => {
    await using server = await openTestServer();
    const session = await openSession(server.url);
    const headers = { ...plain, "grpc-timeout": timeout };
    const answer = await post(session, path("GetAgent"), headers, asked);
    expect(answer.headers["grpc-status"]).toBe("3");
    session.destroy();
  });

test("who sends without being read is held back by the window of its call", async () => {
  await using server = await openTestServer();
  const session = await openSession(server.url);
  const stream = openChat(session);
  stream.on("error", () => {});
  stream.write(input("hold"));
  await server.agents.untilRunning(1);
  const pieces = 256;
  let sent = 0;
  const large = input("x".repeat(256 * 1024));
  for (let n = 0; n < pieces; n++) stream.write(large, () => (sent += 1));
  // Answers on the same connection come behind whatever of it the server has taken.
  for (let n = 0; n < 50; n++) await post(session, path("GetAgent"), plain, asked);
  expect(sent).toBeLessThan(pieces / 16);
  stream.close(8);
  await server.agents.untilRunning(0);
  session.destroy();
});

test("who goes on sending behind the end of its call is not stuck", async () => {
  await using server = await openTestServer();
  const session = await openSession(server.url);
  const stream = openChat(session);
  const trailers = new Promise<Record<string, unknown>>((resolve) =>
    stream.once("trailers", (got) => resolve({ ...got })),
  );
  const head = new Promise<Record<string, unknown>>((resolve) =>
    stream.once("response", (got) => resolve({ ...got })),
  );
  stream.resume();
  stream.write(envelope(Uint8Array.of(0x0a, 0x09)));
  expect(await Promise.race([head, trailers])).toMatchObject({ "grpc-status": "3" });
  const finished = new Promise((resolve) => stream.once("close", resolve));
  stream.end(input("x".repeat(1024 * 1024)));
  await finished;
  session.destroy();
});
