import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
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
  await putTools(engine.folder, "quick", "slow");
});
afterAll(() => engine[Symbol.asyncDispose]());

type Config = NonNullable<NonNullable<Parameters<typeof createAgent>[1]>["config"]>;
const limits: Readonly<Record<string, { model?: string; config: Config; said: string }>> = {
  MAX_STEPS: { config: { maxSteps: 3 }, said: "keep calling quick with {}" },
  TOKEN_BUDGET: { config: { maxTotalTokens: 200n }, said: "keep calling quick with {}" },
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
