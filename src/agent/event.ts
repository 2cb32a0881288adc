import type { Overflow } from "../errors.ts";
import type { JsonObject } from "./json.ts";

/** Bounds of one tool call. 0 takes the engine's default. */
export type ToolLimits = {
  readonly fuel: number;
  readonly memoryBytes: number;
  readonly timeoutMs: number;
  readonly outputBytesMax: number;
};

/** How an agent was told to work. 0 and null mean the default. */
export type AgentConfig = {
  readonly stepsMax: number;
  readonly durationMsMax: number;
  readonly temperature: number | null;
  readonly contextTokensMax: number;
  readonly enableThinking: boolean;
  readonly enableObservation: boolean;
  readonly waitForInput: boolean;
  readonly responseSchema: JsonObject | null;
  readonly totalTokensMax: number;
  readonly noTools: boolean;
  readonly toolLimits: ToolLimits;
};

/** A tool as an agent's client named it: empty fields are taken from the tool's own description. */
export type AgentTool = {
  readonly name: string;
  readonly description: string;
  readonly parameters: JsonObject | null;
  readonly requiresConfirmation: boolean;
};

/** A tool as the model is told of it. */
export type ToolDefinition = {
  readonly name: string;
  readonly description: string;
  /** JSON Schema of the input object. */
  readonly parameters: JsonObject;
};

export type Attachment = {
  readonly name: string;
  readonly mimeType: string;
  readonly base64: string;
};

/** What a client may set of an agent, at first or by Edit. */
export type AgentSpec = {
  readonly goal: string;
  readonly model: string;
  readonly systemPrompt: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly config: AgentConfig;
  readonly tools: readonly AgentTool[];
};

/** What a model can do, and how much it can read, as its server told. */
export type ModelAbilities = {
  /** Takes tools as native function definitions; else they are offered by the text protocol. */
  readonly tools: boolean;
  readonly thinking: boolean;
  /** Tokens of prompt and reply together; null: not known. */
  readonly contextTokens: number | null;
  /** Can be held to a schema by its server. Absent: yes. */
  readonly format?: boolean;
  /** Its server tells its count of tokens when asked to. Absent: yes. */
  readonly usage?: boolean;
};

/** A call that was made again with the beginning of its answer, for the model to go on with. */
export type Continuation = {
  /** UTF-16 length of that beginning. */
  readonly length: number;
  /** The log's head at that time: whom the model was told to be may have been edited since the call began. */
  readonly headSequence: number;
};

/** One call of the model, as it must be known to rebuild its prompt. */
export type ModelCall = {
  /** The call knew the log up to here; what came later joins the next one. */
  readonly afterSequence: number;
  /** The present time as the model was told it. */
  readonly nowMs: number;
  /** The definitions offered, where they differ from those of the call before; null: the same. */
  readonly tools: readonly ToolDefinition[] | null;
  /** UTF-16 length of the partial answer that the model was given to continue; 0: none. */
  readonly continuedLength: number;
  /** Each time that it was made again to be continued, in order; the newest only, past a bound. Absent: never, or an old log. */
  readonly continuations?: readonly Continuation[];
  /** Absent in old logs. */
  readonly abilities?: ModelAbilities;
  /** It was to condense the first so many items of the transcript. Absent: it was to answer, or an old log. */
  readonly condensedItems?: number;
};

export type Usage = { readonly promptTokens: number; readonly completionTokens: number };

/** The first event of a model reply carries its call and what it cost. */
export type ReplyHead = { readonly call: ModelCall; readonly usage: Usage };

export type ToolErrorCode =
  | "TOOL_NOT_FOUND"
  | "TOOL_NOT_ALLOWED"
  | "TOOL_INVALID_INPUT"
  | "TOOL_INVALID_MODULE"
  | "TOOL_OUT_OF_FUEL"
  | "TOOL_OUT_OF_MEMORY"
  | "TOOL_TIMEOUT"
  | "TOOL_TRAPPED"
  | "TOOL_EXITED"
  | "TOOL_OUTPUT_TOO_LARGE"
  | "TOOL_REJECTED";

/** What came of a tool call. `error` null: success. */
export type ToolOutcome = {
  readonly output: string;
  readonly error: { readonly code: ToolErrorCode; readonly message: string } | null;
  readonly fuelUsed: number;
  /** Linear memory at the end, in bytes. */
  readonly memoryBytes: number;
  readonly durationMs: number;
};

/** Why a turn ended as failed. */
export type TurnErrorCode =
  | "MAX_STEPS"
  | "MAX_DURATION"
  | "TOKEN_BUDGET"
  | "MODEL_UNAVAILABLE"
  | "MODEL_NOT_FOUND"
  | "MODEL_TIMEOUT"
  | "MODEL_ERROR"
  | "CONTEXT_OVERFLOW"
  | "INTERNAL";

/** An id that makes a client's retry safe, and a digest of what it came with. */
export type MessageKey = { readonly messageId: string; readonly digest: string };

/** An id that makes a creation's repetition safe, and a digest of what it came with. */
export type RequestKey = { readonly requestId: string; readonly digest: string };

/** A client's command as recorded; `key` null where the client gave no id. */
type Commanded = { readonly key: MessageKey | null };

/**
 * A fact about one agent. Each shows as exactly one ServerMessage, so that a client sees sequences without gaps.
 * A model reply is [ModelThought?, ModelSpoke?, ToolRequested* | FinalAnswered?] in one append, at least one event.
 */
export type Event = Fact & {
  /**
   * How long the agent has worked since the event before, in ms, as its worker measured it; wall times would count a
   * clock that is set as work. 0 in what a client did; absent in logs of the first format.
   */
  readonly workedMs?: number;
};

type Fact =
  | ({
      readonly type: "AgentCreated";
      readonly parent: { readonly agentId: string; readonly sequence: number } | null;
    } & AgentSpec)
  | ({
      readonly type: "MessageReceived";
      readonly content: string;
      readonly attachments: readonly Attachment[];
    } & Commanded)
  | ({ readonly type: "AgentPaused"; readonly reason: string } & Commanded)
  | ({ readonly type: "AgentResumed" } & Commanded)
  | ({ readonly type: "AgentCanceled" } & Commanded)
  | ({ readonly type: "AgentRetried" } & Commanded)
  | ({
      readonly type: "AgentEdited";
      readonly spec: AgentSpec;
      readonly description: string;
    } & Commanded)
  | ({
      readonly type: "ToolConfirmed";
      readonly callId: string;
      readonly approve: boolean;
      readonly reason: string;
    } & Commanded)
  | { readonly type: "ModelThought"; readonly head: ReplyHead | null; readonly content: string }
  | { readonly type: "ModelSpoke"; readonly head: ReplyHead | null; readonly content: string }
  | {
      readonly type: "ToolRequested";
      readonly head: ReplyHead | null;
      readonly callId: string;
      readonly name: string;
      /** As the model wrote it; it need not be valid JSON. */
      readonly inputJson: string;
      readonly requiresConfirmation: boolean;
    }
  | {
      readonly type: "FinalAnswered";
      readonly head: ReplyHead | null;
      readonly content: string;
      readonly structured: JsonObject | null;
    }
  | ({ readonly type: "ToolReturned"; readonly callId: string } & ToolOutcome)
  | {
      readonly type: "ModelFailed";
      readonly call: ModelCall;
      readonly code: TurnErrorCode;
      readonly message: string;
      /** The next attempt's time. */
      readonly retryAtMs: number;
      /**
       * The prompt was more than the model can read, or left its answer no room: what its server told of that; where the
       * answer had begun, what the server has read at least. Absent: another failure.
       */
      readonly overflow?: Overflow;
    }
  | {
      /** A partial answer that the model cannot continue; it answers anew, from the first character. */
      readonly type: "AnswerAbandoned";
      readonly call: ModelCall;
      readonly reason: string;
      /** What it was, since the model may have been given it to go on with. Absent: nothing, or an old log. */
      readonly text?: string;
    }
  | { readonly type: "Observed"; readonly content: string }
  | {
      /** The oldest part of the conversation, put into a summary together with the summary before. */
      readonly type: "ContextCondensed";
      /** How many items of the transcript it stands for, from the first on. */
      readonly items: number;
      readonly summary: string;
      /** What the model's summary cost. */
      readonly usage: Usage;
      /** Absent in old logs. */
      readonly call?: ModelCall;
    }
  | {
      readonly type: "TurnFailed";
      readonly code: TurnErrorCode;
      readonly message: string;
      /** The call that ended it. Absent: none did, or an old log. */
      readonly call?: ModelCall;
    }
  | {
      /** The last event of a forked log: the copy is an agent of its own from here on. */
      readonly type: "AgentForked";
      readonly parent: { readonly agentId: string; readonly sequence: number };
      readonly metadata: Readonly<Record<string, string>>;
    };

export type EventType = Event["type"];

/** An event in its place. */
export type LoggedEvent = {
  /** 1.. without gaps. */
  readonly sequence: number;
  /** Wall time at which it was recorded. */
  readonly atMs: number;
  readonly event: Event;
};
