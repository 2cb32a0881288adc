import { fromJson, type JsonObject, type JsonValue, toJson } from "@bufbuild/protobuf";
import { expect, test } from "bun:test";
import type { ToolFile } from "../../src/agent/toolbox.ts";
import type { Model } from "../../src/llm/model.ts";
import type { Sandbox } from "../../src/sandbox/sandbox.ts";
import { EngramError } from "../../src/errors.ts";
import {
  type Agent,
  AgentSchema,
  CreateAgentRequestSchema,
  CreateAgentResponseSchema,
  ListToolsResponseSchema,
  SendMessageResponseSchema,
} from "../../src/gen/engram/api/v1/agent_pb.ts";
import { type ApiClient, codeOf, openApi } from "../support/api.ts";
import { aborted, makePlayedModel } from "../support/played-model.ts";
import { makePlayedSandbox } from "../support/played-sandbox.ts";
import { echoing, makeGate, openStage, quiet, until } from "../support/stage.ts";

// Whole answers: each field has a value that no other field of its message has, and that is not its default.

const open = ({ model = echoing(), sandbox = makePlayedSandbox() }: Over = {}) => {
  const stage = openStage();
  const engine = stage.start({ model, sandbox });
  return { stage, engine, client: openApi(engine, stage) };
};
type Over = { readonly model?: Model; readonly sandbox?: Sandbox };

const parameters = { type: "object", properties: { n: { type: "number" } } };
const full = {
  goal: "sort the letters",
  model: "tiny:1",
  systemPrompt: "Be exact.",
  metadata: { team: "red", room: "4" },
  config: {
    maxSteps: 11,
    maxDuration: "12.013s",
    temperature: 0.5,
    maxContextTokens: 14_000,
    enableThinking: true,
    enableObservation: true,
    waitForInput: true,
    responseSchema: { type: "object", required: ["sum"] },
    maxTotalTokens: "2000000000015",
    toolLimits: { fuel: "16", memoryBytes: "17", timeout: "0.018s", maxOutputBytes: "19" },
  },
  tools: [
    {
      name: "echo",
      description: "Says it again.",
      parametersSchema: parameters,
      requiresConfirmation: true,
    },
  ],
};

const create = (client: ApiClient, request: JsonObject) =>
  client.createAgent(fromJson(CreateAgentRequestSchema, request));

const json = (agent: Agent | undefined): JsonValue =>
  agent === undefined ? null : toJson(AgentSchema, agent);

const plain = { goal: "g", model: "m" };
const startTime = "2026-06-01T00:00:00Z";

test.each<[string, JsonObject]>([
  ["all fields", full],
  ...["enableThinking", "enableObservation", "waitForInput", "noTools"].map(
    (flag): [string, JsonObject] => [flag, { ...plain, config: { [flag]: true } }],
  ),
  ...Object.entries(full.config.toolLimits).map(([limit, value]): [string, JsonObject] => [
    limit,
    { ...plain, config: { toolLimits: { [limit]: value } } },
  ]),
])("an agent that is made with %s is shown with them by every call", async (_what, request) => {
  const { engine, client } = open();
  const made = await create(client, request);
  const { agentId } = made;
  const config = request["config"] as JsonObject;
  const shown = {
    ...request,
    agentId,
    status: config["waitForInput"] === true ? "waiting_for_input" : "waiting_for_step",
    createdAt: startTime,
    updatedAt: startTime,
    stats: { totalDuration: "0s" },
    headSequence: "1",
  };
  expect(toJson(CreateAgentResponseSchema, made)).toEqual({ agentId, agent: shown });
  if (config["waitForInput"] === true) {
    expect(json(await client.getAgent({ agentId }))).toEqual(shown);
    expect((await client.listAgents({})).agents.map(json)).toEqual([shown]);
  }
  await engine.drain();
});

test("another field under a request_id is another request", async () => {
  const { engine, client } = open();
  const request = { ...full, requestId: "r" };
  const { agentId } = await create(client, request);
  expect((await create(client, request)).agentId).toBe(agentId);
  const { config } = full;
  for (const other of [
    { goal: "other" },
    { model: "other" },
    { systemPrompt: "" },
    { metadata: { team: "red" } },
    { config: { ...config, maxSteps: 12 } },
    { config: { ...config, toolLimits: {} } },
    { tools: [] },
  ])
    expect([other, await codeOf(create(client, { ...request, ...other }))]).toEqual([
      other,
      "AlreadyExists",
    ]);

  const fork = { agentId, atSequence: 1n, metadata: { kind: "fork" }, requestId: "f" };
  const forked = await client.forkAgent(fork);
  expect((await client.forkAgent(fork)).agentId).toBe(forked.agentId);
  for (const other of [{ agentId: forked.agentId }, { atSequence: 0n }, { metadata: {} }])
    expect([other, await codeOf(client.forkAgent({ ...fork, ...other }))]).toEqual([
      other,
      "AlreadyExists",
    ]);
  await engine.drain();
});

test("what an agent is told comes to its model and its tools", async () => {
  const model = makePlayedModel((_request, number) =>
    number === 1 ? { calls: [{ name: "echo", input: { n: 1 } }] } : { text: ["done"] },
  );
  const sandbox = makePlayedSandbox();
  const { engine, client } = open({ model, sandbox });
  const { agentId } = await create(client, full);
  const asked = await client.sendMessage({ agentId, userInput: { content: "go on" } });
  expect(asked.agent?.status).toBe("waiting_for_confirmation");
  const [request] = model.calls;
  expect(request).toMatchObject({ model: "tiny:1", temperature: 0.5, thinking: true });
  expect(request?.tools.map(({ name }) => name)).toEqual(["echo", "final_answer"]);
  expect(request?.tools[0]).toEqual({ name: "echo", description: "Says it again.", parameters });
  expect(request?.messages[0]?.content).toMatch(/sort the letters[^]*Be exact\./);
  expect(sandbox.calls).toEqual([]);
  await client.controlAgent({
    agentId,
    command: { case: "confirm", value: { callId: "call_3", approve: true } },
  });
  await client.sendMessage({ agentId, userInput: { content: "and?" } });
  expect(sandbox.calls).toEqual([
    {
      name: "echo",
      inputJson: '{"n":1}',
      parameters,
      limits: { fuel: 16, memoryBytes: 17, timeoutMs: 18, outputBytesMax: 19 },
    },
  ]);
  await engine.drain();
});

test("whether its answer can be gone on with is asked in the agent's mode of thinking", async () => {
  const asked: unknown[] = [];
  const played = makePlayedModel((_request, number) => ({
    text: ["one ", "two"],
    before: async (index, signal) => (number === 1 && index === 1 ? aborted(signal) : undefined),
  }));
  const model: Model = {
    ...played,
    continuesPartial: async (name, thinking) => {
      asked.push([name, thinking]);
      return true;
    },
  };
  const { stage, engine, client } = open({ model });
  const { agentId } = await create(client, { ...plain, config: { enableThinking: true } });
  await until("a piece is kept", async () => (await stage.store.readDraft(agentId, 0)) !== null);
  await client.setAgentStatus({ agentId, status: "paused" });
  await client.setAgentStatus({ agentId, status: "waiting_for_step" });
  await stage.untilSettled(agentId);
  expect(asked).toEqual([["m", true]]);
  await engine.drain();
});

test("an agent's life and its origin are shown", async () => {
  const stage = openStage();
  const model = makePlayedModel((_request, number) => ({
    ...(number === 1
      ? { calls: ["a", "b", "c"].map((input) => ({ name: "echo", input: { input } })) }
      : { text: ["done"] }),
    before: async (index) => (index === 0 ? stage.clock.advance(250) : undefined),
  }));
  const engine = stage.start({ model });
  const client = openApi(engine, stage);
  const { agentId } = await create(client, {
    ...plain,
    metadata: { team: "red" },
    config: { waitForInput: true },
  });
  stage.clock.advance(60_000);
  await client.sendMessage({ agentId, userInput: { content: "go" } });
  stage.clock.advance(1_000);
  const command = { case: "pause", value: { reason: "lunch" } } as const;
  await client.controlAgent({ agentId, command });
  const shown = {
    ...plain,
    agentId,
    metadata: { team: "red" },
    config: { waitForInput: true },
    status: "paused",
    statusReason: "lunch",
    createdAt: startTime,
    updatedAt: "2026-06-01T00:01:01.500Z",
    stats: {
      totalSteps: 2,
      toolCalls: 3,
      totalDuration: "0.500s",
      tokensUsed: 20,
      promptTokens: "14",
      completionTokens: "6",
      fuelUsed: "30",
    },
    headSequence: "10",
  };
  expect(json(await client.getAgent({ agentId }))).toEqual(shown);

  stage.clock.advance(1_000);
  const metadata = { kind: "fork" };
  const fork = await client.forkAgent({ agentId, atSequence: 9n, metadata });
  const { statusReason: _reason, ...kept } = shown;
  expect(fork.agentId).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-/);
  expect(toJson(CreateAgentResponseSchema, fork)).toEqual({
    agentId: fork.agentId,
    agent: {
      ...kept,
      agentId: fork.agentId,
      metadata: { team: "red", kind: "fork" },
      status: "waiting_for_input",
      createdAt: "2026-06-01T00:01:02.500Z",
      updatedAt: "2026-06-01T00:01:02.500Z",
      parentAgentId: agentId,
      forkedAtSequence: "9",
    },
  });
  await engine.drain();
});

test("ListAgents gives 50 agents where it is told no other number", async () => {
  const { engine, client } = open();
  for (let n = 0; n < 51; n++) await create(client, { ...plain, config: { waitForInput: true } });
  const first = await client.listAgents({});
  const { agents, nextPageToken } = await client.listAgents({ pageToken: first.nextPageToken });
  expect([first.agents.length, agents.length, nextPageToken]).toEqual([50, 1, ""]);
  await engine.drain();
});

test("SendMessage gives all that a turn came to", async () => {
  const model = makePlayedModel((_request, number) =>
    number === 1
      ? {
          text: ["first"],
          calls: ["good", "bad"].map((word) => ({ name: "echo", input: { word } })),
        }
      : {
          text: ["last"],
          calls: [{ name: "final_answer", input: { content: "42", structured: { n: 42 } } }],
        },
  );
  const sandbox = makePlayedSandbox(async ({ inputJson }) =>
    inputJson.includes("good")
      ? { output: "fine", fuelUsed: 11, memoryBytes: 12, durationMs: 13 }
      : {
          output: "half",
          error: { code: "TOOL_EXITED", message: "it broke" },
          fuelUsed: 21,
          memoryBytes: 22,
          durationMs: 0.5,
        },
  );
  const { engine, client } = open({ model, sandbox });
  const { agentId } = await create(client, { ...plain, config: { waitForInput: true } });
  const answer = await client.sendMessage({ agentId, userInput: { content: "go" } });
  const { agent, ...shown } = toJson(SendMessageResponseSchema, answer) as JsonObject;
  expect(agent).toEqual(json(await client.getAgent({ agentId })));
  expect(shown).toEqual({
    text: "last",
    finalAnswer: { content: "42", structured: { n: 42 } },
    toolResults: [
      {
        callId: "call_4",
        output: "fine",
        fuelUsed: "11",
        memoryBytes: "12",
        duration: "0.013s",
      },
      {
        callId: "call_5",
        output: "half",
        isError: true,
        errorMessage: "it broke",
        errorCode: "TOOL_EXITED",
        fuelUsed: "21",
        memoryBytes: "22",
        duration: "0.000500s",
      },
    ],
  });
  await engine.drain();
});

test("SendMessage gives the error of a turn that failed", async () => {
  const refusing = makePlayedModel(() => ({
    before: () => Promise.reject(new EngramError("model_error", "it cannot")),
  }));
  const { engine, client } = open({ model: refusing });
  const { agentId } = await create(client, { ...plain, config: { waitForInput: true } });
  const answer = await client.sendMessage({ agentId, userInput: { content: "go" } });
  expect(answer.agent).toMatchObject({ status: "failed", statusReason: "MODEL_ERROR: it cannot" });
  expect(toJson(SendMessageResponseSchema, { ...answer, agent: undefined })).toEqual({
    error: { code: "MODEL_ERROR", message: "it cannot" },
  });
  await engine.drain();
});

test("SendMessage waits for a minute where it is told no other time", async () => {
  const gate = makeGate();
  const model = makePlayedModel(() => ({ text: ["late"], before: () => gate.passed }));
  const { stage, engine, client } = open({ model });
  const { agentId } = await create(client, { ...plain, config: { waitForInput: true } });
  const code = codeOf(client.sendMessage({ agentId, userInput: { content: "go" } }));
  let isOver = false;
  void code.finally(() => (isOver = true));
  await until("the model is called", () => model.calls.length === 1);
  for (let second = 0; second < 120; second++) {
    await quiet();
    stage.clock.advance(500);
    if (second === 118) {
      await quiet();
      expect(isOver).toBe(false);
    }
  }
  expect(await code).toBe("DeadlineExceeded");
  gate.open();
  await engine.drain();
});

test("ListTools shows each file whole, and why one cannot be used", async () => {
  const file: ToolFile = {
    name: "adder",
    description: "Adds.",
    parameters: { type: "object", required: ["a"] },
    requiresConfirmation: true,
    sha256: "5f",
    sizeBytes: 21,
    limits: { fuel: 22, memoryBytes: 23, timeoutMs: 24, outputBytesMax: 25 },
    error: null,
  };
  const broken = { ...file, name: "broken", error: "it is no WebAssembly" };
  const sandbox = { ...makePlayedSandbox(), list: async () => [file, broken] };
  const { engine, client } = open({ sandbox });
  const shown = {
    tool: {
      name: "adder",
      description: "Adds.",
      parametersSchema: { type: "object", required: ["a"] },
      requiresConfirmation: true,
    },
    sha256: "5f",
    sizeBytes: "21",
    limits: { fuel: "22", memoryBytes: "23", timeout: "0.024s", maxOutputBytes: "25" },
  };
  expect(toJson(ListToolsResponseSchema, await client.listTools({}))).toEqual({
    tools: [
      shown,
      { ...shown, tool: { ...shown.tool, name: "broken" }, error: "it is no WebAssembly" },
    ],
  });
  await engine.drain();
});
