import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { AdminService, type PromptInfo } from "../../src/gen/engram/admin/v1/admin_pb.ts";
import {
  type AttentiveModel,
  isCondensing,
  makeAttentiveModel,
  messagesOf,
} from "../support/attentive-model.ts";
import { createAgent, is, isStatus, openChat, restingAgent } from "../support/conversation.ts";
import { type EngineProcess, openEngine, runBinary } from "../support/engine-process.ts";
import type { FakeExchange } from "../support/fake-ollama-exchange.ts";
import { type FakeOllama, openFakeOllama } from "../support/fake-ollama.ts";
import { putTools } from "../support/tool-modules.ts";

setDefaultTimeout(120_000);

const turns = 200;
const contextTokens = 8_000;
const goal = "Keep the harbour of Ys in order and tell everybody what they ask";
const firstFact = "the first word of all is marzipan";

let ollama: FakeOllama;
let engine: EngineProcess;
let model: AttentiveModel;
let agentId = "";
/** What was answered, by turn. */
const texts = new Map<number, string>();
/** What the model was sent to answer or to condense, in order. */
let sent: readonly FakeExchange[] = [];

const vocabulary =
  "a the of harbour boat quay lamp is on under weather extraordinarily 1234 and wind-blown, rope; Søren, über".split(
    " ",
  );

/** Some words, other ones in each turn. */
const smallTalk = (turn: number): string =>
  Array.from(
    { length: 20 + ((turn * 37) % 90) },
    (_, n) => vocabulary[(turn * 7 + n * n + 3 * n) % vocabulary.length],
  ).join(" ");

const isToolTurn = (turn: number): boolean => turn % 10 === 5;

function saidIn(turn: number): string {
  if (turn === 1) return `Note that ${firstFact}. ${smallTalk(turn)}`;
  if (turn === turns - 1) return "What is your goal?";
  if (turn === turns) return "What is the first word of all?";
  // 30 calls: 10 alone, 10 in pairs.
  if (isToolTurn(turn)) return `Use quick ${turn % 20 === 5 ? "once" : "twice"}.`;
  if (turn % 20 === 7)
    return `Note that the name of berth ${turn} is berth${turn}x. ${smallTalk(turn)}`;
  return smallTalk(turn);
}

async function speak(turn: number): Promise<void> {
  const request = { agentId, messageId: `${turn}`, userInput: { content: saidIn(turn) } };
  texts.set(turn, (await engine.client.sendMessage(request)).text);
}

/** Has the agent stopped in mid-answer, and gone on. */
async function speakBrokenOff(turn: number, breakOff: () => Promise<void>): Promise<void> {
  {
    await using chat = openChat(engine.client, agentId);
    chat.say(`Slowly, please. ${smallTalk(turn)}`, `${turn}`);
    await chat.until(is("textDelta"));
    await breakOff();
  }
  await restingAgent(engine.client, agentId);
}

const killed = async (): Promise<void> => {
  await engine.kill();
  await engine.start();
};

const pausedAndResumed = async (): Promise<void> => {
  await using chat = openChat(engine.client, agentId);
  chat.send({ payload: { case: "pause", value: { reason: "" } } });
  await chat.until(isStatus("paused"));
  chat.send({ payload: { case: "resume", value: {} } });
  await chat.end();
};

beforeAll(async () => {
  ollama = await openFakeOllama();
  model = makeAttentiveModel();
  ollama.next(...Array.from({ length: 5 * turns }, () => model.answer));
  engine = await openEngine({
    LLM_PROVIDER: "ollama",
    OLLAMA_URL: ollama.url,
    LEASE_TTL_MS: "1000",
  });
  await putTools(engine.folder, "quick");
  const config = { maxContextTokens: contextTokens };
  agentId = await createAgent(engine.client, { goal, model: "qwen3", config });
  for (let turn = 1; turn <= turns; turn++) {
    if (turn === 68) await speakBrokenOff(turn, killed);
    else if (turn === 134) await speakBrokenOff(turn, pausedAndResumed);
    else await speak(turn);
  }
  sent = ollama.chats.filter(({ body }) => body["_debug_render_only"] !== true);
});
afterAll(async () => {
  await engine[Symbol.asyncDispose]();
  await ollama.close();
});

test("after 200 turns and 30 tool calls the agent knows its goal and what was said in the first turn", async () => {
  expect(texts.get(turns - 1)).toBe(goal);
  expect(texts.get(turns)).toBe(firstFact);
  const { stats, status } = await engine.client.getAgent({ agentId });
  expect(status).toBe("waiting_for_input");
  expect(stats?.toolCalls).toBe(30);
});

test("no request and its reply are more than the context, by the model's own count, and few of them condense", () => {
  const sizes = sent.map((x) => model.sizes.get(x));
  const most = Math.max(...sizes.map((size) => (size?.prompt ?? 0) + (size?.reply ?? 0)));
  expect(most).toBeLessThanOrEqual(contextTokens);
  expect(most).toBeGreaterThan(contextTokens / 2);
  const condensings = sent.filter(isCondensing).length;
  expect(condensings).toBeGreaterThan(3);
  expect(condensings).toBeLessThan(turns / 8);
});

test("tool exchanges are whole in every prompt", () => {
  for (const x of sent) {
    let open = 0;
    for (const { role, toolCalls } of messagesOf(x)) {
      if (role === "tool") open--;
      else expect(open).toBe(0);
      open += toolCalls.length;
    }
    expect(open).toBe(0);
  }
});

test("between two condensations each prompt begins with the one before", () => {
  let before: string | null = null;
  let grown = 0;
  for (const x of sent) {
    if (isCondensing(x)) {
      before = null;
      continue;
    }
    const messages = x.body["messages"];
    if (!Array.isArray(messages)) throw new Error("a request without messages");
    const known = messagesOf(x).at(-1)?.role === "assistant" ? messages.slice(0, -1) : messages;
    const text = JSON.stringify(known).slice(0, -1);
    // As it was sent, the beginning of the whole body.
    expect(x.bodyText.includes(text)).toBe(true);
    if (before !== null) {
      expect(text.startsWith(before)).toBe(true);
      grown++;
    }
    before = text;
  }
  expect(grown).toBeGreaterThan(turns);
});

test("every request that the model received is the one that the log tells of, byte for byte", async () => {
  const admin = createClient(AdminService, createGrpcTransport({ baseUrl: engine.url }));
  const told: { readonly info: PromptInfo; readonly body: string }[] = [];
  for (let number = 1; number <= sent.length; number++) {
    const pieces: Uint8Array[] = [];
    let info: PromptInfo | undefined;
    for await (const message of admin.readPrompt({ agentId, number: BigInt(number) })) {
      info ??= message.info;
      pieces.push(message.data);
    }
    if (info === undefined) throw new Error("it was not said which call it is");
    told.push({ info, body: Buffer.concat(pieces).toString() });
  }
  for (const [index, { bodyText }] of sent.entries()) expect(told[index]?.body).toBe(bodyText);
  expect(told.map(({ info }) => Number(info.number))).toEqual(sent.map((_, index) => index + 1));
  expect(new Set(told.map(({ info }) => Number(info.total)))).toEqual(new Set([sent.length]));
  expect(told.map(({ info }) => info.condenses)).toEqual(sent.map(isCondensing));
  const continued = told.flatMap(({ info }, index) =>
    info.continuedLength > 0n ? [index + 1] : [],
  );
  expect(continued.length).toBe(2);
  for (const number of [1, sent.findIndex(isCondensing) + 1, ...continued]) {
    const { stdout } = await runBinary(engine.folder, ["log", agentId, "--prompt", `${number}`], {
      URL: engine.url,
    });
    expect(stdout).toBe(sent[number - 1]?.bodyText ?? "");
  }
});
