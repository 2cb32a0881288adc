import {
  create,
  type DescMessage,
  type JsonObject as WireObject,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { type Duration, DurationSchema, timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { AgentSpec, Event, LoggedEvent, ToolLimits, ToolOutcome } from "../agent/event.ts";
import type { JsonObject } from "../agent/json.ts";
import type { AgentRow } from "../agent/row.ts";
import type { ToolFile } from "../agent/toolbox.ts";
import type { Followed } from "../engine/follow.ts";
import {
  type Agent,
  AgentSchema,
  type AgentConfigSchema,
  type CreateAgentRequestSchema,
  type FinalAnswer,
  FinalAnswerSchema,
  type ServerMessage,
  ServerMessageSchema,
  type ToolInfo,
  ToolInfoSchema,
  type ToolLimitsSchema,
  type ToolResult,
  ToolResultSchema,
} from "../gen/engram/api/v1/agent_pb.ts";

/** The wire's older counter is no wider; a larger number cannot be sent at all. */
const int32Max = 2 ** 31 - 1;

/** The bytes that a message takes as a part of another, with what says so. */
export const sizeOf = <Desc extends DescMessage>(type: Desc, message: MessageShape<Desc>): number =>
  toBinary(type, message).length + messageHeadBytes;

/** A field's number, and a length of up to 256 MiB. */
const messageHeadBytes = 5;

/** An agent as clients are shown it. */
export function agentOf(row: AgentRow): Agent {
  const { stats, parent } = row;
  const fields = specFields(row.spec);
  return create(AgentSchema, {
    ...fields,
    agentId: row.agentId,
    status: row.status,
    createdAt: timestampFromMs(row.createdAtMs),
    updatedAt: timestampFromMs(row.updatedAtMs),
    stats: {
      totalSteps: stats.steps,
      toolCalls: stats.toolCalls,
      totalDuration: durationOf(stats.workedMs),
      tokensUsed: Math.min(stats.promptTokens + stats.completionTokens, int32Max),
      promptTokens: sumOf(stats.promptTokens),
      completionTokens: sumOf(stats.completionTokens),
      fuelUsed: sumOf(stats.fuelUsed),
    },
    headSequence: BigInt(row.sequence),
    statusReason: row.reason,
    parentAgentId: parent?.agentId ?? "",
    forkedAtSequence: BigInt(parent?.sequence ?? 0),
  });
}

type SpecFields = Pick<
  MessageInitShape<typeof CreateAgentRequestSchema> & object,
  "goal" | "model" | "systemPrompt" | "metadata" | "config" | "tools"
>;

/** What a client may set, in the wire's fields. */
export const specFields = (spec: AgentSpec): SpecFields => ({
  goal: spec.goal,
  model: spec.model,
  systemPrompt: spec.systemPrompt,
  metadata: { ...spec.metadata },
  config: configFields(spec),
  tools: spec.tools.map(({ name, description, parameters, requiresConfirmation }) => ({
    name,
    description,
    requiresConfirmation,
    ...(parameters === null ? {} : { parametersSchema: wireObject(parameters) }),
  })),
});

function configFields({ config }: AgentSpec): MessageInitShape<typeof AgentConfigSchema> {
  const { fuel, memoryBytes, timeoutMs, outputBytesMax } = config.toolLimits;
  const limited = fuel + memoryBytes + timeoutMs + outputBytesMax > 0;
  return {
    maxSteps: config.stepsMax,
    ...(config.durationMsMax > 0 ? { maxDuration: durationOf(config.durationMsMax) } : {}),
    temperature: config.temperature ?? 0,
    maxContextTokens: config.contextTokensMax,
    enableThinking: config.enableThinking,
    enableObservation: config.enableObservation,
    waitForInput: config.waitForInput,
    ...(config.responseSchema === null
      ? {}
      : { responseSchema: wireObject(config.responseSchema) }),
    maxTotalTokens: BigInt(config.totalTokensMax),
    noTools: config.noTools,
    ...(limited ? { toolLimits: limitFields(config.toolLimits) } : {}),
  };
}

const limitFields = (limits: ToolLimits): MessageInitShape<typeof ToolLimitsSchema> => ({
  fuel: BigInt(limits.fuel),
  memoryBytes: BigInt(limits.memoryBytes),
  ...(limits.timeoutMs > 0 ? { timeout: durationOf(limits.timeoutMs) } : {}),
  maxOutputBytes: BigInt(limits.outputBytesMax),
});

/** A copy that protobuf may own; its types are the same but not read-only. */
const wireObject = (object: JsonObject): WireObject => JSON.parse(JSON.stringify(object));

/** Of numbers that are no larger each, but that anyone may have written into an agent's file: one that cannot be sent would fail every listing. */
const sumOf = (sum: number): bigint => BigInt(Math.min(sum, Number.MAX_SAFE_INTEGER));

/** The longest that a Duration may be. */
const durationMsMax = 315_576_000_000_000;

const durationOf = (ms: number): Duration => {
  const micros = Math.round(Math.min(ms, durationMsMax) * 1000);
  return create(DurationSchema, {
    seconds: BigInt(Math.trunc(micros / 1e6)),
    nanos: (micros % 1e6) * 1000,
  });
};

export const toolInfoOf = (file: ToolFile): ToolInfo =>
  create(ToolInfoSchema, {
    tool: {
      name: file.name,
      description: file.description,
      parametersSchema: wireObject(file.parameters),
      requiresConfirmation: file.requiresConfirmation,
    },
    sha256: file.sha256,
    sizeBytes: BigInt(file.sizeBytes),
    limits: limitFields(file.limits),
    error: file.error ?? "",
  });

export const toolResultOf = (callId: string, outcome: ToolOutcome): ToolResult =>
  create(ToolResultSchema, {
    callId,
    output: outcome.output,
    isError: outcome.error !== null,
    errorMessage: outcome.error?.message ?? "",
    errorCode: outcome.error?.code ?? "",
    fuelUsed: BigInt(outcome.fuelUsed),
    memoryBytes: BigInt(outcome.memoryBytes),
    duration: durationOf(outcome.durationMs),
  });

export const finalAnswerOf = (answer: {
  readonly content: string;
  readonly structured: JsonObject | null;
}): FinalAnswer =>
  create(FinalAnswerSchema, {
    content: answer.content,
    ...(answer.structured === null ? {} : { structured: wireObject(answer.structured) }),
  });

type Payload = MessageInitShape<typeof ServerMessageSchema>["payload"] & {};

/** How an event is shown; `observed` where the agent's client asked for the engine's notes. */
export function serverMessageOf(
  agentId: string,
  { sequence, atMs, event }: LoggedEvent,
  observed: boolean,
): ServerMessage {
  return create(ServerMessageSchema, {
    agentId,
    sequenceId: BigInt(sequence),
    timestamp: timestampFromMs(atMs),
    payload: outputOf(event) ?? noteOf(event, observed) ?? statusOf(event),
  });
}

/** What a model or tool put out; null: the event is none of theirs. */
function outputOf(event: Event): Payload | null {
  switch (event.type) {
    case "ModelThought":
      return { case: "thought", value: { content: event.content } };
    case "ModelSpoke":
      return { case: "text", value: { content: event.content } };
    case "ToolRequested":
      return {
        case: "toolCall",
        value: {
          toolName: event.name,
          inputJson: event.inputJson,
          callId: event.callId,
          requiresConfirmation: event.requiresConfirmation,
        },
      };
    case "ToolReturned":
      return { case: "toolResult", value: toolResultOf(event.callId, event) };
    case "FinalAnswered":
      return { case: "finalAnswer", value: finalAnswerOf(event) };
    case "TurnFailed":
      return { case: "error", value: { code: event.code, message: event.message } };
    default:
      return null;
  }
}

/** Whether Replay shows the event without history. */
export const isOutput = (event: Event, observed: boolean): boolean =>
  (outputOf(event) ?? noteOf(event, observed)) !== null;

/** The engine's notes about the run; null: none, or nobody asked for them. */
function noteOf(event: Event, observed: boolean): Payload | null {
  const content = observed ? noteText(event) : null;
  return content === null ? null : { case: "observation", value: { content } };
}

function noteText(event: Event): string | null {
  switch (event.type) {
    case "ModelFailed":
      return `model retried: ${event.code}: ${event.message}`;
    case "AnswerAbandoned":
      return `answered anew: ${event.reason}`;
    case "Observed":
      return event.content;
    case "ContextCondensed":
      return `condensed the oldest ${event.items} parts of the conversation`;
    default:
      return null;
  }
}

/** Every other event is an update of the agent's status, so that a log read again has no gaps. */
function statusOf(event: Event): Payload {
  const [status, message] = statusText(event);
  return { case: "status", value: { status, message } };
}

function statusText(event: Event): readonly [string, string] {
  switch (event.type) {
    case "MessageReceived":
      return ["user_input", event.content];
    case "AgentCreated":
      return ["created", event.goal];
    case "AgentForked":
      return ["forked", `from event ${event.parent.sequence} of agent ${event.parent.agentId}`];
    case "AgentPaused":
      return ["paused", event.reason];
    case "AgentResumed":
      return ["resumed", ""];
    case "AgentCanceled":
      return ["canceled", ""];
    case "AgentRetried":
      return ["waiting_for_step", "retried"];
    case "AgentEdited":
      return ["edited", event.description];
    case "ToolConfirmed":
      return [event.approve ? "approved" : "rejected", event.callId];
    default:
      return ["waiting_for_step", noteText(event) ?? ""];
  }
}

/** A live piece of the answer being written. */
export function deltaMessageOf(
  agentId: string,
  { sequence, piece }: Extract<Followed, { readonly kind: "delta" }>,
  nowMs: number,
): ServerMessage {
  const value = { content: piece.content, offset: BigInt(piece.offset) };
  return create(ServerMessageSchema, {
    agentId,
    sequenceId: BigInt(sequence),
    timestamp: timestampFromMs(nowMs),
    payload: piece.kind === "text" ? { case: "textDelta", value } : { case: "thoughtDelta", value },
  });
}

export const heartbeatOf = (agentId: string, sequence: number, nowMs: number): ServerMessage =>
  create(ServerMessageSchema, {
    agentId,
    sequenceId: BigInt(sequence),
    timestamp: timestampFromMs(nowMs),
    payload: { case: "heartbeat", value: {} },
  });

/** The answer to a client's message: the durable event it became, and the status behind it. */
export const ackOf = (
  agentId: string,
  ack: { readonly sequence: number; readonly status: string },
  nowMs: number,
): ServerMessage =>
  create(ServerMessageSchema, {
    agentId,
    sequenceId: BigInt(ack.sequence),
    timestamp: timestampFromMs(nowMs),
    payload: { case: "status", value: { status: ack.status } },
  });
