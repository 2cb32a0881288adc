import { expect, setDefaultTimeout, test } from "bun:test";
import {
  createAgent,
  historyOf,
  is,
  openChat,
  restingAgent,
  valuesOf,
} from "../support/conversation.ts";
import { openEngine } from "../support/engine-process.ts";
import { openFakeOllama } from "../support/fake-ollama.ts";
import { faults } from "../support/fake-ollama-faults.ts";

setDefaultTimeout(90_000);

/** A port on which nobody listens. */
const freePort = async (): Promise<number> => {
  const ollama = await openFakeOllama();
  await ollama.close();
  return Number(new URL(ollama.url).port);
};

const settingsFor = (port: number) => ({
  LLM_PROVIDER: "ollama",
  OLLAMA_URL: `http://127.0.0.1:${port}`,
});

test("a turn without a model server fails after five retries, a kill between them or not, and can be retried", async () => {
  const port = await freePort();
  await using engine = await openEngine(settingsFor(port));
  const config = { enableObservation: true };
  const agentId = await createAgent(engine.client, { model: "qwen3", config });
  const retried = ({ payload }: { payload: { case?: string | undefined; value?: unknown } }) =>
    payload.case === "observation" && JSON.stringify(payload.value).includes("model retried");
  {
    await using chat = openChat(engine.client, agentId);
    chat.say("The secret code is 42.");
    await chat.until(retried);
    await chat.until(retried);
  }
  await engine.kill();
  await engine.start();
  const failed = await restingAgent(engine.client, agentId);
  expect(failed.status).toBe("failed");
  expect(failed.statusReason).toContain("MODEL_UNAVAILABLE");
  const history = await historyOf(engine.client, agentId);
  expect(history.filter(retried).length).toBe(5);
  const errors = valuesOf(history, "error");
  expect(errors.map(({ code }) => code)).toEqual(["MODEL_UNAVAILABLE"]);
  expect(errors[0]?.message).toContain(String(port));

  const ollama = await openFakeOllama({ port });
  const command = { case: "retry", value: {} } as const;
  await engine.client.controlAgent({ agentId, command });
  expect((await restingAgent(engine.client, agentId)).status).toBe("waiting_for_input");
  const texts = valuesOf(await historyOf(engine.client, agentId), "text");
  expect(texts.map(({ content }) => content)).toEqual([expect.stringContaining("42")]);
  await ollama.close();
});

test("an agent goes on by itself when the model server comes back in time", async () => {
  const port = await freePort();
  await using engine = await openEngine(settingsFor(port));
  const config = { enableObservation: true };
  const agentId = await createAgent(engine.client, { model: "qwen3", config });
  await using chat = openChat(engine.client, agentId);
  chat.say("say hello");
  await chat.until(is("observation"));
  const ollama = await openFakeOllama({ port });
  await chat.end();
  expect(chat.listener.texts).toEqual(["hello"]);
  await ollama.close();
});

test("an answer that its server broke off is gone on with", async () => {
  const ollama = await openFakeOllama();
  await using engine = await openEngine(settingsFor(Number(new URL(ollama.url).port)));
  const agentId = await createAgent(engine.client, { model: "qwen3" });
  ollama.next(async (x) => {
    x.say("one ");
    await new Promise((resolve) => setImmediate(resolve));
    x.cut();
  });
  await using chat = openChat(engine.client, agentId);
  chat.say("say one two three");
  await chat.end();
  expect(chat.listener.texts).toEqual(["one two three"]);
  expect(chat.listener.restarts).toBe(0);
  await ollama.close();
});

test("a model that falls silent is given up and asked again", async () => {
  const ollama = await openFakeOllama();
  const port = Number(new URL(ollama.url).port);
  await using engine = await openEngine({ ...settingsFor(port), LLM_TIMEOUT_MS: "300" });
  const config = { enableObservation: true };
  const agentId = await createAgent(engine.client, { model: "qwen3", config });
  ollama.next(faults.hang);
  await using chat = openChat(engine.client, agentId);
  chat.say("say hello");
  await chat.end();
  expect(chat.listener.texts).toEqual(["hello"]);
  const notes = valuesOf(chat.heard, "observation").map(({ content }) => content);
  expect(notes).toEqual([expect.stringContaining("MODEL_TIMEOUT")]);
  await ollama.close();
});

test("a model that is not there fails the turn at once, by its name", async () => {
  const ollama = await openFakeOllama();
  await using engine = await openEngine(settingsFor(Number(new URL(ollama.url).port)));
  const agentId = await createAgent(engine.client, { model: "missing-7b" });
  const answer = await engine.client.sendMessage({ agentId, userInput: { content: "hello" } });
  expect(answer.error?.code).toBe("MODEL_NOT_FOUND");
  expect(answer.error?.message).toContain("missing-7b");
  expect(answer.agent?.status).toBe("failed");
  await ollama.close();
});
