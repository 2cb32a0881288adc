import { beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { makeCertificate } from "../support/certificate.ts";
import { openEngine, type Settings } from "../support/engine-process.ts";
import { buildGoClient, type GoCall, type GoClient, type GoResult } from "../support/go.ts";
import { numbersTo } from "../support/numbered-words.ts";

// The first build compiles Go's own library, and fetches grpc-go.
setDefaultTimeout(180_000);

let client: GoClient;
beforeAll(() => {
  client = buildGoClient();
});

const apiKey = "a key";
const agentId = "$AGENT";
const unknown = "nobody-ü-€-😀, 100% sure: a/b?";
const agentCalls: Readonly<Record<string, Omit<GoCall, "apiKey" | "gzip">>> = {
  created: {
    method: "CreateAgent",
    requests: [
      {
        goal: "help",
        model: "scripted:1",
        config: { waitForInput: true, max_duration: "90.5s", max_total_tokens: "9007199254740991" },
      },
    ],
  },
  chatted: {
    method: "Chat",
    requests: [
      { agentId, userInput: { content: "count to 30" } },
      { agent_id: agentId, message_id: "m2", user_input: { content: "say good-bye" } },
    ],
  },
  replayed: {
    method: "Replay",
    requests: [{ agentId, fromSequence: "4", includeHistory: true }],
  },
  left: {
    method: "Chat",
    requests: [{ agentId, userInput: { content: "count to 400" } }],
    cancelAt: "text_delta",
  },
  late: { method: "Replay", requests: [{ agentId, follow: true }], timeoutMs: 100 },
  canceled: { method: "SetAgentStatus", requests: [{ agentId, status: "canceled" }] },
  refused: { method: "Chat", requests: [{ agentId, userInput: { content: "hello" } }] },
  unknown: { method: "GetAgent", requests: [{ agentId: unknown }] },
  unknownStream: { method: "Replay", requests: [{ agentId: unknown }] },
  deleted: { method: "DeleteAgent", requests: [{ agentId }] },
};

const ok = { code: "OK", message: "" };
const answered = (...messages: unknown[]): unknown => ({ ...ok, messages });
const absent = { messages: [], code: "NotFound", message: `no agent ${unknown}` };
/** In protobuf's JSON form, as Go writes it. */
const agentAnswers = {
  created: answered({
    agentId: expect.any(String),
    agent: expect.objectContaining({
      status: "waiting_for_input",
      createdAt: expect.stringMatching(/Z$/),
      headSequence: "1",
      config: { waitForInput: true, maxDuration: "90.500s", maxTotalTokens: "9007199254740991" },
    }),
  }),
  chatted: { ...ok, messages: expect.any(Array) },
  replayed: answered(
    expect.objectContaining({ status: { status: "user_input", message: "say good-bye" } }),
    expect.objectContaining({ sequenceId: "5", text: { content: "good-bye" } }),
  ),
  left: { messages: expect.any(Array), code: "Canceled", message: "context canceled" },
  late: { messages: expect.any(Array), code: "DeadlineExceeded", message: expect.any(String) },
  canceled: answered({ status: "canceled" }),
  // What was written of the answer is shown first.
  refused: {
    messages: expect.any(Array),
    code: "FailedPrecondition",
    message: expect.stringContaining("canceled"),
  },
  unknown: absent,
  unknownStream: absent,
  deleted: answered({}),
};

type Heard = { readonly text?: { content: string }; readonly textDelta?: { content: string } };

const expectChat = ({ messages }: GoResult): void => {
  const heard = messages as readonly Heard[];
  const contentOf = (name: keyof Heard): readonly string[] =>
    heard.flatMap(({ [name]: value }) => (value === undefined ? [] : [value.content]));
  const texts = [numbersTo(30).join(" "), "good-bye"];
  expect(contentOf("text")).toEqual(texts);
  expect(contentOf("textDelta").join("")).toBe(texts.join(""));
};

const tls = makeCertificate();
const ways: Readonly<Record<string, { settings: Settings; caPath?: string }>> = {
  "a plain port": { settings: {} },
  TLS: { settings: { TLS_CERT: tls.certPath, TLS_KEY: tls.keyPath }, caPath: tls.certPath },
};

test.each(Object.entries(ways))(
  "grpc-go calls both services over %s by what reflection tells it, with and without gzip",
  async (_, { settings, ...trust }) => {
    await using engine = await openEngine({ API_KEY: apiKey, ...settings });
    const { target } = engine;
    for (const service of ["engram.api.v1.AgentService", "dura.api.v1.AgentService"])
      for (const gzip of [false, true]) {
        const calls = Object.values(agentCalls).map((call) => ({
          ...call,
          method: `${service}/${call.method}`,
          apiKey,
          gzip,
        }));
        const results = await client.call({ target, ...trust }, calls);
        const named = Object.keys(agentCalls).map((name, at) => [name, results[at]]);
        expect(Object.fromEntries(named)).toEqual(agentAnswers);
        expectChat(results[1]!);
      }
  },
);

test("grpc-go is told which services there are, asks for health, and is kept out without a key", async () => {
  await using engine = await openEngine({ API_KEY: apiKey });
  const health = { method: "grpc.health.v1.Health/Check", requests: [{}], apiKey };
  const results = await client.call({ target: engine.target }, [
    { method: "", apiKey },
    health,
    { ...health, requests: [{ service: "nobody.v1.Nothing" }] },
    { method: "" },
  ]);
  const [listed, ...rest] = results;
  const services = listed?.messages[0] as string[] | undefined;
  expect(services?.toSorted()).toEqual([
    "dura.api.v1.AgentService",
    "engram.admin.v1.AdminService",
    "engram.api.v1.AgentService",
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
  ]);
  expect(rest).toEqual([
    { ...ok, messages: [{ status: "SERVING" }] },
    { messages: [], code: "NotFound", message: expect.stringContaining("nobody.v1.Nothing") },
    {
      messages: [[]],
      code: "Unauthenticated",
      message: expect.stringContaining("x-api-key"),
    },
  ]);
});
