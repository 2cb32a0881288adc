import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { Code } from "@connectrpc/connect";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import {
  type Chat,
  createAgent,
  historyOf,
  is,
  isStatus,
  openChat,
  refusalOf,
  restingAgent,
  talk,
  valuesOf,
} from "../support/conversation.ts";
import { type EngineProcess, openEngine } from "../support/engine-process.ts";
import { openFakeOllama } from "../support/fake-ollama.ts";
import { numbersIn, numbersTo, wordsIn } from "../support/numbered-words.ts";
import { putTools } from "../support/tool-modules.ts";

setDefaultTimeout(60_000);

let engine: EngineProcess;
beforeAll(async () => {
  engine = await openEngine({ HEARTBEAT_MS: "200" });
  await putTools(engine.folder, "quick", "slow");
});
afterAll(() => engine[Symbol.asyncDispose]());

const empty = {};
const pause = { payload: { case: "pause", value: { reason: "lunch" } } } as const;
const resume = { payload: { case: "resume", value: empty } } as const;
const cancel = { payload: { case: "cancel", value: empty } } as const;

const wordsReach = (chat: Chat, count: number): Promise<unknown> =>
  chat.until(() => wordsIn(chat.listener.partial) >= count);

test("a pause stops an answer in mid-sentence, and resume goes on with it", async () => {
  const agentId = await createAgent(engine.client, { model: "scripted:10" });
  await using chat = openChat(engine.client, agentId);
  chat.say("write 150 words");
  await wordsReach(chat, 40);
  chat.send(pause);
  await chat.until(isStatus("paused"));
  const written = chat.listener.partial;
  // Until the heartbeat that breaks the silence nothing comes.
  expect((await chat.until(() => true)).payload.case).toBe("heartbeat");
  const agent = await engine.client.getAgent({ agentId });
  expect([agent.status, agent.statusReason]).toEqual(["paused", "lunch"]);
  chat.send(resume);
  await chat.end();
  expect(chat.listener.texts.map(numbersIn)).toEqual([numbersTo(150)]);
  expect(chat.listener.texts[0]?.startsWith(written)).toBe(true);
  expect(wordsIn(written)).toBeLessThan(150);
  expect(chat.listener.restarts).toBe(0);
});

test("nothing of an answer comes behind a pause, however often it is paused", async () => {
  const agentId = await createAgent(engine.client, { model: "scripted:1" });
  await using chat = openChat(engine.client, agentId);
  chat.say("write 2000 words");
  for (let round = 1; round <= 20; round++) {
    await wordsReach(chat, round * 20);
    chat.send(pause);
    await chat.until(isStatus("paused"));
    chat.send(resume);
    const next = await chat.until(() => true);
    expect(next.payload).toMatchObject({ case: "status" });
  }
  await chat.end();
  expect(chat.listener.texts.map(numbersIn)).toEqual([numbersTo(2000)]);
  expect(chat.listener.restarts).toBe(0);
});

test.each([
  ["paused", "in mid-sentence"],
  ["canceled", "in mid-sentence"],
  ["paused", "from the start"],
  ["canceled", "from the start"],
])("an agent that is %s leaves a model at once that is silent %s", async (status, since) => {
  const ollama = await openFakeOllama();
  await using other = await openEngine({ LLM_PROVIDER: "ollama", OLLAMA_URL: ollama.url });
  const agentId = await createAgent(other.client, { model: "qwen3" });
  ollama.next(async (x) => {
    if (since === "in mid-sentence") x.say("one ");
    await x.over;
  });
  await using chat = openChat(other.client, agentId);
  chat.say("say one two three");
  if (since === "in mid-sentence") await chat.until(is("textDelta"));
  else await ollama.chat(0);
  await other.client.setAgentStatus({ agentId, status });
  expect(await (await ollama.chat(0)).over).toBe(true);
  if (status === "paused")
    await other.client.setAgentStatus({ agentId, status: "waiting_for_step" });
  await chat.end();
  expect(chat.listener.texts).toEqual(status === "paused" ? ["one two three"] : []);
  await ollama.close();
});

test("a pause stops the tool in flight, and resume runs it again", async () => {
  const agentId = await createAgent(engine.client);
  await using chat = openChat(engine.client, agentId);
  chat.say("call slow with {}");
  await chat.until(is("toolCall"));
  chat.send(pause);
  await chat.until(isStatus("paused"));
  // It would have ended in a second; the heartbeats go on behind that.
  for (let silence = 0; silence < 7; silence++)
    expect((await chat.until(() => true)).payload.case).toBe("heartbeat");
  chat.send(resume);
  await chat.end();
  expect(valuesOf(chat.heard, "toolResult").map(({ output }) => output)).toEqual(["done"]);
});

test("pausing and canceling twice are OK, and an impossible move is refused", async () => {
  const agentId = await createAgent(engine.client);
  const control = async (name: "pause" | "resume" | "cancel" | "retry"): Promise<string> =>
    (await engine.client.controlAgent({ agentId, command: { case: name, value: {} } })).status;
  const statuses = [];
  for (const name of ["resume", "pause", "pause", "resume", "resume"] as const)
    statuses.push(await control(name));
  expect(statuses).toEqual([
    "waiting_for_input",
    "paused",
    "paused",
    "waiting_for_input",
    "waiting_for_input",
  ]);
  expect((await refusalOf(control("retry"))).code).toBe(Code.FailedPrecondition);
  expect([await control("cancel"), await control("cancel")]).toEqual(["canceled", "canceled"]);
  for (const name of ["pause", "resume", "retry"] as const)
    expect((await refusalOf(control(name))).code).toBe(Code.FailedPrecondition);
  const history = await historyOf(engine.client, agentId);
  expect(valuesOf(history, "status").map(({ status }) => status)).toEqual([
    "created",
    "paused",
    "resumed",
    "canceled",
  ]);
  const set = (status: string) => engine.client.setAgentStatus({ agentId, status });
  expect((await set("canceled")).status).toBe("canceled");
  expect((await refusalOf(set("paused"))).code).toBe(Code.FailedPrecondition);
  const unknown = await refusalOf(set("busy"));
  expect(unknown.code).toBe(Code.InvalidArgument);
  expect(unknown.rawMessage).toContain("status");
});

test("a cancel in mid-answer is final", async () => {
  const agentId = await createAgent(engine.client, { model: "scripted:10" });
  await using chat = openChat(engine.client, agentId);
  chat.say("write 200 words");
  await wordsReach(chat, 20);
  chat.send(cancel);
  await chat.until(isStatus("canceled"));
  await chat.end();
  expect(chat.heard.at(-1)?.payload).toMatchObject({ case: "status" });
  expect((await engine.client.getAgent({ agentId })).status).toBe("canceled");
  const refused = await refusalOf(talk(engine.client, agentId, "still there?"));
  expect(refused.code).toBe(Code.FailedPrecondition);
  expect(refused.rawMessage).toContain("canceled");
  expect(valuesOf(await historyOf(engine.client, agentId), "text")).toEqual([]);
});

test("input to a paused agent is kept and worked on afterwards", async () => {
  const agentId = await createAgent(engine.client);
  await engine.client.setAgentStatus({ agentId, status: "paused" });
  const heard = await talk(engine.client, agentId, "say hello");
  expect(valuesOf(heard, "status").map(({ status }) => status)).toEqual(["waiting"]);
  expect(valuesOf(heard, "text")).toEqual([]);
  await using chat = openChat(engine.client, agentId);
  chat.send(resume);
  expect(valuesOf(await chat.end(), "text").map(({ content }) => content)).toEqual(["hello"]);
});

test("input to a working agent joins the conversation at its next step", async () => {
  const agentId = await createAgent(engine.client, { model: "scripted:5" });
  await using chat = openChat(engine.client, agentId);
  chat.say("write 80 words");
  await wordsReach(chat, 10);
  chat.say("say joined");
  await chat.end();
  const [first, second, ...more] = chat.listener.texts;
  expect(numbersIn(first ?? "")).toEqual(numbersTo(80));
  expect(second).toContain("joined");
  expect(more).toEqual([]);
  expect(valuesOf(chat.heard, "status").map(({ status }) => status)).toEqual([
    "waiting",
    "waiting",
  ]);
});

test("two clients that are attached see the same events", async () => {
  const agentId = await createAgent(engine.client, { model: "scripted:2" });
  await using one = openChat(engine.client, agentId, { after: 1n });
  await using other = openChat(engine.client, agentId, { after: 1n });
  one.say("write 60 words");
  await other.until(is("text"));
  other.say("call quick with {}");
  await one.until(is("toolResult"));
  const [ours, theirs] = await Promise.all([one.end(), other.end()]);
  const eventsOf = (heard: typeof ours) =>
    heard
      .filter(({ payload }) => !/delta|heartbeat/i.test(payload.case ?? ""))
      .map(({ sequenceId, payload }) => `${sequenceId} ${payload.case}`);
  expect(eventsOf(ours)).toEqual(eventsOf(theirs));
  expect(one.listener.texts).toEqual([...other.listener.texts]);
  // Its own input is acknowledged to a client; the other one is shown what was said.
  expect(valuesOf(ours, "status").map(({ status }) => status)).toEqual(["waiting", "user_input"]);
  expect(valuesOf(theirs, "status").map(({ status }) => status)).toEqual(["user_input", "waiting"]);
});

test("heartbeats break the silence, and carry the last event's sequence", async () => {
  const agentId = await createAgent(engine.client);
  await using chat = openChat(engine.client, agentId);
  const first = await chat.until(is("heartbeat"));
  const second = await chat.until(is("heartbeat"));
  expect([first.sequenceId, second.sequenceId]).toEqual([1n, 1n]);
});

const confirming = { tools: [{ name: "quick", requiresConfirmation: true }] };
const confirm = (callId: string, approve: boolean) =>
  ({ case: "confirm", value: { callId, approve, reason: "because" } }) as const;

/** An agent whose call waits for a confirmation. */
const waitingCall = async (on: EngineProcess) => {
  const agentId = await createAgent(on.client, confirming);
  const heard = await talk(on.client, agentId, "call quick with {}");
  expect((await on.client.getAgent({ agentId })).status).toBe("waiting_for_confirmation");
  const [call, ...more] = valuesOf(heard, "toolCall");
  expect(more).toEqual([]);
  expect(call?.requiresConfirmation).toBe(true);
  expect(valuesOf(heard, "toolResult")).toEqual([]);
  return { agentId, callId: call?.callId ?? "" };
};

test("a call that needs a confirmation waits for it through kill -9, and runs once", async () => {
  await using other = await openEngine();
  await putTools(other.folder, "quick");
  const { agentId, callId } = await waitingCall(other);
  await other.kill();
  await other.start();
  // Kept, and worked on when the call has its result.
  const kept = await talk(other.client, agentId, "say after that");
  expect(valuesOf(kept, "text")).toEqual([]);
  expect((await other.client.getAgent({ agentId })).status).toBe("waiting_for_confirmation");
  await other.client.setAgentStatus({ agentId, status: "paused" });
  const resumed = await other.client.setAgentStatus({ agentId, status: "waiting_for_step" });
  expect(resumed.status).toBe("waiting_for_confirmation");

  await other.client.controlAgent({ agentId, command: confirm(callId, true) });
  expect((await restingAgent(other.client, agentId)).status).toBe("waiting_for_input");
  await other.client.controlAgent({ agentId, command: confirm(callId, true) });
  const opposite = other.client.controlAgent({ agentId, command: confirm(callId, false) });
  expect((await refusalOf(opposite)).code).toBe(Code.FailedPrecondition);
  const unknown = other.client.controlAgent({ agentId, command: confirm("call_99", true) });
  expect((await refusalOf(unknown)).code).toBe(Code.NotFound);

  const history = await historyOf(other.client, agentId);
  expect(valuesOf(history, "toolResult").map(({ output }) => output)).toEqual(["done"]);
  expect(valuesOf(history, "text").at(-1)?.content).toContain("after that");
});

test("a rejected call gives the model an error result", async () => {
  const { agentId, callId } = await waitingCall(engine);
  await using chat = openChat(engine.client, agentId);
  chat.send({ payload: confirm(callId, false) });
  await chat.end();
  const [result] = valuesOf(chat.heard, "toolResult");
  expect(result).toMatchObject({ callId, isError: true, errorCode: "TOOL_REJECTED" });
  expect(result?.errorMessage).toContain("because");
  expect(valuesOf(chat.heard, "text")[0]?.content).toContain("TOOL_REJECTED");
});

const withoutTheTool: Readonly<
  Record<string, { code: string; remove: (on: EngineProcess, agentId: string) => Promise<void> }>
> = {
  "its file is removed": {
    code: "TOOL_NOT_FOUND",
    remove: (on) => rm(join(on.folder, "tools", "quick.wasm")),
  },
  "an edit takes the tool away": {
    code: "TOOL_NOT_ALLOWED",
    remove: async (on, agentId) => {
      await using chat = openChat(on.client, agentId);
      const patch = { tools: [{ name: "other" }] };
      chat.send({ payload: { case: "edit", value: { patch } } });
      await chat.end();
    },
  },
};

test.each(Object.entries(withoutTheTool))(
  "a call that is approved after %s is told so, and the turn goes on",
  async (_, { code, remove }) => {
    await using other = await openEngine();
    await putTools(other.folder, "quick");
    const { agentId, callId } = await waitingCall(other);
    await remove(other, agentId);
    await using chat = openChat(other.client, agentId);
    chat.send({ payload: confirm(callId, true) });
    await chat.end();
    const results = valuesOf(chat.heard, "toolResult");
    expect(results).toMatchObject([{ callId, isError: true, errorCode: code }]);
    expect(valuesOf(chat.heard, "text")[0]?.content).toContain(code);
  },
);
