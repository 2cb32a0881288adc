import { expect, test } from "bun:test";
import { envelope, openSession, post, type RawAnswer } from "../support/raw-http2.ts";
import { openTestServer } from "../support/server.ts";

/** A field of 9 bytes, of which none is there. */
const notProtobuf = Uint8Array.of(0x0a, 0x09);
const grpcInvalidArgument = "3";

const webTrailer = ({ body }: RawAnswer): string => {
  const length = body.readUInt32BE(1);
  expect(body.readUInt8(0)).toBe(0x80);
  return body.subarray(5, 5 + length).toString();
};

for (const method of ["GetAgent", "Replay", "Chat"]) {
  test(`${method} of bytes that are no protobuf is INVALID_ARGUMENT in every protocol`, async () => {
    await using server = await openTestServer();
    const session = await openSession(server.url);
    const path = `/engram.api.v1.AgentService/${method}`;
    const send = async (contentType: string, body: Uint8Array): Promise<RawAnswer> =>
      post(session, path, { "content-type": contentType }, body);

    const grpc = await send("application/grpc", envelope(notProtobuf));
    expect({ ...grpc.headers, ...grpc.trailers }).toMatchObject({
      "grpc-status": grpcInvalidArgument,
      "grpc-message": expect.stringContaining("not valid protobuf"),
    });
    const web = await send("application/grpc-web+proto", envelope(notProtobuf));
    expect(webTrailer(web)).toContain(`grpc-status: ${grpcInvalidArgument}`);
    if (method === "GetAgent") {
      const unary = await send("application/proto", notProtobuf);
      expect(unary.headers[":status"]).toBe(400);
      expect(JSON.parse(unary.body.toString())).toMatchObject({ code: "invalid_argument" });
    } else {
      for (const [format, bytes] of [
        ["proto", notProtobuf],
        ["json", Buffer.from('{"agentId":')],
      ] as const) {
        const stream = await send(`application/connect+${format}`, envelope(bytes));
        const end = JSON.parse(stream.body.subarray(5).toString());
        expect(end.error.code).toBe("invalid_argument");
      }
    }
    expect(server.logged.filter(({ level }) => level === "error")).toEqual([]);
    session.close();
  });
}

/** By method: a request in JSON with a wrong value, and where that is. */
const wrongJson: readonly (readonly [method: string, body: string, at: string])[] = [
  ["SendMessage", '{"agentId":"a","timeout":"90"}', "timeout"],
  ["CreateAgent", '{"goal":"g","tools":[{"name":"a"},{"name":7}]}', "tools[1].name"],
  ["Replay", '{"agentId":"a","fromSequence":"x"}', "from_sequence"],
  ["Chat", '{"agentId":"a","clientTimestamp":"noon"}', "client_timestamp"],
];
const framedTypes = ["connect+json", "grpc+json", "grpc-web+json"];

test.each(wrongJson)("%s of %s is refused by the field's name in every protocol", async (...of) => {
  const [method, body, at] = of;
  await using server = await openTestServer();
  const session = await openSession(server.url);
  const send = async (type: string, bytes: Uint8Array): Promise<string> => {
    const path = `/engram.api.v1.AgentService/${method}`;
    const answer = await post(session, path, { "content-type": `application/${type}` }, bytes);
    const said = JSON.stringify({ ...answer.headers, ...answer.trailers }) + String(answer.body);
    return decodeURIComponent(said);
  };
  const isStream = ["Replay", "Chat"].includes(method);
  const types = isStream ? framedTypes : ["json", ...framedTypes.slice(1)];
  for (const type of types) {
    const isFramed = type.includes("+");
    const bytes = Buffer.from(body);
    const answer = await send(type, isFramed ? envelope(bytes) : bytes);
    expect([type, answer]).toEqual([type, expect.stringContaining(`${at} is `)]);
    const code = type.includes("grpc") ? /"grpc-status":"3"|grpc-status: 3/ : /"invalid_argument"/;
    expect([type, code.test(answer)]).toEqual([type, true]);
  }
  session.close();
});

test("a later message of a chat in JSON is refused by the field's name", async () => {
  await using server = await openTestServer();
  const session = await openSession(server.url);
  const { body } = await post(
    session,
    "/engram.api.v1.AgentService/Chat",
    { "content-type": "application/connect+json" },
    Buffer.concat(
      ['{"agentId":"a","userInput":{"content":"one"}}', '{"userInput":{"content":2}}'].map((text) =>
        envelope(Buffer.from(text)),
      ),
    ),
  );
  expect(String(body)).toContain("echo one");
  expect(String(body)).toContain("user_input.content is 2; it takes");
  session.close();
});

test("a request in JSON that is not in UTF-8 is refused as one in binary form is", async () => {
  await using server = await openTestServer();
  const session = await openSession(server.url);
  const path = "/engram.api.v1.AgentService/CreateAgent";
  const body = Buffer.concat([Buffer.from('{"goal":"'), Buffer.of(0xff), Buffer.from('"}')]);
  const answer = await post(session, path, { "content-type": "application/json" }, body);
  expect(JSON.parse(String(answer.body))).toEqual({
    code: "invalid_argument",
    message: "the request message is not valid UTF-8",
  });
  session.close();
});

for (const [name, body, status] of [
  ["a length of 4 GiB", Uint8Array.of(0, 0xff, 0xff, 0xff, 0xff), "8"],
  ["a bomb of zeros", envelope(Bun.gzipSync(new Uint8Array(64 * 1024 * 1024)), 1), "8"],
  ["gzip that is none", envelope(Buffer.from("no gzip"), 1), "3"],
  ["half a message", Uint8Array.of(0, 0, 0, 0, 9, 1), "3"],
] as const) {
  test(`a gRPC message with ${name} is refused with ${status}`, async () => {
    await using server = await openTestServer();
    const session = await openSession(server.url);
    const headers = { "content-type": "application/grpc", "grpc-encoding": "gzip" };
    const answer = await post(session, "/engram.api.v1.AgentService/GetAgent", headers, body);
    expect({ ...answer.headers, ...answer.trailers }).toMatchObject({ "grpc-status": status });
    session.close();
  });
}

test("a compression that nobody knows is UNIMPLEMENTED", async () => {
  await using server = await openTestServer();
  const session = await openSession(server.url);
  const headers = { "content-type": "application/grpc", "grpc-encoding": "zip9" };
  const answer = await post(
    session,
    "/engram.api.v1.AgentService/GetAgent",
    headers,
    envelope(Uint8Array.of(), 1),
  );
  expect({ ...answer.headers, ...answer.trailers }).toMatchObject({ "grpc-status": "12" });
  session.close();
});

for (const [name, encoding] of [
  ["plain gRPC", "identity"],
  ["gRPC through connect", "gzip"],
] as const)
  test(`a chat without any message is INVALID_ARGUMENT: ${name}`, async () => {
    await using server = await openTestServer();
    const session = await openSession(server.url);
    const headers = { "content-type": "application/grpc", "grpc-encoding": encoding };
    const path = "/engram.api.v1.AgentService/Chat";
    const answer = await post(session, path, headers, Uint8Array.of());
    const status = { ...answer.headers, ...answer.trailers };
    expect(status).toMatchObject({ "grpc-status": grpcInvalidArgument });
    expect(decodeURIComponent(String(status["grpc-message"]))).toBe(
      "the call ended before its first message",
    );
    session.close();
  });
