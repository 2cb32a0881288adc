import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { createAgent, historyOf, restingAgent, talk, valuesOf } from "../support/conversation.ts";
import { binary, type EngineProcess, openEngine } from "../support/engine-process.ts";
import { numbersIn, numbersTo } from "../support/numbered-words.ts";
import { freePort } from "../support/redis-server.ts";
import { openTerminal, type Terminal } from "../support/terminal.ts";
import { putTools } from "../support/tool-modules.ts";

setDefaultTimeout(60_000);

let engine: EngineProcess;

/** An engine that comes back at the same address. */
const openSteadyEngine = async (): Promise<EngineProcess> =>
  openEngine({ GRPC_PORT: String(await freePort()) });

beforeAll(async () => {
  engine = await openEngine();
  await putTools(engine.folder, "quick");
});
afterAll(() => engine[Symbol.asyncDispose]());

const openChat = (agentId: string, on = engine): Terminal =>
  openTerminal([binary, "chat", agentId], { URL: on.url });

const prompt = /^> $/m;

/** What users said to the agent, as its log has it. */
const saidTo = async (agentId: string, on = engine): Promise<readonly string[]> =>
  valuesOf(await historyOf(on.client, agentId), "status")
    .filter(({ status }) => status === "user_input")
    .map(({ message }) => message);

const nouns = "river|stone|cloud|lamp|forest|bell|harbour|sparrow|winter|garden|letter|copper";

/** The scripted model's numbered words on a screen, in their order there. */
const wordsOn = (text: string): readonly number[] =>
  numbersIn([...text.matchAll(new RegExp(`\\b(?:${nouns})-\\d+\\b`, "g"))].join(" "));

test("a conversation is shown as it goes, and again to who comes back", async () => {
  const agentId = await createAgent(engine.client, {
    goal: "be of help",
    config: { enableThinking: true },
  });
  await using chat = openChat(agentId);
  await chat.until(prompt);
  expect(chat.text).toContain(`agent ${agentId}, scripted:instant\ngoal: be of help\n`);
  chat.type("call quick with {}\r");
  await chat.until(/\ncall quick \{\}\nresult quick done\n/);
  await chat.until(/\nThe tool quick says: done\.\n> $/);
  // Thinking is there, and dimmed.
  expect(chat.raw).toContain("\u001b[2mI need the result of quick.\u001b[22m");
  chat.type("\r");
  await chat.until(prompt);
  chat.type("say two\r");
  await chat.until(/\ntwo\n> $/);
  chat.type("\u0004");
  expect(await chat.exited).toBe(0);
  expect(await saidTo(agentId)).toEqual(["call quick with {}", "say two"]);

  await using again = openChat(agentId);
  await again.until(/> call quick with \{\}\n[^]*result quick done\n[^]*> say two\n[^]*\ntwo\n> $/);
  again.type("\u0003");
  expect(await again.exited).toBe(0);
});

test("kill -9 in mid-answer costs no character, and doubles none", async () => {
  await using steady = await openSteadyEngine();
  const agentId = await createAgent(steady.client, { model: "scripted:10" });
  await using chat = openChat(agentId, steady);
  await chat.until(prompt);
  chat.type("write 200 words\r");
  for (const word of [/river-60 /, /river-120 /]) {
    await chat.until(word);
    await steady.kill();
    await steady.start();
  }
  await chat.until(/winter-200[^]*> $/);
  expect(wordsOn(chat.text)).toEqual(numbersTo(200));
  expect(await saidTo(agentId, steady)).toEqual(["write 200 words"]);
  expect(chat.text).not.toContain("begun anew");
});

test("what is said while the engine is away, or to an agent that writes, is said once", async () => {
  await using steady = await openSteadyEngine();
  const agentId = await createAgent(steady.client, { model: "scripted:10" });
  await using chat = openChat(agentId, steady);
  await chat.until(prompt);
  await steady.kill();
  chat.type("say I was away\r");
  await chat.until(/the engine is away[^\n]*\n/);
  await steady.start();
  await chat.until(/the engine is back\n/);
  await chat.until(/^I was away\n> $/m);
  chat.type("write 100 words\r");
  await chat.until(/river-36 /);
  chat.type("say and then\r");
  await chat.until(/\n> say and then\n/);
  await steady.kill();
  await steady.start();
  await chat.until(/forest-100\n[^]*> $/);
  expect(wordsOn(chat.text)).toEqual(numbersTo(100));
  const said = ["say I was away", "write 100 words", "say and then"];
  expect(await saidTo(agentId, steady)).toEqual(said);
});

test("a line to an agent that writes is recorded before it is done", async () => {
  const agentId = await createAgent(engine.client, { model: "scripted:20" });
  await using chat = openChat(agentId);
  await chat.until(prompt);
  chat.type("write 3000 words\r");
  await chat.until(/stone-13 /);
  chat.type("say stop\r");
  const seen: string[] = [];
  const log = engine.client.replay({ agentId, includeHistory: true, follow: true });
  for await (const { payload } of log) {
    seen.push(payload.case === "status" ? payload.value.message : String(payload.case));
    if (seen.at(-1) === "say stop") break;
  }
  expect(seen).not.toContain("text");
  await engine.client.controlAgent({ agentId, command: { case: "cancel", value: {} } });
  await chat.until(/\(canceled\)\n/);
  expect(await chat.exited).toBe(1);
});

test("what others do is shown at once, and leaves what is being typed", async () => {
  const agentId = await createAgent(engine.client);
  await using chat = openChat(agentId);
  await chat.until(prompt);
  chat.type("say mi");
  await chat.until(/say mi$/);
  await talk(engine.client, agentId, "say theirs");
  await chat.until(/> say theirs\ntheirs\n> say mi$/);
  chat.type("ne\r");
  await chat.until(/ne\nmine\n> $/);
  await engine.client.controlAgent({ agentId, command: { case: "pause", value: {} } });
  await chat.until(/\(paused\)\n[^]*engram resume [^]*> $/);
});

test("Ctrl-C while the agent writes leaves the chat, and the agent goes on", async () => {
  const agentId = await createAgent(engine.client, { model: "scripted:5" });
  await using chat = openChat(agentId);
  await chat.until(prompt);
  chat.type("write 100 words\r");
  await chat.until(/stone-13 /);
  chat.type("\u0003");
  expect(await chat.exited).toBe(0);
  expect(chat.text).toEndWith(`\nthe agent goes on; engram chat ${agentId} comes back to it\n`);
  expect((await restingAgent(engine.client, agentId)).status).toBe("waiting_for_input");
  await using again = openChat(agentId);
  await again.until(prompt);
  expect(wordsOn(again.text)).toEqual(numbersTo(100));
});

test("a call that waits is asked about, also by who comes later", async () => {
  const agentId = await createAgent(engine.client, {
    tools: [{ name: "quick", requiresConfirmation: true }],
  });
  await using chat = openChat(agentId);
  await chat.until(prompt);
  chat.type('call quick with {"n": 1} and call quick with {"n": 2}\r');
  await chat.until(/wants to call quick with \{"n": 1\}\nLet it run\? \[y\/n\] $/);
  chat.type("\u0004");
  expect(await chat.exited).toBe(0);

  await using again = openChat(agentId);
  await again.until(/wants to call quick with \{"n": 1\}\nLet it run\? \[y\/n\] $/);
  again.type("perhaps\r");
  await again.until(/Let it run\? \[y\/n\] $/);
  again.type("n\r");
  await again.until(
    /result quick TOOL_REJECTED[^]*call quick with \{"n": 2\}\nLet it run\? \[y\/n\] $/,
  );
  again.type("y\r");
  await again.until(/\nresult quick done\n[^]*> $/);
  const results = valuesOf(await historyOf(engine.client, agentId), "toolResult");
  expect(results.map(({ errorCode }) => errorCode)).toEqual(["TOOL_REJECTED", ""]);
  expect(await saidTo(agentId)).toHaveLength(1);
});

test("what models, tools and others wrote gives the terminal no orders", async () => {
  const evil = "\u001b[2J\u001b]0;title\u0007\u009b1A\u202e\u0008\u007f";
  const agentId = await createAgent(engine.client, {
    goal: evil,
    config: { enableThinking: true },
  });
  await using chat = openChat(agentId);
  await chat.until(prompt);
  await talk(engine.client, agentId, `say one${evil}\ttab\nline`);
  await chat.until(
    /\none\uFFFD\[2J\uFFFD\]0;title\uFFFD\uFFFD1A\uFFFD\uFFFD\uFFFD\ttab\nline\n> $/,
  );
  await talk(engine.client, agentId, `call quick with {"a": "${evil}"}`);
  await chat.until(/call quick \{"a": "\uFFFD\[2J/);
  await talk(engine.client, agentId, `finish with: done${evil}`);
  await chat.until(/final answer: done\uFFFD\[2J[^]*> $/);
  chat.type("\u0004");
  expect(await chat.exited).toBe(0);
  // oxlint-disable-next-line no-control-regex
  expect(chat.text).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202e]/);
  expect(chat.raw).not.toContain("\u001b[2J");
});

test("an agent that takes no more input ends the chat with 1, and says what can be done", async () => {
  const agentId = await createAgent(engine.client, { config: { maxSteps: 1 } });
  await using chat = openChat(agentId);
  await chat.until(prompt);
  chat.type("keep calling quick with {}\r");
  await chat.until(/\nMAX_STEPS: [^\n]+\n[^]*engram retry /);
  expect(await chat.exited).toBe(1);
  await using unknown = openChat(crypto.randomUUID());
  await unknown.until(/^engram: no agent [^\n]+\n/);
  expect(await unknown.exited).toBe(1);
});

test("an agent that is deleted ends the chat with 1", async () => {
  const agentId = await createAgent(engine.client);
  await using chat = openChat(agentId);
  await chat.until(prompt);
  await engine.client.deleteAgent({ agentId });
  await chat.until(/engram: no agent [^\n]+\n/);
  expect(await chat.exited).toBe(1);
});
