import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import {
  createAgent,
  historyOf,
  is,
  openChat,
  restingAgent,
  talk,
  valuesOf,
} from "../support/conversation.ts";
import { openEngine } from "../support/engine-process.ts";
import { type FakeOllama, openFakeOllama } from "../support/fake-ollama.ts";
import { type FakeOpenAi, openFakeOpenAi } from "../support/fake-openai.ts";
import { faults } from "../support/fake-ollama-faults.ts";
import { makeListener } from "../support/listener.ts";
import { numbersIn, numbersTo, wordsIn } from "../support/numbered-words.ts";

setDefaultTimeout(60_000);

let ollama: FakeOllama;
let openai: FakeOpenAi;
const apiKey = "sk-e2e";
beforeAll(async () => {
  ollama = await openFakeOllama({ delayMs: 10 });
  openai = await openFakeOpenAi({ delayMs: 10, apiKey });
});
afterAll(async () => {
  await ollama.close();
  await openai.close();
});

const openAiSettings = () => ({
  LLM_PROVIDER: "openai",
  LLM_BASE_URL: openai.url,
  LLM_API_KEY: apiKey,
});

const backends = {
  "the scripted model": { model: "scripted:10", settings: () => ({}), anew: 0 },
  "an Ollama that continues answers": {
    model: "qwen3",
    settings: () => ({ LLM_PROVIDER: "ollama", OLLAMA_URL: ollama.url }),
    anew: 0,
  },
  "an Ollama that cannot continue answers": {
    model: "qwen3-no-prefill",
    settings: () => ({ LLM_PROVIDER: "ollama", OLLAMA_URL: ollama.url }),
    anew: 1,
  },
  "a server of OpenAI's API": { model: "gpt-x", settings: openAiSettings, anew: 1 },
  "such a server that continues answers": {
    model: "qwen3",
    settings: () => ({
      ...openAiSettings(),
      LLM_OPTIONS: '{"continue_final_message": true}',
    }),
    anew: 0,
  },
};

describe.each(Object.entries(backends))("kill -9 in mid-answer of %s", (_, backend) => {
  test("loses and doubles nothing that was shown, and the agent knows what it knew", async () => {
    await using engine = await openEngine(backend.settings());
    const agentId = await createAgent(engine.client, {
      model: backend.model,
      config: { enableObservation: true },
    });
    await talk(engine.client, agentId, "The secret code is 42.");
    const listener = makeListener();
    await using before = openChat(engine.client, agentId, { after: 1n, listener });
    before.say("write 200 words");
    await before.until(() => wordsIn(listener.partial) > 60);
    await engine.kill();
    await before.broken();
    const shown = listener.partial;
    const seen = listener.sequence;
    await engine.start();
    await using after = openChat(engine.client, agentId, { after: seen, listener });
    await after.end();

    const text = listener.texts.at(-1) ?? "";
    expect(numbersIn(text)).toEqual(numbersTo(200));
    expect(text.startsWith(shown)).toBe(true);
    // The same text comes anew, so that what was shown stays true; only the pieces begin again.
    expect(valuesOf(after.heard, "text").length).toBe(1);
    const notes = valuesOf(after.heard, "observation").map(({ content }) => content);
    expect(notes.filter((note) => note.startsWith("recovered")).length).toBe(1);
    expect(notes.filter((note) => note.startsWith("answered anew")).length).toBe(backend.anew);
    expect(valuesOf(after.heard, "textDelta").filter(({ offset }) => offset === 0n).length).toBe(
      1 + backend.anew,
    );

    const answer = await talk(engine.client, agentId, "What is the secret code?");
    expect(valuesOf(answer, "text")[0]?.content).toContain("42");
    const history = await historyOf(engine.client, agentId);
    expect(valuesOf(history, "text").filter(({ content }) => content === text).length).toBe(1);
  });
});

test("an answer survives several kills in a row", async () => {
  await using engine = await openEngine();
  const agentId = await createAgent(engine.client, { model: "scripted:10" });
  const listener = makeListener();
  {
    await using chat = openChat(engine.client, agentId, { listener });
    chat.say("write 200 words");
    await chat.until(() => wordsIn(listener.partial) > 20);
    await engine.kill();
    await chat.broken();
  }
  for (const words of [60, 100, 140]) {
    await engine.start();
    await using chat = openChat(engine.client, agentId, { after: listener.sequence, listener });
    await chat.until(() => wordsIn(listener.partial) > words);
    await engine.kill();
    await chat.broken();
  }
  await engine.start();
  await using chat = openChat(engine.client, agentId, { after: listener.sequence, listener });
  await chat.end();
  expect(listener.texts.map(numbersIn)).toEqual([numbersTo(200)]);
  expect(listener.restarts).toBe(0);
  await historyOf(engine.client, agentId);
});

test("an agent whose step ends its engine three times in a row is left alone, until it is retried", async () => {
  await using engine = await openEngine({ LLM_PROVIDER: "ollama", OLLAMA_URL: ollama.url });
  const agentId = await createAgent(engine.client, { model: "qwen3" });
  const bystander = await createAgent(engine.client, { model: "qwen3" });
  const chats = ollama.chats.length;
  // Each call hangs and is killed under way.
  ollama.next(...Array.from({ length: 3 }, () => faults.hang));
  {
    await using chat = openChat(engine.client, agentId);
    chat.say("say hello");
    await chat.until(is("status"));
    await ollama.chat(chats);
  }
  for (const call of [1, 2, 3]) {
    await engine.kill();
    expect(await ollama.chats[chats + call - 1]?.over).toBe(true);
    await engine.start();
    if (call < 3) await ollama.chat(chats + call);
  }
  const agent = await restingAgent(engine.client, agentId);
  expect(agent.status).toBe("failed");
  expect(agent.statusReason).toContain("INTERNAL");
  expect(valuesOf(await talk(engine.client, bystander, "say fine"), "text").length).toBe(1);
  await engine.client.controlAgent({ agentId, command: { case: "retry", value: {} } });
  await restingAgent(engine.client, agentId);
  const texts = valuesOf(await historyOf(engine.client, agentId), "text");
  expect(texts.map(({ content }) => content)).toEqual(["hello"]);
});
