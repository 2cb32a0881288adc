import { expect, setDefaultTimeout, test } from "bun:test";
import { fromJson, type JsonValue } from "@bufbuild/protobuf";
import { ServerMessageSchema } from "../../src/gen/engram/api/v1/agent_pb.ts";
import { makeCertificate } from "../support/certificate.ts";
import { openEngine, type Settings } from "../support/engine-process.ts";
import { makeListener } from "../support/listener.ts";
import { openNodeClient } from "../support/node-client/node-client.ts";
import { numbersIn, numbersTo } from "../support/numbered-words.ts";

setDefaultTimeout(60_000);

const apiKey = "a key";
const ok = { code: "OK", details: "" };
const counted = numbersTo(30).join(" ");
const answers = {
  conversation: {
    texts: [counted, "good-bye"],
    joined: `${counted}good-bye`,
    pieceFirst: true,
    chat: ok,
    history: ["1", "2", "3", "4", "5"],
    replay: ok,
  },
  unaries: {
    large: [true],
    metadata: { ключ: "värde" },
    controlled: ["paused", "canceled"],
    set: "canceled",
    tools: [],
    deleted: {},
    gone: { code: "NOT_FOUND", details: "no agent  nobody-ü-€-😀, 100% sure: a/b? " },
    argument: { code: "INVALID_ARGUMENT", details: expect.stringContaining("goal") },
    tooLarge: { code: "RESOURCE_EXHAUSTED", details: expect.stringContaining("4194304") },
  },
  endings: {
    canceled: "CANCELLED",
    wentOn: [numbersTo(20).join(" ")],
    late: "DEADLINE_EXCEEDED",
    tooSlow: { code: "DEADLINE_EXCEEDED", details: expect.stringContaining("goes on") },
    noKey: { code: "UNAUTHENTICATED", details: expect.stringContaining("x-api-key") },
  },
  crowd: { asked: 200, spoken: 40 },
};

const tls = makeCertificate();
const ways: Readonly<Record<string, { settings: Settings; caPath: string | null }>> = {
  "a plain port": { settings: {}, caPath: null },
  TLS: {
    settings: { TLS_CERT: tls.certPath, TLS_KEY: tls.keyPath },
    caPath: tls.certPath,
  },
};

test.each(Object.entries(ways))(
  "grpc-js calls both services over %s, with and without gzip",
  async (_, { settings, caPath }) => {
    await using engine = await openEngine({ API_KEY: apiKey, ...settings });
    const { target } = engine;
    await using client = await openNodeClient({ does: "calls", target, caPath, apiKey });
    for (let rest = 4; rest > 0; rest--) expect(await client.line()).toEqual(answers);
    expect(await client.line()).toBe(null);
  },
);

test("grpc-js's keepalive pings are answered, and tell it of an engine that hangs", async () => {
  await using engine = await openEngine({ HEARTBEAT_MS: "100" });
  const { target } = engine;
  await using client = await openNodeClient({ does: "follow", target, caPath: null, apiKey: "" });
  expect(await client.line()).toBe("following");
  engine.freeze();
  expect(await client.line()).toMatchObject({ code: "UNAVAILABLE" });
  engine.thaw();
});

type Streamed = {
  readonly resumed: string;
  readonly outcome: { readonly code: string };
  readonly messages: readonly JsonValue[];
};

test("grpc-js's channel finds a restarted engine again, and Chat goes on from a sequence", async () => {
  await using engine = await openEngine();
  const { target } = engine;
  await using client = await openNodeClient({
    does: "reconnect",
    target,
    caPath: null,
    apiKey: "",
  });
  expect(await client.line()).toBe("begun");
  await engine.kill();
  await engine.start({ GRPC_PORT: new URL(engine.url).port });
  const listener = makeListener();
  const codes: string[] = [];
  for (;;) {
    const line = (await client.line()) as Streamed | null;
    if (line === null) break;
    listener.attach(BigInt(line.resumed));
    for (const message of line.messages)
      listener.hear(fromJson(ServerMessageSchema, message, { ignoreUnknownFields: true }));
    codes.push(line.outcome.code);
  }
  expect(codes).toEqual(["UNAVAILABLE", "OK"]);
  expect(listener.texts.map(numbersIn)).toEqual([numbersTo(300)]);
});
