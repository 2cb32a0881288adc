import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { Code } from "@connectrpc/connect";
import {
  createAgent,
  historyOf,
  openChat,
  refusalOf,
  talk,
  valuesOf,
} from "../support/conversation.ts";
import { type EngineProcess, openEngine } from "../support/engine-process.ts";
import { type FakeOllama, openFakeOllama } from "../support/fake-ollama.ts";

setDefaultTimeout(60_000);

let ollama: FakeOllama;
let engine: EngineProcess;
beforeAll(async () => {
  ollama = await openFakeOllama();
  engine = await openEngine({
    LLM_PROVIDER: "ollama",
    OLLAMA_URL: ollama.url,
    // The largest message is longer than what a model reads by default.
    LLM_OPTIONS: JSON.stringify({ num_ctx: 131_072 }),
  });
});
afterAll(async () => {
  await engine[Symbol.asyncDispose]();
  await ollama.close();
});

const kib = 1024;

test.each([kib, 100 * kib, kib * kib])(
  "a message of %d bytes comes to the model as it was",
  async (size) => {
    const agentId = await createAgent(engine.client, { model: "qwen3" });
    const content = "0123456789abcde ".repeat(size / 16);
    const heard = await talk(engine.client, agentId, content);
    expect(valuesOf(heard, "text").length).toBe(1);
    const { messages } = ollama.chats.at(-1)?.body ?? {};
    expect((messages as { content: string }[]).at(-1)?.content).toContain(content);
    const history = await historyOf(engine.client, agentId);
    expect(valuesOf(history, "status")[1]?.message).toBe(content);
  },
);

test("an answer of 1 MiB comes whole, live and from the log", async () => {
  const agentId = await createAgent(engine.client, { model: "qwen3" });
  const part = "0123456789abcde ".repeat(256);
  ollama.next((x) => {
    for (let n = 0; n < 256; n++) x.say(part);
    x.done();
  });
  await using chat = openChat(engine.client, agentId);
  chat.say("write much");
  await chat.end();
  expect(chat.listener.texts).toEqual([part.repeat(256)]);
  expect(valuesOf(await historyOf(engine.client, agentId), "text")[0]?.content).toBe(
    part.repeat(256),
  );
});

test("a message over 4 MiB is refused on every way in, and leaves nothing behind", async () => {
  const agentId = await createAgent(engine.client, { model: "qwen3" });
  const content = "x".repeat(4 * kib * kib + 1);
  const sent = engine.client.sendMessage({ agentId, userInput: { content } });
  const refused = await refusalOf(sent);
  expect(refused.code).toBe(Code.ResourceExhausted);
  expect(refused.rawMessage).toContain(String(4 * kib * kib));
  await using chat = openChat(engine.client, agentId);
  chat.say(content);
  expect((await refusalOf(chat.end())).code).toBe(Code.ResourceExhausted);
  expect((await historyOf(engine.client, agentId)).length).toBe(1);
  expect(valuesOf(await talk(engine.client, agentId, "say fine"), "text")[0]?.content).toBe("fine");
});

test("characters of many bytes stay whole, however the model's server cuts them", async () => {
  const agentId = await createAgent(engine.client, { model: "qwen3" });
  const text = "a\u{1F600}é漢\u{1F469}\u200D\u{1F680} e\u0301 \u{1F1E6}\u{1F1F9} \u0000 \u202Eend";
  ollama.next(async (x) => {
    // Each UTF-16 half in an event of its own, as escapes; and then each byte on its own in the stream.
    for (const half of text.split("")) x.say(half);
    const line = JSON.stringify({ message: { role: "assistant", content: text }, done: false });
    for (const byte of Buffer.from(`${line}\n`)) x.raw(Uint8Array.of(byte));
    x.done();
  });
  await using chat = openChat(engine.client, agentId);
  chat.say("write signs");
  await chat.end();
  expect(chat.listener.texts).toEqual([text + text]);
  const pieces = valuesOf(chat.heard, "textDelta").map(({ content }) => content);
  expect(pieces.join("")).toBe(text + text);
  expect(pieces.some((piece) => piece.includes("\uFFFD"))).toBe(false);
});

test("what a user writes in any script is kept to the letter", async () => {
  const agentId = await createAgent(engine.client, { model: "qwen3" });
  const content = "say \u{1F600} 漢字 עברית \u0000 \uFFFD \u2028 \\n \" ' 💔";
  const [status] = valuesOf((await historyAfter(agentId, content)).slice(1), "status");
  expect(status?.message).toBe(content);
});

const historyAfter = async (agentId: string, content: string) => {
  await talk(engine.client, agentId, content);
  return historyOf(engine.client, agentId);
};

test("attachments come to the model: text inline, images as such", async () => {
  const agentId = await createAgent(engine.client, { model: "qwen3" });
  const data = (text: string) => new TextEncoder().encode(text);
  await engine.client.sendMessage({
    agentId,
    userInput: {
      content: "look",
      attachments: [
        { name: "notes.txt", mimeType: "text/plain", data: data("remember the milk") },
        { name: "dot.png", mimeType: "image/png", data: data("dots") },
      ],
    },
  });
  const { messages } = ollama.chats.at(-1)?.body ?? {};
  const last = (messages as { content: string; images?: string[] }[]).at(-1);
  expect(last?.content).toContain("remember the milk");
  expect(last?.images).toEqual([Buffer.from("dots").toString("base64")]);
});
