import type { Event, EventType } from "../agent/event.ts";
import { isJsonObject } from "../agent/json.ts";
import { requestLimits, turnLimits } from "../limits.ts";

/*
 * What an event holds, to the last field. What this engine wrote it need not look at so closely; what came in a file may
 * have been made by anyone, and one wrong number in it would fail the listing of all agents.
 */

/** The path of the first thing that is not as it has to be; null: nothing. */
type Shape = (value: unknown, path: string) => string | null;

const when =
  (holds: (value: unknown) => boolean): Shape =>
  (value, path) =>
    holds(value) ? null : path;

const text = when((value) => typeof value === "string");
/** Prompts are made of it: other text would fail them, or come into a request as it is. */
const base64 = when(
  (value) =>
    typeof value === "string" && value.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(value),
);
const flag = when((value) => typeof value === "boolean");
const object = when(isJsonObject);

const between =
  (min: number, max: number) =>
  (value: unknown): value is number =>
    typeof value === "number" && value >= min && value <= max;

/** What a 64-bit integer of the wire is made of. */
const count = when((value) => Number.isSafeInteger(value) && between(0, Infinity)(value));
const int32 = when((value) => Number.isInteger(value) && between(0, 2 ** 31 - 1)(value));
/** A length of time, with parts of a millisecond, up to the last one that a duration of the wire can be. */
const duration = when(between(0, 315_576_000_000_000));
/** The last one that a timestamp of the wire can be: the end of the year 9999. */
const time = when(between(0, 253_402_300_799_999));
const temperature = when(between(0, requestLimits.temperatureMax));

const orNull =
  (shape: Shape): Shape =>
  (value, path) =>
    value === null ? null : shape(value, path);

const orAbsent =
  (shape: Shape): Shape =>
  (value, path) =>
    value === undefined ? null : shape(value, path);

const listOf =
  (shape: Shape): Shape =>
  (value, path) =>
    Array.isArray(value)
      ? firstFault(value.map((item, index) => [shape, item, `${path}[${index}]`]))
      : path;

const atMost =
  (itemsMax: number, shape: Shape): Shape =>
  (value, path) =>
    Array.isArray(value) && value.length > itemsMax ? path : shape(value, path);

const textsByName: Shape = (value, path) =>
  isJsonObject(value)
    ? firstFault(Object.entries(value).map(([name, item]) => [text, item, `${path}.${name}`]))
    : path;

const fields =
  (shapes: Readonly<Record<string, Shape>>): Shape =>
  (value, path) =>
    isJsonObject(value)
      ? firstFault(
          Object.entries(shapes).map(([name, shape]) => [
            shape,
            value[name],
            path === "" ? name : `${path}.${name}`,
          ]),
        )
      : path;

function firstFault(
  parts: readonly (readonly [shape: Shape, value: unknown, path: string])[],
): string | null {
  for (const [shape, value, path] of parts) {
    const fault = shape(value, path);
    if (fault !== null) return fault;
  }
  return null;
}

const specShapes = {
  goal: text,
  model: text,
  systemPrompt: text,
  metadata: textsByName,
  config: fields({
    stepsMax: int32,
    durationMsMax: count,
    temperature: orNull(temperature),
    contextTokensMax: int32,
    enableThinking: flag,
    enableObservation: flag,
    waitForInput: flag,
    responseSchema: orNull(object),
    totalTokensMax: count,
    noTools: flag,
    toolLimits: fields({
      fuel: count,
      memoryBytes: count,
      timeoutMs: count,
      outputBytesMax: count,
    }),
  }),
  tools: listOf(
    fields({
      name: text,
      description: text,
      parameters: orNull(object),
      requiresConfirmation: flag,
    }),
  ),
};

/** Of a model call: in an event, and of a draft. */
const call = fields({
  afterSequence: count,
  nowMs: time,
  tools: orNull(listOf(fields({ name: text, description: text, parameters: object }))),
  continuedLength: count,
  continuations: orAbsent(
    atMost(turnLimits.continuationsKept, listOf(fields({ length: count, headSequence: count }))),
  ),
  abilities: orAbsent(
    fields({
      tools: flag,
      thinking: flag,
      contextTokens: orNull(count),
      format: orAbsent(flag),
      usage: orAbsent(flag),
    }),
  ),
  condensedItems: orAbsent(count),
});
const usage = fields({ promptTokens: count, completionTokens: count });
const parent = fields({ agentId: text, sequence: count });
const commanded = { key: orNull(fields({ messageId: text, digest: text })) };
const replied = { head: orNull(fields({ call, usage })) };

const shapes: Readonly<Record<EventType, Readonly<Record<string, Shape>>>> = {
  AgentCreated: { ...specShapes, parent: orNull(parent) },
  MessageReceived: {
    ...commanded,
    content: text,
    attachments: listOf(fields({ name: text, mimeType: text, base64 })),
  },
  AgentPaused: { ...commanded, reason: text },
  AgentResumed: commanded,
  AgentCanceled: commanded,
  AgentRetried: commanded,
  AgentEdited: { ...commanded, spec: fields(specShapes), description: text },
  ToolConfirmed: { ...commanded, callId: text, approve: flag, reason: text },
  ModelThought: { ...replied, content: text },
  ModelSpoke: { ...replied, content: text },
  ToolRequested: {
    ...replied,
    callId: text,
    name: text,
    inputJson: text,
    requiresConfirmation: flag,
  },
  FinalAnswered: { ...replied, content: text, structured: orNull(object) },
  ToolReturned: {
    callId: text,
    output: text,
    error: orNull(fields({ code: text, message: text })),
    fuelUsed: count,
    memoryBytes: count,
    durationMs: duration,
  },
  ModelFailed: {
    call,
    code: text,
    message: text,
    retryAtMs: time,
    overflow: orAbsent(fields({ contextTokens: orNull(count), promptTokens: orNull(count) })),
  },
  AnswerAbandoned: { call, reason: text, text: orAbsent(text) },
  Observed: { content: text },
  ContextCondensed: { items: count, summary: text, usage, call: orAbsent(call) },
  TurnFailed: { code: text, message: text, call: orAbsent(call) },
  AgentForked: { parent, metadata: textsByName },
};

/** The field of an event that does not hold what it has to; null: all do. */
export const faultyFieldOf = (event: Event): string | null =>
  fields({ ...shapes[event.type], workedMs: orAbsent(duration) })(event, "");

/** The same of a model call. */
export const faultyFieldOfCall = (value: unknown): string | null => call(value, "call");

export const isTime = (value: unknown): value is number =>
  Number.isSafeInteger(value) && time(value, "at") === null;

export const isDuration = (value: unknown): value is number => duration(value, "") === null;
