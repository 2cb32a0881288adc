import { engineLimits } from "../limits.ts";
import type { AgentSpec, Attachment, ToolDefinition, ToolErrorCode } from "./event.ts";
import { isAskedTooOften, type Repeats } from "./repeats.ts";

/** What the conversation consists of, in the order in which the model is shown it. */
export type TranscriptItem =
  | {
      readonly kind: "user";
      readonly sequence: number;
      readonly atMs: number;
      readonly content: string;
      readonly attachments: readonly Attachment[];
      /** The present time told with this message, since it was the newest at a call; null: never the newest. */
      readonly nowMs: number | null;
    }
  | {
      readonly kind: "operator";
      readonly sequence: number;
      readonly atMs: number;
      readonly content: string;
      readonly nowMs: number | null;
    }
  | {
      readonly kind: "assistant";
      readonly sequence: number;
      readonly content: string;
      readonly toolCalls: readonly RequestedCall[];
    }
  | {
      readonly kind: "tool";
      readonly sequence: number;
      readonly atMs: number;
      readonly callId: string;
      readonly name: string;
      readonly content: string;
      readonly errorCode: ToolErrorCode | null;
      /** It is about the reply's text, which was to be the final answer: the model has called nothing. */
      readonly isAboutText: boolean;
      readonly nowMs: number | null;
    };

export type RequestedCall = {
  readonly callId: string;
  readonly name: string;
  readonly inputJson: string;
};

/** A tool call without a result. */
export type PendingCall = RequestedCall & {
  /** Someone has to approve it before it runs. */
  readonly awaitsConfirmation: boolean;
  /** Tells it from other calls; `callDigest` says how. */
  readonly digest: string;
};

export type Stats = {
  readonly steps: number;
  readonly toolCalls: number;
  /** Time spent working, in ms: rests, pauses and waits for a confirmation are not counted. */
  readonly workedMs: number;
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly fuelUsed: number;
};

/** How many tokens the agent's model can read, prompt and reply together; null: not known. */
export type Reach = {
  /** As its server told with the latest call. */
  readonly told: number | null;
  /** As it turned out when the server refused a prompt, since it told that; forgotten where a client may have mended it. */
  readonly learnt: number | null;
};

/** The stretch from an input until the agent rests. */
export type Turn = Repeats & {
  readonly steps: number;
  readonly workedMs: number;
  /** Model faults since the last reply. */
  readonly attempts: number;
  /** No model call before this time. */
  readonly retryAtMs: number;
};

/**
 * Everything known of an agent, folded from its log; nothing else about it is durable but a draft. Plain JSON, so that it
 * can be saved as it is; what a client's ids were first recorded as stands in marks beside it, which grow for ever.
 */
export type AgentState = {
  readonly sequence: number;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
  readonly spec: AgentSpec;
  /** The event that `spec` is from: the latest edit, or the first. */
  readonly specSequence: number;
  readonly parent: { readonly agentId: string; readonly sequence: number } | null;
  readonly lifecycle: "open" | "completed" | "failed" | "canceled";
  readonly paused: boolean;
  /** Why the agent is paused or failed; else empty. */
  readonly reason: string;
  /** What stands for the beginning of the conversation, which is no longer in the transcript; empty: it is all there. */
  readonly summary: string;
  readonly transcript: readonly TranscriptItem[];
  /** Where in the transcript the latest reply stands; its tool results follow it. -1: no reply yet. */
  readonly replyIndex: number;
  /** Something in the transcript waits for the model's answer. */
  readonly modelDue: boolean;
  readonly pendingCalls: readonly PendingCall[];
  /** The definitions offered at the latest logged call. */
  readonly offeredTools: readonly ToolDefinition[];
  /** The model's own count of the latest prompt, which knew the log up to `afterSequence`; null: none of this transcript. */
  readonly counted: { readonly afterSequence: number; readonly promptTokens: number } | null;
  /** The model's tokens for an estimated one, before it has counted this transcript. */
  readonly tokenScale: number;
  readonly reach: Reach;
  readonly turn: Turn;
  readonly stats: Stats;
};

const statuses = {
  waiting_for_step: true,
  processing: true,
  waiting_for_input: true,
  waiting_for_confirmation: true,
  paused: true,
  completed: true,
  failed: true,
  canceled: true,
} as const;

export type Status = keyof typeof statuses;

export const isStatus = (word: string): word is Status => Object.hasOwn(statuses, word);

export const allStatuses: readonly Status[] = Object.keys(statuses).filter(isStatus);

/** The status as the log alone tells it; `processing` is a waiting_for_step that a worker holds just now. */
export function statusOf(state: AgentState): Status {
  if (state.lifecycle !== "open") return state.lifecycle;
  if (state.paused) return "paused";
  // Nobody is asked to confirm what is not run.
  if (state.pendingCalls.some((call) => !call.awaitsConfirmation || isAskedTooOften(state, call)))
    return "waiting_for_step";
  if (state.pendingCalls.length > 0) return "waiting_for_confirmation";
  return state.modelDue ? "waiting_for_step" : "waiting_for_input";
}

/** About how many characters of memory the conversation takes, attachments and all. */
export function conversationChars({ summary, transcript }: AgentState): number {
  let chars = summary.length;
  for (const item of transcript) {
    chars += engineLimits.eventCharsLeast + item.content.length;
    if (item.kind === "user") for (const { base64 } of item.attachments) chars += base64.length;
    if (item.kind === "assistant")
      for (const { inputJson } of item.toolCalls) chars += inputJson.length;
  }
  return chars;
}

/** Nothing happens to the agent before a client acts. */
export const isResting = (status: Status): boolean =>
  status !== "waiting_for_step" && status !== "processing";

/** Index of the newest message with a time that a call after `afterSequence` knew; -1: none. */
export const newestStamped = (
  transcript: readonly TranscriptItem[],
  afterSequence: number,
): number =>
  transcript.findLastIndex((item) => item.kind !== "assistant" && item.sequence <= afterSequence);
