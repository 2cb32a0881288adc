import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { createAgent, historyOf, restingAgent, talk, valuesOf } from "../support/conversation.ts";
import { curl, json } from "../support/curl.ts";
import { type EngineProcess, openEngine } from "../support/engine-process.ts";
import { putTools } from "../support/tool-modules.ts";

setDefaultTimeout(60_000);

let engine: EngineProcess;
beforeAll(async () => {
  engine = await openEngine();
  await putTools(engine.folder, "quick");
});
afterAll(() => engine[Symbol.asyncDispose]());

const post = async (method: string, body: unknown): Promise<Record<string, unknown>> => {
  const url = `${engine.url}/engram.api.v1.AgentService/${method}`;
  return JSON.parse((await curl(url, ...json, JSON.stringify(body))).body);
};

const responseSchema = {
  type: "object",
  properties: { city: { type: "string" }, days: { type: "integer" } },
  required: ["city", "days"],
};
const sample = { city: "text", days: 1 };

const created = async (config: unknown): Promise<unknown> => {
  const agent = { goal: "help", model: "scripted:instant", config };
  return (await post("CreateAgent", agent))["agentId"];
};
const said = (agentId: unknown, content: string) =>
  post("SendMessage", { agentId, userInput: { content } });

test("an answer satisfies the agent's schema, at the second attempt too", async () => {
  const agentId = await created({ waitForInput: true, responseSchema });
  const answer = await said(agentId, "finish wrongly, then finish with bye");
  expect(answer).toMatchObject({
    agent: { status: "completed", stats: { toolCalls: 1 } },
    toolResults: [
      {
        isError: true,
        errorCode: "TOOL_INVALID_INPUT",
        errorMessage: expect.stringMatching(/#\/city: .*string/),
      },
    ],
    finalAnswer: { content: "bye", structured: sample },
  });
});

test("a model that writes its calls into its text answers by the schema as well", async () => {
  const config = { responseSchema };
  const agentId = await createAgent(engine.client, { model: "scripted:text:instant", config });
  const heard = await talk(engine.client, agentId, "finish wrongly, then finish with bye");
  expect(valuesOf(heard, "toolResult").map(({ isError }) => isError)).toEqual([true]);
  expect(valuesOf(heard, "finalAnswer").map(({ structured }) => structured)).toEqual([sample]);
});

test("without tools the text is the answer", async () => {
  const agentId = await created({ waitForInput: true, noTools: true, responseSchema });
  expect(await said(agentId, "where to?")).toMatchObject({
    text: JSON.stringify(sample),
    finalAnswer: { content: JSON.stringify(sample), structured: sample },
    agent: { status: "completed" },
  });
  const mended = await said(agentId, 'finish wrongly, then finish with {"city":"Rome","days":3}');
  expect(mended).toMatchObject({ finalAnswer: { structured: { city: "Rome", days: 3 } } });
  expect(mended["toolResults"]).toHaveLength(1);
});

test("an answer that is wrong again and again fails the turn, and a retry counts anew", async () => {
  const config = { responseSchema };
  const agentId = await createAgent(engine.client, { model: "scripted:instant", config });
  const heard = await talk(engine.client, agentId, "keep finishing wrongly");
  const results = valuesOf(heard, "toolResult");
  expect(results.map(({ errorCode }) => errorCode)).toEqual(Array(4).fill("TOOL_INVALID_INPUT"));
  expect(valuesOf(heard, "toolCall").map(({ toolName }) => toolName)).toEqual(
    Array(4).fill("final_answer"),
  );
  const [error] = valuesOf(heard, "error");
  expect(error).toMatchObject({ code: "MODEL_ERROR" });
  expect(error?.message).toContain("#/city");
  await engine.client.setAgentStatus({ agentId, status: "waiting_for_step" });
  await restingAgent(engine.client, agentId);
  const history = await historyOf(engine.client, agentId);
  expect(valuesOf(history, "toolResult").length).toBe(8);
  expect(valuesOf(history, "error").map(({ code }) => code)).toEqual(Array(2).fill("MODEL_ERROR"));
});

test("a schema that nothing satisfies is refused by its name", async () => {
  const agent = { goal: "help", model: "scripted" };
  for (const schema of [{ type: "array" }, { type: ["string", "null"] }])
    expect(
      await post("CreateAgent", { ...agent, config: { responseSchema: schema } }),
    ).toMatchObject({
      code: "invalid_argument",
      message: expect.stringMatching(/^config\.response_schema\.type must be "object"/),
    });
});

test("a call that is made again and again ends the turn", async () => {
  const agentId = await createAgent(engine.client, { model: "scripted:instant" });
  const heard = await talk(engine.client, agentId, "keep calling quick with {}");
  expect(valuesOf(heard, "toolCall").length).toBe(4);
  expect(valuesOf(heard, "toolResult").length).toBe(3);
  expect(valuesOf(heard, "error").map(({ code }) => code)).toEqual(["MAX_STEPS"]);
});

test("a pattern that takes for ever holds up nobody", async () => {
  const hostile = {
    type: "object",
    properties: { list: { type: "array", items: { type: "string", pattern: "^(a+)+$" } } },
  };
  const agentId = await created({ waitForInput: true, responseSchema: hostile });
  const list = Array(200).fill(`${"a".repeat(60)}!`);
  const slow = said(agentId, `finish with ${JSON.stringify({ list })}`);
  const other = await created({ waitForInput: true, responseSchema });
  expect(await said(other, "finish with bye")).toMatchObject({
    finalAnswer: { structured: sample },
  });
  const answer = await slow;
  expect(answer["toolResults"]).toMatchObject([
    { errorMessage: expect.stringContaining("within 2000 ms") },
  ]);
});
