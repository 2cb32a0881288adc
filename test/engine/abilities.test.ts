import { describe, expect, test } from "bun:test";
import type { Event } from "../../src/agent/event.ts";
import { condensingHead } from "../../src/agent/context.ts";
import { isJsonObject, type JsonObject } from "../../src/agent/json.ts";
import { faults } from "../support/fake-ollama-faults.ts";
import { askedOf, begin, untilRest } from "../support/ollama-story.ts";
import { withOllama } from "../support/with-ollama.ts";

const { fake } = await withOllama();

/** What came of an agent with this model, and of each of its calls what tells how it was asked. */
async function lived(model: string, thinking = false) {
  const story = await begin(fake, { enableThinking: thinking }, model);
  const { stage, engine, agentId } = story;
  await stage.say(engine, agentId, 'call echo with {"text": "hi"}');
  await untilRest(story);
  const events = await stage.events(agentId);
  await engine.drain();
  const asked = askedOf(fake).map(({ body }) => ({
    tools: Array.isArray(body["tools"]),
    words: systemOf(body).includes("[TOOL_CALL:"),
    think: body["think"],
    room: isJsonObject(body["options"]) ? body["options"]["num_ctx"] : undefined,
  }));
  return { events: events.slice(2), asked };
}

const systemOf = ({ messages }: JsonObject): string => {
  const [first] = Array.isArray(messages) ? messages : [];
  return isJsonObject(first) && typeof first["content"] === "string" ? first["content"] : "";
};

const native = { tools: true, words: false, think: false, room: 32_768 };
const inText = { ...native, tools: false, words: true };
const toolRun: Event["type"][] = ["ToolRequested", "ToolReturned", "ModelSpoke"];

describe("a model that takes", () => {
  test("tools is offered them as such, in the room that it has", async () => {
    const { events, asked } = await lived("qwen3-ctx8192");
    expect(events).toEqual(toolRun);
    const here = { ...native, room: 8_192 };
    expect(asked).toEqual([here, here]);
  });

  test("none is offered them in words", async () => {
    const { events, asked } = await lived("no-tools");
    expect(events).toEqual(toolRun);
    expect(asked).toEqual([inText, inText]);
  });

  test("none, which its server does not say, is once refused, and then offered them in words", async () => {
    const { events, asked } = await lived("old-no-tools");
    expect(events).toEqual(["ModelFailed", ...toolRun]);
    expect(asked).toEqual([native, inText, inText]);
  });

  test("no thinking is not asked to think", async () => {
    const { asked } = await lived("no-thinking", true);
    expect(asked.map(({ think }) => think)).toEqual([false, false]);
  });

  test("no thinking, which its server does not say, is once refused", async () => {
    const { events, asked } = await lived("old-no-thinking", true);
    expect(events).toEqual(["ModelFailed", ...toolRun]);
    expect(asked.map(({ think }) => think)).toEqual([true, false, false]);
  });
});

test("every request of a model is for the same room: answers, summaries, and whether it goes on", async () => {
  const story = await begin(fake, { contextTokensMax: 1_500 }, "qwen3-ctx8192");
  const { stage, engine, agentId } = story;
  for (let n = 0; n < 6; n++) {
    if (n === 3) fake.next(faults.cut);
    await stage.say(engine, agentId, `say Hello world ${"and so on ".repeat(80)}`);
    await untilRest(story);
  }
  await engine.drain();
  const { chats } = fake;
  expect(chats.some(({ body }) => systemOf(body).startsWith(condensingHead))).toBe(true);
  expect(chats.some(({ body }) => body["_debug_render_only"] === true)).toBe(true);
  const rooms = chats.map(({ body: { options } }) => isJsonObject(options) && options["num_ctx"]);
  expect(new Set(rooms)).toEqual(new Set([8_192]));
});
