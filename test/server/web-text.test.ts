import { expect, test } from "bun:test";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  GetAgentRequestSchema,
  ReplayRequestSchema,
  ServerMessageSchema,
} from "../../src/gen/engram/api/v1/agent_pb.ts";
import { makeFrames } from "../../src/server/frames.ts";
import { envelope } from "../support/raw-http2.ts";
import { openTestServer, type TestServer } from "../support/server.ts";

const asText = (message: Uint8Array): string => Buffer.from(envelope(message)).toString("base64");

const post = (server: TestServer, method: string, body: string): Promise<Response> =>
  fetch(`${server.url}/engram.api.v1.AgentService/${method}`, {
    method: "POST",
    headers: { "content-type": "application/grpc-web-text", "x-grpc-web": "1" },
    body,
  });

/** Messages and trailers of an answer: its pieces are padded each by itself. */
const readAnswer = async (
  response: Response,
): Promise<{ readonly messages: readonly Uint8Array[]; readonly trailers: string }> => {
  expect(response.headers.get("content-type")).toStartWith("application/grpc-web-text");
  const frames = makeFrames();
  for (const [piece] of (await response.text()).matchAll(/[^=]+=*/g))
    frames.add(Buffer.from(piece, "base64"));
  const messages: Uint8Array[] = [];
  let trailers = "";
  for (let frame = frames.take(); frame !== null; frame = frames.take())
    if (frame.flags === 0x80) trailers = Buffer.from(frame.message).toString();
    else messages.push(frame.message);
  expect(frames.rest().length).toBe(0);
  return { messages, trailers };
};

const replay = asText(toBinary(ReplayRequestSchema, create(ReplayRequestSchema, { agentId: "r" })));

test("gRPC-Web's text form is the same in base64, messages, trailers and all", async () => {
  await using server = await openTestServer();
  const { messages, trailers } = await readAnswer(await post(server, "Replay", replay));
  const read = messages.map((message) => fromBinary(ServerMessageSchema, message));
  expect(read.map(({ sequenceId }) => sequenceId)).toEqual([1n, 2n, 3n]);
  expect(trailers).toContain("grpc-status: 0");
});

test("gRPC-Web's text form tells failures as the binary one does", async () => {
  await using server = await openTestServer();
  const bug = asText(
    toBinary(ReplayRequestSchema, create(ReplayRequestSchema, { agentId: "bug" })),
  );
  expect((await readAnswer(await post(server, "Replay", bug))).trailers).toContain(
    "grpc-status: 13",
  );
  for (const body of ["no base64 !", asText(Uint8Array.of(0x0a, 0x09))])
    expect((await readAnswer(await post(server, "GetAgent", body))).trailers).toContain(
      "grpc-status: 3",
    );
  const nowhere = await post(server, "Nothing", replay);
  expect(nowhere.headers.get("grpc-status")).toBe("12");
});

test("gRPC-Web's text form is read however its characters are cut", async () => {
  await using server = await openTestServer();
  const text = asText(
    toBinary(GetAgentRequestSchema, create(GetAgentRequestSchema, { agentId: "abcdef" })),
  );
  const body = new ReadableStream<Uint8Array>({
    start: (controller) => {
      for (const character of text) controller.enqueue(Buffer.from(character));
      controller.close();
    },
  });
  const response = await fetch(`${server.url}/engram.api.v1.AgentService/GetAgent`, {
    method: "POST",
    headers: { "content-type": "application/grpc-web-text+proto" },
    body,
  });
  expect((await readAnswer(response)).messages.length).toBe(1);
});
