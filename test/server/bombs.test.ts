import { expect, test } from "bun:test";
import { create, fromBinary, toBinary, toJsonString } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import fc from "fast-check";
import { CreateAgentRequestSchema } from "../../src/gen/engram/api/v1/agent_pb.ts";
import { ExtensionNumberResponseSchema } from "../../src/gen/grpc/reflection/v1/reflection_pb.ts";
import { requestLimits } from "../../src/limits.ts";
import { makeValueCount, mustHaveFewFields, mustHaveFewValues } from "../../src/server/parts.ts";
import { roomLimits } from "../../src/server/room-limits.ts";
import { envelope, openSession, post, type RawAnswer } from "../support/raw-http2.ts";
import { openTestServer } from "../support/server.ts";

const { messagePartsMax } = requestLimits;

/** A creation with so many entries of metadata. */
const wide = (entries: number) =>
  create(CreateAgentRequestSchema, {
    goal: "g",
    metadata: Object.fromEntries(Array.from({ length: entries }, (_, n) => [`k${n}`, "v"])),
  });
const binary = (entries: number): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(toBinary(CreateAgentRequestSchema, wide(entries)));
const json = (entries: number): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(Buffer.from(toJsonString(CreateAgentRequestSchema, wide(entries))));

const grpcStatus = ({ headers, trailers }: RawAnswer): unknown =>
  headers["grpc-status"] ?? trailers["grpc-status"];

for (const [name, headers, body] of [
  ["gRPC", { "content-type": "application/grpc" }, (n: number) => envelope(binary(n))],
  [
    "gRPC, zipped",
    { "content-type": "application/grpc", "grpc-encoding": "gzip" },
    (n: number) => envelope(Bun.gzipSync(binary(n)), 1),
  ],
  ["gRPC with JSON", { "content-type": "application/grpc+json" }, (n: number) => envelope(json(n))],
] as const)
  test(`too many parts are refused before they are parsed: ${name}`, async () => {
    await using server = await openTestServer();
    const session = await openSession(server.url);
    const path = "/engram.api.v1.AgentService/CreateAgent";
    expect(grpcStatus(await post(session, path, headers, body(messagePartsMax + 1)))).toBe("8");
    expect(grpcStatus(await post(session, path, headers, body(messagePartsMax / 4)))).toBe("0");
    session.destroy();
  });

for (const [name, headers, body] of [
  ["JSON", { "content-type": "application/json" }, json],
  [
    "JSON, zipped",
    { "content-type": "application/json; charset=utf-8", "content-encoding": "gzip" },
    (n: number) => Bun.gzipSync(json(n)),
  ],
  ["JSON in capitals", { "content-type": "Application/JSON" }, json],
  ["binary", { "content-type": "application/proto" }, binary],
] as const)
  test(`too many parts are refused before they are parsed: Connect, ${name}`, async () => {
    await using server = await openTestServer();
    const call = (entries: number) =>
      fetch(`${server.url}/engram.api.v1.AgentService/CreateAgent`, {
        method: "POST",
        headers,
        body: body(entries),
      });
    const refused = await call(messagePartsMax + 1);
    expect(refused.status).toBe(429);
    expect(await refused.json()).toMatchObject({
      code: "resource_exhausted",
      message: expect.stringContaining(`${messagePartsMax}`),
    });
    const taken = await call(messagePartsMax / 4);
    expect(taken.status).toBe(200);
    await taken.body?.cancel();
  });

const large = JSON.stringify({ goal: "x".repeat(requestLimits.messageBytesMax) });
const streamed = { "content-type": "application/connect+json" };
for (const [name, method, headers, body] of [
  ["as it is", "CreateAgent", { "content-type": "application/json" }, large],
  [
    "zipped",
    "CreateAgent",
    { "content-type": "application/json", "content-encoding": "gzip" },
    Bun.gzipSync(large),
  ],
  ["for a stream", "Replay", streamed, envelope(Buffer.from(large))],
  [
    "for a stream, zipped",
    "Replay",
    { ...streamed, "connect-content-encoding": "gzip" },
    envelope(Bun.gzipSync(large), 1),
  ],
] as const)
  test(`who sends a message that is too large is told what to do: ${name}`, async () => {
    await using server = await openTestServer();
    const url = `${server.url}/engram.api.v1.AgentService/${method}`;
    const answer = await (await fetch(url, { method: "POST", headers, body })).text();
    expect(answer).toContain("resource_exhausted");
    expect(answer).toContain(`at most ${requestLimits.messageBytesMax} are taken: send less`);
  });

/** null: it was taken. */
const codeOf = (look: () => void): Code | null => {
  try {
    look();
    return null;
  } catch (error) {
    return ConnectError.from(error).code;
  }
};

test("brackets, braces and commas in a text are no parts; those of nested lists are", () => {
  const text = '[{,"\\'.repeat(messagePartsMax);
  expect(codeOf(() => mustHaveFewValues(Buffer.from(JSON.stringify({ goal: text }))))).toBeNull();
  for (const bomb of ["[", '{"a":', "1,", '"",', '"\\\\",'])
    expect(codeOf(() => mustHaveFewValues(Buffer.from(bomb.repeat(messagePartsMax + 1))))).toBe(
      Code.ResourceExhausted,
    );
});

test("a text that is looked at as it grows is found to have what it has, and as soon as it is there", () => {
  const grown = (text: string, cuts: readonly number[]): number | null => {
    const bytes = Buffer.from(text);
    const look = makeValueCount();
    for (const end of [...cuts.toSorted((a, b) => a - b), bytes.length])
      if (codeOf(() => look(bytes.subarray(0, end))) !== null) return end;
    return null;
  };
  const tricky = '{"a\\"[":"\\\\","b,":[1,{}]}'.repeat(messagePartsMax / 5);
  fc.assert(
    fc.property(fc.array(fc.nat({ max: tricky.length })), (cuts) => {
      expect(grown(tricky, cuts)).toBeNull();
      expect(grown(`${tricky}[`, cuts)).toBe(tricky.length + 1);
    }),
    { numRuns: 20 },
  );
  expect(grown(`${tricky}[${" ".repeat(100)}`, [tricky.length + 2])).toBe(tricky.length + 2);
  const digits = `{"a":"${"9".repeat(roomLimits.digitsMax + 1)}"}`;
  expect(grown(digits, [10, roomLimits.digitsMax])).toBe(digits.length);
});

test("a number of too many digits is refused, whatever stands around it; a long text is not", () => {
  const { digitsMax } = roomLimits;
  const look = (text: string) => (): void =>
    mustHaveFewValues(Buffer.from(JSON.stringify({ text })));
  const digits = "9".repeat(digitsMax);
  for (const bomb of [`${digits}9`, `-${digits}9`, `\n ${digits}9\n`])
    expect(codeOf(look(bomb))).toBe(Code.ResourceExhausted);
  for (const text of [digits, `${digits}.${digits}`, "x".repeat(4 * digitsMax)])
    expect(codeOf(look(text))).toBeNull();
});

test("fields are counted however deep they stand", () => {
  const nested = (items: number) => {
    const list = Array.from({ length: items }, (_, n) => ({ deep: [n, { n }] }));
    return toBinary(
      CreateAgentRequestSchema,
      create(CreateAgentRequestSchema, { config: { responseSchema: { list } } }),
    );
  };
  const look = (items: number) => (): void =>
    mustHaveFewFields(CreateAgentRequestSchema, nested(items));
  expect(codeOf(look(messagePartsMax / 50))).toBeNull();
  expect(codeOf(look(messagePartsMax / 5))).toBe(Code.ResourceExhausted);
  expect(codeOf(() => mustHaveFewFields(CreateAgentRequestSchema, tools))).toBe(
    Code.ResourceExhausted,
  );
});

const hex = (digits: string): Buffer => Buffer.from(digits, "hex");
const varint = (value: number): Buffer =>
  value < 0x80
    ? Buffer.of(value)
    : Buffer.concat([Buffer.of((value & 0x7f) | 0x80), varint(value >>> 7)]);
const sized = (tag: number, content: Uint8Array): Buffer =>
  Buffer.concat([Buffer.of(tag), varint(content.length), content]);
const pairs = (tag: number): Uint8Array =>
  new Uint8Array(2 * (messagePartsMax + 1)).map((_, n) => (n % 2 === 0 ? tag : 0));

/** The smallest tools there are: two bytes each. */
const tools = pairs(0x22);
/** A Struct of a list of empty values, and the head of a config that has it. */
const struct = sized(0x0a, sized(0x12, sized(0x32, pairs(0x0a))));
const schemaHead = Buffer.concat([Buffer.of(0x42), varint(struct.length)]);

for (const [name, code, pieces] of [
  ["behind a group that nobody knows", Code.ResourceExhausted, [hex("a306a406"), tools]],
  ["behind a text that says it is a number", Code.InvalidArgument, [hex("0801"), tools]],
  ["in a number that says it is a text", Code.InvalidArgument, [sized(0x32, sized(0x0a, tools))]],
  ["in what ends behind its message", Code.ResourceExhausted, [sized(0x32, schemaHead), struct]],
  ["behind a group that ends elsewhere", Code.InvalidArgument, [sized(0x32, hex("a306")), tools]],
  ["in what is cut off", Code.InvalidArgument, [hex("1a808002"), tools.subarray(0, 20)]],
  ["behind a number of eleven bytes", Code.InvalidArgument, [hex(`a006${"ff".repeat(11)}`), tools]],
] as const)
  test(`a bomb is found ${name}`, () => {
    const bytes = Buffer.concat([...pieces]);
    expect(codeOf(() => mustHaveFewFields(CreateAgentRequestSchema, bytes))).toBe(code);
  });

test("numbers that are packed are counted one by one", () => {
  const numbers = (bytes: Uint8Array) => (): void =>
    mustHaveFewFields(ExtensionNumberResponseSchema, sized(0x12, bytes));
  expect(codeOf(numbers(new Uint8Array(messagePartsMax - 1)))).toBeNull();
  expect(codeOf(numbers(new Uint8Array(messagePartsMax)))).toBe(Code.ResourceExhausted);
  expect(codeOf(numbers(Uint8Array.of(1, 0x80)))).toBe(Code.InvalidArgument);
});

test("what newer clients may send is passed on: fields, groups and parts of entries that nobody knows", () => {
  const message = Buffer.concat([
    hex("a00601"),
    hex("a3060801a406"),
    sized(0x1a, hex("0a016112016218071a00")),
  ]);
  expect(codeOf(() => mustHaveFewFields(CreateAgentRequestSchema, message))).toBeNull();
  const { metadata, $unknown } = fromBinary(CreateAgentRequestSchema, message);
  expect(metadata).toEqual({ a: "b" });
  expect($unknown?.length).toBe(2);
});

test("whatever bytes come, counting ends, and refuses nothing small that can be parsed", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 2_000 }), (bytes) => {
      expect([null, Code.InvalidArgument]).toContain(
        codeOf(() => mustHaveFewFields(CreateAgentRequestSchema, bytes)),
      );
      mustHaveFewValues(bytes);
    }),
  );
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue(), { maxKeys: 20 }), (schema) => {
      const plain: unknown = JSON.parse(JSON.stringify(schema));
      const bytes = toBinary(
        CreateAgentRequestSchema,
        create(CreateAgentRequestSchema, { config: { responseSchema: Object(plain) } }),
      );
      mustHaveFewFields(CreateAgentRequestSchema, bytes);
      expect(() => fromBinary(CreateAgentRequestSchema, bytes)).not.toThrow();
    }),
  );
});
