import { create, toBinary } from "@bufbuild/protobuf";
import { expect, test } from "bun:test";
import fc from "fast-check";
import { HealthCheckRequestSchema } from "../../src/gen/grpc/health/v1/health_pb.ts";
import { serverLimits } from "../../src/limits.ts";
import { grpcMessageOf, sendable } from "../../src/server/words.ts";
import { envelope, openSession, post, type RawAnswer } from "../support/raw-http2.ts";
import { openTestServer } from "../support/server.ts";

const { statusBytesMax } = serverLimits;
const long = "é".repeat(100_000);
const getAgent = "/engram.api.v1.AgentService/GetAgent";

test("whatever a message quotes, it can be sent, and both of its ends can be read", () => {
  const strange = fc.string({ unit: "binary", maxLength: 3_000 });
  const halves = fc.array(fc.integer({ min: 0xd700, max: 0xe0ff }), { maxLength: 800 });
  const quoted = fc.oneof(
    strange,
    halves.map((units) => String.fromCharCode(...units)),
  );
  fc.assert(
    fc.property(quoted, (quote) => {
      const sent = sendable(`no agent ${quote}: look at the list`);
      expect(sent).toStartWith("no agent ");
      expect(sent).toEndWith(": look at the list");
      expect(encodeURIComponent(sent).length).toBeLessThanOrEqual(statusBytesMax);
    }),
    { numRuns: 30 },
  );
});

test("a message in gRPC's header has nothing escaped that need not be, and every client takes it back", () => {
  expect(grpcMessageOf("a, b: 100% of /x?y=z [1] #2")).toBe("a, b: 100%25 of /x?y=z [1] #2");
  expect(grpcMessageOf(" no agent ü ")).toBe("%20no agent %C3%BC%20");
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => {
      const message = sendable(text);
      const written = grpcMessageOf(message);
      expect(written).toMatch(/^(?! )[ -~]*(?<! )$/);
      expect(decodeURI(written)).toBe(message);
      expect(decodeURIComponent(written)).toBe(message);
    }),
  );
});

test("a message that fits is left as it is, to the byte", () => {
  for (const message of ["", "x".repeat(statusBytesMax), `${"é".repeat(170)}xxxx`])
    expect(sendable(message)).toBe(message);
  expect(sendable("x".repeat(statusBytesMax + 1))).toContain("x … x");
});

const webTrailer = ({ body }: RawAnswer): string => body.subarray(5).toString();

for (const [protocol, headers, wrap, messageIn] of [
  [
    "plain gRPC",
    { "content-type": "application/grpc" },
    envelope,
    (answer: RawAnswer) => String(answer.headers["grpc-message"]),
  ],
  [
    "gRPC through connect",
    { "content-type": "application/grpc", "grpc-encoding": "gzip" },
    envelope,
    (answer: RawAnswer) => String({ ...answer.headers, ...answer.trailers }["grpc-message"]),
  ],
  ["gRPC-Web", { "content-type": "application/grpc-web+proto" }, envelope, webTrailer],
  [
    "Connect",
    { "content-type": "application/proto" },
    (bytes: Uint8Array) => bytes,
    ({ body }: RawAnswer) => body.toString(),
  ],
] as const)
  test(`a failure that quotes a long text is told in short, and the connection goes on: ${protocol}`, async () => {
    await using server = await openTestServer();
    const session = await openSession(server.url);
    const request = toBinary(
      HealthCheckRequestSchema,
      create(HealthCheckRequestSchema, { service: long }),
    );
    const answer = await post(session, "/grpc.health.v1.Health/Check", headers, wrap(request));
    const message = messageIn(answer);
    expect(message).toContain("there");
    expect(message.length).toBeLessThan(statusBytesMax + 100);
    const next = await post(session, getAgent, { "content-type": "application/json" }, json({}));
    expect(next.headers[":status"]).toBe(200);
    session.destroy();
  });

const json = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value));

test("a request in a form that nobody takes is refused in few words", async () => {
  await using server = await openTestServer();
  const session = await openSession(server.url);
  const headers = { "content-type": `text/${"x".repeat(9_000)}` };
  const answer = await post(session, getAgent, headers, json({}));
  expect(answer.body.toString()).toContain("does not take");
  expect(answer.body.length).toBeLessThan(statusBytesMax + 100);
  session.destroy();
});
