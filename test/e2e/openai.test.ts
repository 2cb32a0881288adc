import { expect, setDefaultTimeout, test } from "bun:test";
import {
  createAgent,
  historyOf,
  openChat,
  restingAgent,
  talk,
  valuesOf,
} from "../support/conversation.ts";
import { openEngine } from "../support/engine-process.ts";
import { refusals } from "../support/fake-openai-faults.ts";
import { openFakeOpenAi } from "../support/fake-openai.ts";
import { putTools } from "../support/tool-modules.ts";

setDefaultTimeout(60_000);

const apiKey = "sk-e2e-the-whole-key";

test("an agent talks, thinks and calls tools through a server of OpenAI's API", async () => {
  const server = await openFakeOpenAi({ apiKey, contexts: { "gpt-x": 8192 } });
  const settings = { LLM_PROVIDER: "openai", LLM_BASE_URL: server.url, LLM_API_KEY: apiKey };
  await using engine = await openEngine(settings);
  await putTools(engine.folder, "quick");
  const config = { enableThinking: true };
  const agentId = await createAgent(engine.client, { model: "gpt-x", config });
  const heard = await talk(engine.client, agentId, "call quick");
  expect(valuesOf(heard, "toolCall").map(({ toolName }) => toolName)).toEqual(["quick"]);
  expect(valuesOf(heard, "toolResult").map(({ output }) => output)).toEqual(["done"]);
  expect(valuesOf(heard, "text").at(-1)?.content).toContain("done");
  expect(valuesOf(heard, "thought").length).toBeGreaterThan(0);
  const { stats } = await restingAgent(engine.client, agentId);
  expect(stats?.promptTokens).toBeGreaterThan(0n);
  expect(stats?.completionTokens).toBeGreaterThan(0n);
  await server.close();
});

test("a server that takes no definitions of tools is offered them as text", async () => {
  const server = await openFakeOpenAi();
  await using engine = await openEngine({ LLM_PROVIDER: "openai", LLM_BASE_URL: server.url });
  await putTools(engine.folder, "quick");
  server.next(refusals["tools-vllm"]);
  const agentId = await createAgent(engine.client, { model: "qwen3" });
  await using chat = openChat(engine.client, agentId);
  chat.say("say hi");
  await chat.end();
  expect(chat.listener.texts).toEqual(["hi"]);
  expect(server.chats.map(({ body }) => body["tools"] !== undefined)).toEqual([true, false]);
  expect(JSON.stringify(server.chats[1]?.body["messages"])).toContain("[TOOL_CALL:");
  await server.close();
});

test.each([
  ["by the server, which is told the schema", "gpt-x", [true]],
  ["by the engine, where the server takes none", "gpt-no-format", [true, false]],
])("an answer is held to the agent's schema %s", async (_, model, told) => {
  const server = await openFakeOpenAi();
  await using engine = await openEngine({ LLM_PROVIDER: "openai", LLM_BASE_URL: server.url });
  const responseSchema = {
    type: "object",
    properties: { city: { type: "string" } },
    required: ["city"],
  };
  const config = { noTools: true, responseSchema };
  const agentId = await createAgent(engine.client, { model, config });
  const heard = await talk(engine.client, agentId, 'finish with {"city":"Rome"}');
  expect(valuesOf(heard, "finalAnswer").map(({ structured }) => structured)).toEqual([
    { city: "Rome" },
  ]);
  expect(server.chats.map(({ body }) => body["response_format"] !== undefined)).toEqual(told);
  await server.close();
});

test("a key that is refused ends the turn with what to do, and is shown nowhere", async () => {
  const server = await openFakeOpenAi({ apiKey: "another" });
  const settings = { LLM_PROVIDER: "openai", LLM_BASE_URL: server.url, LLM_API_KEY: apiKey };
  await using engine = await openEngine(settings);
  server.next((x) => x.json(401, { error: { message: `Incorrect API key provided: ${apiKey}` } }));
  const agentId = await createAgent(engine.client, { model: "gpt-x" });
  await talk(engine.client, agentId, "hello");
  const failed = await restingAgent(engine.client, agentId);
  expect(failed).toMatchObject({
    status: "failed",
    statusReason: expect.stringContaining("check LLM_API_KEY"),
  });
  const history = await historyOf(engine.client, agentId);
  expect(valuesOf(history, "error").map(({ code }) => code)).toEqual(["MODEL_ERROR"]);
  expect(await engine.stop()).toBe(0);
  const shown = [engine.logged, history.map(({ payload }) => payload.value)];
  expect(Bun.inspect(shown, { depth: 20 })).not.toContain("sk-e2e");
  expect(server.chats).toHaveLength(1);
  await server.close();
});
