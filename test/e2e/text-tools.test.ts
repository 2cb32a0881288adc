import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { createAgent, historyOf, openChat, talk, valuesOf } from "../support/conversation.ts";
import { openEngine } from "../support/engine-process.ts";
import { type FakeOllama, openFakeOllama } from "../support/fake-ollama.ts";
import { type FakeOpenAi, openFakeOpenAi } from "../support/fake-openai.ts";
import { makeListener } from "../support/listener.ts";
import { numbersIn, numbersTo, wordsIn } from "../support/numbered-words.ts";

setDefaultTimeout(60_000);

let ollama: FakeOllama;
let openAi: FakeOpenAi;
beforeAll(async () => {
  ollama = await openFakeOllama({ delayMs: 10 });
  openAi = await openFakeOpenAi({ delayMs: 10 });
});
afterAll(async () => {
  await ollama.close();
  await openAi.close();
});

const ofOllama = () => ({ LLM_PROVIDER: "ollama", OLLAMA_URL: ollama.url });

const backends = {
  "the scripted model": { model: "scripted:text:10", settings: () => ({}), anew: 0, refused: 0 },
  "an Ollama that tells of it": {
    model: "qwen3-no-tools",
    settings: ofOllama,
    anew: 0,
    refused: 0,
  },
  "an Ollama that refuses tools": {
    model: "old-no-tools",
    settings: ofOllama,
    anew: 0,
    refused: 1,
  },
  "a server of OpenAI's API that refuses tools": {
    model: "qwen3-no-tools",
    settings: () => ({ LLM_PROVIDER: "openai", LLM_BASE_URL: openAi.url }),
    anew: 1,
    refused: 1,
  },
};

describe.each(Object.entries(backends))("a model without tool support: %s", (_, backend) => {
  const open = () =>
    openEngine({ ...backend.settings(), TOOLS_PATH: join(import.meta.dir, "..", "..", "tools") });

  test("calls tools in its text, and its client sees none of that", async () => {
    await using engine = await open();
    const agentId = await createAgent(engine.client, { model: backend.model });
    const heard = await talk(engine.client, agentId, "say so then compute 6*7 then finish with {}");
    expect(valuesOf(heard, "toolCall").map((call) => [call.toolName, call.inputJson])).toEqual([
      ["calculator", '{"expression":"6*7"}'],
    ]);
    expect(valuesOf(heard, "toolResult").map(({ output }) => output)).toEqual(["42"]);
    expect(valuesOf(heard, "text").map(({ content }) => content)).toEqual(["so"]);
    expect(valuesOf(heard, "finalAnswer").map(({ structured }) => structured)).toEqual([{}]);
    const told = engine.logged.filter(({ message }) => message === "the model failed");
    expect(told.length).toBe(backend.refused);
  });

  test("loses no call behind an answer by a kill -9 in its middle", async () => {
    await using engine = await open();
    const agentId = await createAgent(engine.client, { model: backend.model });
    const listener = makeListener();
    await using before = openChat(engine.client, agentId, { listener });
    before.say("write 120 words then compute 6*7");
    await before.until(() => wordsIn(listener.partial) > 40);
    await engine.kill();
    await before.broken();
    const shown = listener.partial;
    await engine.start();
    await using after = openChat(engine.client, agentId, { after: listener.sequence, listener });
    await after.end();
    const [text = "", result] = listener.texts;
    expect(text.startsWith(shown)).toBe(true);
    expect(numbersIn(text)).toEqual(numbersTo(120));
    expect(text).not.toContain("TOOL_CALL");
    expect(result).toBe("The tool calculator says: 42.");
    expect(listener.restarts).toBe(backend.anew);
    const history = await historyOf(engine.client, agentId);
    expect(valuesOf(history, "toolCall").length).toBe(1);
  });
});
