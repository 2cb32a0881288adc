import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { toolCeilings } from "../../src/limits.ts";
import {
  createAgent,
  is,
  openChat,
  restingAgent,
  talk,
  valuesOf,
} from "../support/conversation.ts";
import { type EngineProcess, openEngine } from "../support/engine-process.ts";
import { numbersIn, numbersTo } from "../support/numbered-words.ts";
import { putTools } from "../support/tool-modules.ts";

setDefaultTimeout(60_000);

let engine: EngineProcess;
beforeAll(async () => {
  engine = await openEngine();
  await putTools(engine.folder, "quick", "slow", "hoarding");
});
afterAll(() => engine[Symbol.asyncDispose]());

type Config = NonNullable<NonNullable<Parameters<typeof createAgent>[1]>["config"]>;
const limits: Readonly<Record<string, { model?: string; config: Config; said: string }>> = {
  MAX_STEPS: { config: { maxSteps: 3 }, said: "keep calling quick with {}" },
  TOKEN_BUDGET: { config: { maxTotalTokens: 100n }, said: "keep calling quick with {}" },
  MAX_DURATION: {
    model: "scripted:20",
    config: { maxDuration: { nanos: 300_000_000 } },
    said: "write 200 words",
  },
  MODEL_NOT_FOUND: { model: "scripted:fast", config: {}, said: "hello" },
};

test.each(Object.entries(limits))(
  "a turn ends as failed with %s, and says what to do",
  async (code, limit) => {
    const { model = "scripted:instant", config, said } = limit;
    const agentId = await createAgent(engine.client, { model, config });
    const heard = await talk(engine.client, agentId, said);
    const errors = valuesOf(heard, "error");
    expect(errors.map((error) => error.code)).toEqual([code]);
    expect(errors[0]?.message.length).toBeGreaterThan(20);
    const agent = await engine.client.getAgent({ agentId });
    expect(agent.status).toBe("failed");
    expect(agent.statusReason).toContain(code);
  },
);

test("a failed agent goes on where it was, once its limit is raised and it is retried", async () => {
  const config = { maxDuration: { nanos: 300_000_000 } };
  const agentId = await createAgent(engine.client, { model: "scripted:20", config });
  const listener = await (async () => {
    await using chat = openChat(engine.client, agentId);
    chat.say("write 60 words");
    await chat.until(is("error"));
    return chat.listener;
  })();
  expect(listener.partial).not.toBe("");
  await using chat = openChat(engine.client, agentId, { after: listener.sequence, listener });
  const patch = { config: { maxDuration: "60s" }, model: "scripted:1" };
  chat.send({ payload: { case: "edit", value: { patch } } });
  await chat.until(is("status"));
  await engine.client.setAgentStatus({ agentId, status: "waiting_for_step" });
  await chat.end();
  expect(listener.texts.map(numbersIn)).toEqual([numbersTo(60)]);
});

test("time that a tool takes counts, and its limit ends the tool", async () => {
  const config = { maxDuration: { nanos: 300_000_000 } };
  const agentId = await createAgent(engine.client, { config });
  const heard = await talk(engine.client, agentId, "call slow with {}");
  expect(valuesOf(heard, "error")[0]?.code).toBe("MAX_DURATION");
  expect((await restingAgent(engine.client, agentId)).status).toBe("failed");
});

test("limits longer than any timer holds end no turn", async () => {
  const tenThousandYears = { seconds: 315_576_000_000n };
  for (const maxDuration of [{ seconds: 30n * 86_400n }, tenThousandYears]) {
    const config = { maxDuration, toolLimits: { timeout: maxDuration } };
    const agentId = await createAgent(engine.client, { model: "scripted:1", config });
    const heard = await talk(engine.client, agentId, "call quick with {}");
    expect(valuesOf(heard, "toolResult")).toMatchObject([{ output: "done", isError: false }]);
    const userInput = { content: "count to 20" };
    const answer = await engine.client.sendMessage({ agentId, userInput, timeout: maxDuration });
    expect(answer.text).toBe(numbersTo(20).join(" "));
  }
});

type ToolLimits = NonNullable<Config["toolLimits"]>;
const toolLimits: Readonly<
  Record<string, { tool: string; limit: ToolLimits; used?: { memoryBytes: bigint } }>
> = {
  TOOL_OUT_OF_FUEL: { tool: "quick", limit: { fuel: 1n } },
  TOOL_OUT_OF_MEMORY: {
    tool: "hoarding",
    limit: { memoryBytes: 131_072n },
    used: { memoryBytes: 65_536n },
  },
  TOOL_TIMEOUT: { tool: "slow", limit: { timeout: { nanos: 50_000_000 } } },
  TOOL_OUTPUT_TOO_LARGE: { tool: "quick", limit: { maxOutputBytes: 3n } },
};

test.each(Object.entries(toolLimits))(
  "an agent's own tool_limits end a call with %s",
  async (errorCode, { tool, limit, used = {} }) => {
    const agentId = await createAgent(engine.client, { config: { toolLimits: limit } });
    const heard = await talk(engine.client, agentId, `call ${tool} with {}`);
    expect(valuesOf(heard, "toolResult")).toMatchObject([{ isError: true, errorCode, ...used }]);
  },
);

test("an agent's tool_limits come no further than the engine's ceiling", async () => {
  const config = { toolLimits: { memoryBytes: 2n ** 52n } };
  const agentId = await createAgent(engine.client, { config });
  const heard = await talk(engine.client, agentId, "call hoarding with {}");
  const [result] = valuesOf(heard, "toolResult");
  expect(result).toMatchObject({ isError: true, errorCode: "TOOL_OUT_OF_MEMORY" });
  const used = Number(result?.memoryBytes);
  expect(used).toBeLessThanOrEqual(toolCeilings.memoryBytes);
  expect(used).toBeGreaterThan(toolCeilings.memoryBytes / 2);
});
