import { fromJson, type JsonObject, toJson } from "@bufbuild/protobuf";
import { describe, expect, test } from "bun:test";
import type { Event } from "../../src/agent/event.ts";
import {
  ClientMessageSchema,
  type ServerMessage,
  ServerMessageSchema,
} from "../../src/gen/engram/api/v1/agent_pb.ts";
import { brief, heartbeatMs, openApi, openConversation } from "../support/api.ts";
import {
  born,
  callAfter,
  headAfter,
  plainConfig,
  plainSpec,
  requested,
  said,
} from "../support/events.ts";
import { makePlayedModel, playedUsage } from "../support/played-model.ts";
import { makeGate, openStage, quiet, type Stage } from "../support/stage.ts";
import { creationOf } from "../support/stores.ts";

// Whole messages: each field has a value that no other field of its message has, and that is not its default.

const json = (message: ServerMessage): JsonObject =>
  toJson(ServerMessageSchema, message) as JsonObject;

/** An agent with this log, which nobody has begun to work on. */
const agentWith = async (stage: Stage, events: readonly Event[]): Promise<string> => {
  const agentId = Bun.randomUUIDv7();
  await stage.store.create(creationOf(agentId, events));
  return agentId;
};

const callFailed = {
  output: "half",
  error: { code: "TOOL_EXITED", message: "it broke" },
  fuelUsed: 31,
  memoryBytes: 32,
  durationMs: 33,
} as const;

/** Every type of event, and what it is shown as. */
const story: readonly (readonly [Event, JsonObject])[] = [
  [
    born({ waitForInput: true, enableObservation: true }),
    { status: { status: "created", message: "count to three" } },
  ],
  [said("hello"), { status: { status: "user_input", message: "hello" } }],
  [{ type: "ModelThought", head: headAfter(2), content: "hm" }, { thought: { content: "hm" } }],
  [{ type: "ModelSpoke", head: null, content: "well" }, { text: { content: "well" } }],
  [
    { ...requested("call_5", null), name: "adder", inputJson: '{"a":1}' } as Event,
    { toolCall: { toolName: "adder", inputJson: '{"a":1}', callId: "call_5" } },
  ],
  [
    requested("call_6", null, true),
    {
      toolCall: {
        toolName: "echo",
        inputJson: '{"text":"hi"}',
        callId: "call_6",
        requiresConfirmation: true,
      },
    },
  ],
  [
    { type: "ToolReturned", callId: "call_5", ...callFailed },
    {
      toolResult: {
        callId: "call_5",
        output: "half",
        isError: true,
        errorMessage: "it broke",
        errorCode: "TOOL_EXITED",
        fuelUsed: "31",
        memoryBytes: "32",
        duration: "0.033s",
      },
    },
  ],
  [
    { type: "ToolConfirmed", key: null, callId: "call_6", approve: true, reason: "fine" },
    { status: { status: "approved", message: "call_6" } },
  ],
  [
    { type: "ToolReturned", callId: "call_6", ...callFailed, error: null },
    {
      toolResult: {
        callId: "call_6",
        output: "half",
        fuelUsed: "31",
        memoryBytes: "32",
        duration: "0.033s",
      },
    },
  ],
  [
    { type: "ToolConfirmed", key: null, callId: "call_7", approve: false, reason: "no" },
    { status: { status: "rejected", message: "call_7" } },
  ],
  [
    { type: "AgentPaused", key: null, reason: "lunch" },
    { status: { status: "paused", message: "lunch" } },
  ],
  [{ type: "AgentResumed", key: null }, { status: { status: "resumed" } }],
  [
    { type: "AgentEdited", key: null, spec: plainSpec, description: "faster" },
    { status: { status: "edited", message: "faster" } },
  ],
  [
    {
      type: "ModelFailed",
      call: callAfter(13),
      code: "MODEL_TIMEOUT",
      message: "slow",
      retryAtMs: 0,
    },
    { observation: { content: "model retried: MODEL_TIMEOUT: slow" } },
  ],
  [
    { type: "AnswerAbandoned", call: callAfter(14), reason: "it cannot go on" },
    { observation: { content: "answered anew: it cannot go on" } },
  ],
  [{ type: "Observed", content: "recovered" }, { observation: { content: "recovered" } }],
  [
    { type: "ContextCondensed", items: 1, summary: "little", usage: playedUsage },
    { observation: { content: "condensed the oldest 1 parts of the conversation" } },
  ],
  [
    { type: "TurnFailed", code: "MODEL_ERROR", message: "it broke down" },
    { error: { code: "MODEL_ERROR", message: "it broke down" } },
  ],
  [
    { type: "AgentRetried", key: null },
    { status: { status: "waiting_for_step", message: "retried" } },
  ],
  [
    { type: "FinalAnswered", head: headAfter(19), content: "42", structured: { n: 42 } },
    { finalAnswer: { content: "42", structured: { n: 42 } } },
  ],
  [{ type: "AgentCanceled", key: null }, { status: { status: "canceled" } }],
  [
    { type: "AgentForked", parent: { agentId: "theirs", sequence: 21 }, metadata: {} },
    { status: { status: "forked", message: "from event 21 of agent theirs" } },
  ],
];

const storyOf = (enableObservation: boolean): readonly Event[] =>
  story.map(([event]) =>
    "spec" in event
      ? { ...event, spec: { ...plainSpec, config: { ...plainConfig, enableObservation } } }
      : event,
  );

/** The story as clients are shown it: without observations these are updates of the status. */
const shownOf = (agentId: string, observed: boolean): readonly JsonObject[] =>
  story.map(([, payload], index) => {
    const { content } = (payload["observation"] ?? {}) as JsonObject;
    const unasked = { status: { status: "waiting_for_step", message: content ?? "" } };
    return {
      agentId,
      sequenceId: String(index + 1),
      timestamp: `2026-01-31T12:00:${String(index + 1).padStart(2, "0")}Z`,
      ...(content === undefined || observed ? payload : unasked),
    };
  });

describe.each([true, false])("every type of event, with enable_observation %p,", (observed) => {
  test("is shown whole by Replay and by Chat", async () => {
    const stage = openStage();
    const engine = stage.start();
    const client = openApi(engine, stage);
    const agentId = await agentWith(stage, storyOf(observed));
    const replayed = async (includeHistory: boolean): Promise<readonly JsonObject[]> => {
      const messages: JsonObject[] = [];
      for await (const message of client.replay({ agentId, includeHistory }))
        messages.push(json(message));
      return messages;
    };
    const shown = shownOf(agentId, observed);
    expect(await replayed(true)).toEqual([...shown]);
    expect(await replayed(false)).toEqual(shown.filter((message) => !("status" in message)));
    const chat = openConversation(client);
    chat.send({ agentId, resumeFromSequence: 1n });
    chat.halfClose();
    expect(await chat.ended).toBeNull();
    expect(chat.messages.map(json)).toEqual(shown.slice(1));
    await engine.drain();
  });
});

test("what is live comes whole: acknowledgements, pieces and heartbeats", async () => {
  const stage = openStage();
  const gate = makeGate();
  const model = makePlayedModel(() => ({
    thinking: ["h\u00fc", "m"],
    text: ["gr\u00fc\u00df ", "dich"],
    before: async (index) => (index === 0 ? gate.passed : undefined),
  }));
  const engine = stage.start({ model });
  const client = openApi(engine, stage);
  const agentId = await stage.create(engine, "goal", { waitForInput: true });
  const chat = openConversation(client);
  chat.send({ agentId });
  await quiet();
  stage.clock.advance(heartbeatMs);
  await chat.until("a heartbeat", (message) => message.payload.case === "heartbeat");
  const hello = {
    messageId: "m",
    payload: { case: "userInput", value: { content: "hi" } },
  } as const;
  chat.send(hello);
  await chat.until("the acknowledgement", (message) => message.payload.case === "status");
  stage.clock.advance(500);
  gate.open();
  await chat.until("the answer", (message) => message.payload.case === "text");
  stage.clock.advance(500);
  chat.send(hello);
  chat.halfClose();
  expect(await chat.ended).toBeNull();
  const at = (sequenceId: number, seconds: string, payload: JsonObject): JsonObject => ({
    agentId,
    sequenceId: String(sequenceId),
    timestamp: `2026-06-01T00:00:${seconds}Z`,
    ...payload,
  });
  expect(chat.messages.map(json)).toEqual([
    at(1, "15", { heartbeat: {} }),
    at(2, "15", { status: { status: "waiting" } }),
    at(2, "15.500", { thoughtDelta: { content: "h\u00fc" } }),
    at(2, "15.500", { thoughtDelta: { content: "m", offset: "3" } }),
    at(2, "15.500", { textDelta: { content: "gr\u00fc\u00df " } }),
    at(2, "15.500", { textDelta: { content: "dich", offset: "7" } }),
    at(3, "15.500", { thought: { content: "h\u00fcm" } }),
    at(4, "15.500", { text: { content: "gr\u00fc\u00df dich" } }),
    at(2, "16", { status: { status: "waiting" } }),
  ]);
  await engine.drain();
});

const files = [
  { name: "dot.png", mimeType: "image/png", data: "ZG90" },
  { name: "a.txt", mimeType: "text/plain", data: "YQ==" },
];
const [dot = {}, ...text] = files;
const input = { content: "look", attachments: files };
const rejection = { callId: "call_4", reason: "no" };
const tool = { name: "echo", description: "Says it.", requiresConfirmation: true };
const told = {
  goal: "sort the letters",
  model: "tiny:1",
  systemPrompt: "Be exact.",
  metadata: { team: "red" },
};
const edit = {
  patch: { ...told, config: { maxSteps: 7 }, tools: [tool] },
  description: "be quicker",
};

type Sent = {
  readonly message: JsonObject;
  /** What it is recorded as. */
  readonly event: object;
  /** What it is acknowledged with. */
  readonly status: string;
  /** The same but for one field, or almost. */
  readonly others: readonly JsonObject[];
};

const sent: readonly Sent[] = [
  {
    message: { pause: { reason: "lunch" } },
    event: { type: "AgentPaused", reason: "lunch" },
    status: "paused",
    others: [{ pause: { reason: "tea" } }],
  },
  {
    message: { resume: {} },
    event: { type: "AgentResumed" },
    status: "waiting_for_confirmation",
    others: [{ cancel: {} }],
  },
  {
    message: { confirm: rejection },
    event: { type: "ToolConfirmed", ...rejection, approve: false },
    status: "waiting_for_confirmation",
    others: [
      { confirm: { ...rejection, callId: "call_3" } },
      { confirm: { ...rejection, approve: true } },
      { confirm: { ...rejection, reason: "because" } },
    ],
  },
  {
    message: { pause: {} },
    event: { type: "AgentPaused", reason: "" },
    status: "paused",
    others: [{ resume: {} }],
  },
  {
    message: { confirm: { callId: "call_3", approve: true, reason: "yes" } },
    event: { type: "ToolConfirmed", callId: "call_3", approve: true, reason: "yes" },
    status: "paused",
    others: [],
  },
  {
    message: { edit },
    event: {
      type: "AgentEdited",
      spec: {
        ...told,
        config: { ...plainConfig, waitForInput: true, stepsMax: 7 },
        tools: [{ ...tool, parameters: null }],
      },
      description: "be quicker",
    },
    status: "paused",
    others: [
      { edit: { ...edit, patch: { goal: "other" } } },
      { edit: { ...edit, description: "be slow" } },
    ],
  },
  {
    message: { userInput: input },
    event: {
      type: "MessageReceived",
      content: "look",
      attachments: files.map(({ data, ...file }) => ({ ...file, base64: data })),
    },
    status: "waiting",
    others: [
      { userInput: { ...input, content: "see" } },
      { userInput: { ...input, attachments: text } },
      { userInput: { ...input, attachments: [{ ...dot, name: "b" }, ...text] } },
      { userInput: { ...input, attachments: [{ ...dot, mimeType: "image/gif" }, ...text] } },
      { userInput: { ...input, attachments: [{ ...dot, data: "ZG93" }, ...text] } },
    ],
  },
  {
    message: { cancel: {} },
    event: { type: "AgentCanceled" },
    status: "canceled",
    others: [{ pause: {} }],
  },
];

test("each message of a client is recorded with all its fields, and once under its id", async () => {
  const stage = openStage();
  const engine = stage.start();
  const client = openApi(engine, stage);
  const agentId = await agentWith(stage, [
    born({ waitForInput: true }),
    said("hello"),
    requested("call_3", 2, true),
    requested("call_4", null, true),
  ]);
  const messageOf = (message: JsonObject, index: number) =>
    fromJson(ClientMessageSchema, { agentId, messageId: `m${index}`, ...message });

  const chat = openConversation(client);
  for (const [index, { message }] of sent.entries())
    for (const twice of [message, message]) chat.send(messageOf(twice, index));
  chat.halfClose();
  expect(await chat.ended).toBeNull();
  const log = await stage.log(agentId);
  const keyed = log.filter(({ event }) => "key" in event && event.key !== null);
  expect(keyed.map(({ event }) => event)).toEqual(
    sent.map(({ event }, index) => ({
      ...(event as Event),
      key: { messageId: `m${index}`, digest: expect.any(String) },
      workedMs: 0,
    })),
  );
  const acks = keyed.map(({ sequence }, index) => `${sequence} ${sent[index]?.status}`);
  // A repetition is not acknowledged in its turn: no event of the log stands for it.
  const heard = chat.messages.filter(({ payload }) => payload.case === "status").map(brief);
  expect(heard.toSorted()).toEqual([...acks, ...acks].toSorted());

  for (const [index, { others }] of sent.entries())
    for (const other of others) {
      const again = openConversation(client);
      again.send(messageOf(other, index));
      expect([other, await again.ended]).toEqual([other, "AlreadyExists"]);
    }
  expect(await stage.log(agentId)).toEqual(log);
  await engine.drain();
});
