import fc from "fast-check";
import type {
  AgentConfig,
  AgentSpec,
  AgentTool,
  Event,
  EventType,
  LoggedEvent,
  MessageKey,
  ModelCall,
  ReplyHead,
  ToolDefinition,
  ToolOutcome,
} from "../../src/agent/event.ts";
import type { JsonObject } from "../../src/agent/json.ts";

/** JSON of so many objects in one another. */
export const nested = (levels: number): string => `${'{"a":'.repeat(levels)}1${"}".repeat(levels)}`;

/** When the samples begin, in ms; an event comes each second. */
export const startMs = Date.UTC(2026, 0, 31, 12);

export const plainConfig: AgentConfig = {
  stepsMax: 0,
  durationMsMax: 0,
  temperature: null,
  contextTokensMax: 0,
  enableThinking: false,
  enableObservation: false,
  waitForInput: false,
  responseSchema: null,
  totalTokensMax: 0,
  noTools: false,
  toolLimits: { fuel: 0, memoryBytes: 0, timeoutMs: 0, outputBytesMax: 0 },
};

export const plainSpec: AgentSpec = {
  goal: "count to three",
  model: "scripted",
  systemPrompt: "",
  metadata: {},
  config: plainConfig,
  tools: [],
};

type Sample<T extends EventType> = Extract<Event, { readonly type: T }>;

/** An agent's first event; `config` changes single settings. */
export const born = (
  config: Partial<AgentConfig> = {},
  spec: Partial<AgentSpec> = {},
): Sample<"AgentCreated"> => ({
  type: "AgentCreated",
  parent: null,
  ...plainSpec,
  ...spec,
  config: { ...plainConfig, ...config },
});

export const said = (content: string, key: MessageKey | null = null): Event => ({
  type: "MessageReceived",
  key,
  content,
  attachments: [],
});

export const paused = (reason = ""): Event => ({ type: "AgentPaused", key: null, reason });
export const resumed: Event = { type: "AgentResumed", key: null };
export const canceled: Event = { type: "AgentCanceled", key: null };
export const turnFailed: Event = { type: "TurnFailed", code: "MODEL_ERROR", message: "no" };

/** A model call that knew the log up to `afterSequence`. */
export const callAfter = (afterSequence: number, over: Partial<ModelCall> = {}): ModelCall => ({
  afterSequence,
  nowMs: startMs + afterSequence * 1000 + 500,
  tools: null,
  continuedLength: 0,
  ...over,
});

export const headAfter = (afterSequence: number): ReplyHead => ({
  call: callAfter(afterSequence),
  usage: { promptTokens: 7, completionTokens: 3 },
});

export const spoke = (content: string, afterSequence: number): Event => ({
  type: "ModelSpoke",
  head: headAfter(afterSequence),
  content,
});

export const answered = (content: string, afterSequence: number): Event => ({
  type: "FinalAnswered",
  head: headAfter(afterSequence),
  content,
  structured: null,
});

/** A tool call; `afterSequence` null: a further one of the same reply. */
export const requested = (
  callId: string,
  afterSequence: number | null,
  requiresConfirmation = false,
): Event => ({
  type: "ToolRequested",
  head: afterSequence === null ? null : headAfter(afterSequence),
  callId,
  name: "echo",
  inputJson: '{"text":"hi"}',
  requiresConfirmation,
});

export const outcome: ToolOutcome = {
  output: "hi",
  error: null,
  fuelUsed: 10,
  memoryBytes: 65_536,
  durationMs: 1,
};

export const returned = (callId: string, over: Partial<ToolOutcome> = {}): Event => ({
  type: "ToolReturned",
  callId,
  ...outcome,
  ...over,
});

/** The events in their places behind `after`, one each second. */
export const logged = (events: readonly Event[], after = 0): readonly LoggedEvent[] =>
  events.map((event, index) => ({
    sequence: after + index + 1,
    atMs: startMs + (after + index + 1) * 1000,
    event,
  }));

/** Any well-formed text: what UTF-8 can carry. */
export const anyText = fc.string({ unit: "binary", maxLength: 12 });
const anyCount = fc.nat({ max: 2 ** 40 });
const anyInt32 = fc.nat();
/** Without -0, which JSON does not tell from 0, and without a key that means something to an object literal. */
const anyObject: fc.Arbitrary<JsonObject> = fc
  .dictionary(
    anyText.filter((key) => key !== "__proto__"),
    fc.oneof(anyText, anyCount, fc.boolean(), fc.constant(null), fc.array(anyText)),
    { maxKeys: 3, noNullPrototype: true },
  )
  .map((value) => ({ ...value, nested: { value } }));
const anyStrings = fc.dictionary(
  anyText.filter((key) => key !== "__proto__"),
  anyText,
  { maxKeys: 3, noNullPrototype: true },
);
const anyKey: fc.Arbitrary<MessageKey | null> = fc.option(
  fc.record({ messageId: anyText, digest: anyText }),
);
const anyConfig: fc.Arbitrary<AgentConfig> = fc.record({
  stepsMax: anyInt32,
  durationMsMax: anyCount,
  temperature: fc.option(fc.integer({ min: 1, max: 500 }).map((hundredths) => hundredths / 100)),
  contextTokensMax: anyInt32,
  enableThinking: fc.boolean(),
  enableObservation: fc.boolean(),
  waitForInput: fc.boolean(),
  responseSchema: fc.option(anyObject),
  totalTokensMax: anyCount,
  noTools: fc.boolean(),
  toolLimits: fc.record({
    fuel: anyCount,
    memoryBytes: anyCount,
    timeoutMs: anyCount,
    outputBytesMax: anyCount,
  }),
});
const anyTool: fc.Arbitrary<AgentTool> = fc.record({
  name: anyText,
  description: anyText,
  parameters: fc.option(anyObject),
  requiresConfirmation: fc.boolean(),
});
const specFields = {
  goal: anyText,
  model: anyText,
  systemPrompt: anyText,
  metadata: anyStrings,
  config: anyConfig,
  tools: fc.array(anyTool, { maxLength: 2 }),
};
export const anySpec: fc.Arbitrary<AgentSpec> = fc.record(specFields);
const anyDefinition: fc.Arbitrary<ToolDefinition> = fc.record({
  name: anyText,
  description: anyText,
  parameters: anyObject,
});
export const anyCall: fc.Arbitrary<ModelCall> = fc.record({
  afterSequence: anyCount,
  nowMs: anyCount,
  tools: fc.option(fc.array(anyDefinition, { maxLength: 2 })),
  continuedLength: anyCount,
});
const anyHead: fc.Arbitrary<ReplyHead | null> = fc.option(
  fc.record({
    call: anyCall,
    usage: fc.record({ promptTokens: anyCount, completionTokens: anyCount }),
  }),
);
const anyParent = fc.record({ agentId: anyText, sequence: anyCount });
const turnErrorCode = fc.constantFrom("MAX_STEPS", "MODEL_TIMEOUT", "INTERNAL");

type Fields<T extends EventType> = Omit<Sample<T>, "type">;

const of = <T extends EventType>(
  type: T,
  fields: { readonly [K in keyof Fields<T>]: fc.Arbitrary<Fields<T>[K]> },
): fc.Arbitrary<Event> =>
  fc
    .record(fields as Record<string, fc.Arbitrary<unknown>>)
    .map((value) => ({ type, ...value }) as unknown as Event);

/** An arbitrary of every type of event, each field as free as its type. */
export const anyEventOf: Readonly<Record<EventType, fc.Arbitrary<Event>>> = {
  AgentCreated: of("AgentCreated", { ...specFields, parent: fc.option(anyParent) }),
  MessageReceived: of("MessageReceived", {
    key: anyKey,
    content: anyText,
    attachments: fc.array(
      fc.record({ name: anyText, mimeType: anyText, base64: fc.base64String() }),
    ),
  }),
  AgentPaused: of("AgentPaused", { key: anyKey, reason: anyText }),
  AgentResumed: of("AgentResumed", { key: anyKey }),
  AgentCanceled: of("AgentCanceled", { key: anyKey }),
  AgentRetried: of("AgentRetried", { key: anyKey }),
  AgentEdited: of("AgentEdited", { key: anyKey, spec: anySpec, description: anyText }),
  ToolConfirmed: of("ToolConfirmed", {
    key: anyKey,
    callId: anyText,
    approve: fc.boolean(),
    reason: anyText,
  }),
  ModelThought: of("ModelThought", { head: anyHead, content: anyText }),
  ModelSpoke: of("ModelSpoke", { head: anyHead, content: anyText }),
  ToolRequested: of("ToolRequested", {
    head: anyHead,
    callId: anyText,
    name: anyText,
    inputJson: anyText,
    requiresConfirmation: fc.boolean(),
  }),
  FinalAnswered: of("FinalAnswered", {
    head: anyHead,
    content: anyText,
    structured: fc.option(anyObject),
  }),
  ToolReturned: of("ToolReturned", {
    callId: anyText,
    output: anyText,
    error: fc.option(
      fc.record({ code: fc.constantFrom("TOOL_TRAPPED", "TOOL_REJECTED"), message: anyText }),
    ),
    fuelUsed: anyCount,
    memoryBytes: anyCount,
    durationMs: fc.double({ min: 0.5, max: 1e6, noNaN: true }),
  }),
  ModelFailed: of("ModelFailed", {
    call: anyCall,
    code: turnErrorCode,
    message: anyText,
    retryAtMs: anyCount,
  }),
  AnswerAbandoned: of("AnswerAbandoned", { call: anyCall, reason: anyText }),
  Observed: of("Observed", { content: anyText }),
  ContextCondensed: of("ContextCondensed", {
    items: anyCount,
    summary: anyText,
    usage: fc.record({ promptTokens: anyCount, completionTokens: anyCount }),
  }),
  TurnFailed: of("TurnFailed", { code: turnErrorCode, message: anyText }),
  AgentForked: of("AgentForked", { parent: anyParent, metadata: anyStrings }),
};
