import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { type Client, Code, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { AgentService } from "../../src/gen/engram/api/v1/agent_pb.ts";
import { createAgent, historyOf, refusalOf, talk, valuesOf } from "../support/conversation.ts";
import { curl, json } from "../support/curl.ts";
import { type EngineProcess, openEngine } from "../support/engine-process.ts";
import { numbersIn, numbersTo } from "../support/numbered-words.ts";

setDefaultTimeout(60_000);

let engine: EngineProcess;
beforeAll(async () => {
  engine = await openEngine();
});
afterAll(() => engine[Symbol.asyncDispose]());

type Answer = { readonly status: number; readonly body: Record<string, unknown> };

/** POST of a body to a method, as a person at a terminal would. */
const post = async (method: string, body: unknown, ...args: string[]): Promise<Answer> => {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  const url = `${engine.url}/engram.api.v1.AgentService/${method}`;
  const answer = await curl(url, ...args, ...json, text);
  return { status: answer.status, body: JSON.parse(answer.body) };
};

test("curl makes an agent and speaks with it", async () => {
  const config = { waitForInput: true };
  const made = await post("CreateAgent", { goal: "help", model: "scripted:instant", config });
  expect(made.status).toBe(200);
  const { agentId } = made.body;
  expect(made.body["agent"]).toMatchObject({ agentId, status: "waiting_for_input" });
  const say = (content: string, messageId = "") =>
    post("SendMessage", { agentId, messageId, userInput: { content } });
  expect((await say("The secret code is 42.")).status).toBe(200);
  const { body } = await say("What is the secret code?", "m1");
  expect(body).toMatchObject({
    text: "The secret code is 42.",
    agent: { agentId, status: "waiting_for_input", headSequence: "5" },
  });
  expect(await say("What is the secret code?", "m1")).toEqual({ status: 200, body });
  expect((await post("GetAgent", { agent_id: agentId })).body).toMatchObject({ agentId });
  const called = await say("call nothing_of_that_name with {}");
  expect(called.body["toolResults"]).toMatchObject([{ errorCode: "TOOL_NOT_FOUND" }]);
  const both = await post(
    "SendMessage",
    { agentId, userInput: { content: "x" } },
    "--http2-prior-knowledge",
  );
  expect(both.status).toBe(200);
});

const gzip = ["--header", "content-encoding: gzip"];
type Refusal = {
  readonly method: string;
  readonly body: unknown;
  readonly args?: string[];
  readonly status?: number;
  readonly code?: string;
  readonly said: string;
};
const video = { name: "a", mimeType: "video/mp4" };
const anAgent = "$AGENT";
/** What is sent, and what the answer has to name. */
const refusals: Readonly<Record<string, Refusal>> = {
  "an unknown agent": {
    method: "GetAgent",
    body: { agentId: "nobody" },
    status: 404,
    code: "not_found",
    said: "nobody",
  },
  "no goal": { method: "CreateAgent", body: { model: "scripted" }, said: "goal" },
  "no model": { method: "CreateAgent", body: { goal: "x" }, said: "model" },
  "malformed JSON": { method: "CreateAgent", body: '{"goal": ', said: "JSON" },
  "a wrong type": { method: "CreateAgent", body: { goal: 7 }, said: "goal" },
  "no message": { method: "SendMessage", body: { agentId: anAgent }, said: "user_input" },
  "no agent id": { method: "SendMessage", body: {}, said: "agent_id" },
  "an unknown status": {
    method: "SetAgentStatus",
    body: { agentId: anAgent, status: "busy" },
    said: "busy",
  },
  "no command": { method: "ControlAgent", body: { agentId: anAgent }, said: "command" },
  "an impossible move": {
    method: "ControlAgent",
    body: { agentId: anAgent, retry: {} },
    code: "failed_precondition",
    said: "retried",
  },
  "an unusable attachment": {
    method: "SendMessage",
    body: { agentId: anAgent, userInput: { content: "x", attachments: [video] } },
    said: "video/mp4",
  },
  "no gzip in gzip's place": {
    method: "GetAgent",
    body: { agentId: anAgent },
    args: gzip,
    said: "",
  },
  "a method that is not there": {
    method: "Nothing",
    body: {},
    status: 404,
    code: "not_found",
    said: "Nothing",
  },
};

test.each(Object.entries(refusals))("curl is told what is wrong with %s", async (_, refusal) => {
  const { method, body, args = [], status = 400, code = "invalid_argument", said } = refusal;
  const id = await createAgent(engine.client);
  const text = (typeof body === "string" ? body : JSON.stringify(body)).replace(anAgent, id);
  const answer = await post(method, text, ...args);
  expect([answer.status, answer.body["code"]]).toEqual([status, code]);
  expect(answer.body["message"]).toContain(said);
  expect(answer.body["message"]).not.toMatch(/\n|at .*\.[jt]s/);
});

test("a content type that is none of ours is told which are", async () => {
  const url = `${engine.url}/engram.api.v1.AgentService/CreateAgent`;
  for (const args of [
    ["--data", "{}"],
    ["--header", "content-type: text/xml", "--data", "<a/>"],
  ]) {
    const { status, body } = await curl(url, ...args);
    expect(status).toBe(415);
    expect(body).toContain("application/json");
  }
  expect((await curl(url)).status).toBe(405);
});

/** Unary calls and server streams of a client of any kind. */
const check = async (client: Client<typeof AgentService>): Promise<string> => {
  const agentId = await createAgent(client, { model: "scripted:1" });
  const answer = await client.sendMessage({ agentId, userInput: { content: "write 50 words" } });
  expect(numbersIn(answer.text)).toEqual(numbersTo(50));
  expect((await historyOf(client, agentId)).length).toBe(3);
  const refused = await refusalOf(client.getAgent({ agentId: "nobody" }));
  expect([refused.code, refused.rawMessage]).toEqual([Code.NotFound, "no agent nobody"]);
  return agentId;
};

const version1 = {
  "gRPC-Web": () => createGrpcWebTransport({ baseUrl: engine.url, httpVersion: "1.1" }),
  "gRPC-Web with JSON": () =>
    createGrpcWebTransport({ baseUrl: engine.url, httpVersion: "1.1", useBinaryFormat: false }),
  Connect: () => createConnectTransport({ baseUrl: engine.url, httpVersion: "1.1" }),
};

test.each(Object.entries(version1))(
  "%s over HTTP/1.1 speaks with an agent",
  async (_, transport) => {
    const client = createClient(AgentService, transport());
    await check(client);
  },
);

const version2 = {
  "gRPC-Web": () => createGrpcWebTransport({ baseUrl: engine.url, httpVersion: "2" }),
  Connect: () =>
    createConnectTransport({ baseUrl: engine.url, httpVersion: "2", useBinaryFormat: true }),
  "Connect with JSON": () => createConnectTransport({ baseUrl: engine.url, httpVersion: "2" }),
};

test.each(Object.entries(version2))("%s over HTTP/2 speaks with an agent", async (_, transport) => {
  const client = createClient(AgentService, transport());
  const agentId = await check(client);
  const heard = await talk(client, agentId, "write 50 words");
  expect(numbersIn(valuesOf(heard, "text")[0]?.content ?? "")).toEqual(numbersTo(50));
  expect(valuesOf(heard, "textDelta").length).toBeGreaterThan(1);
  expect((await refusalOf(talk(client, "nobody", "hello"))).code).toBe(Code.NotFound);
});
