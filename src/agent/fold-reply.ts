import { EngramError } from "../errors.ts";
import { finalAnswerTool, formatOf } from "./answer.ts";
import { tokenScale } from "./context.ts";
import type { Event, LoggedEvent, ModelCall, ReplyHead, ToolErrorCode, Usage } from "./event.ts";
import { asking, callDigest, noteOnRepeat, refusing } from "./repeats.ts";
import {
  type AgentState,
  newestStamped,
  type PendingCall,
  type RequestedCall,
  type Stats,
  type TranscriptItem,
} from "./state.ts";

/* What a model's reply and the results of its calls do to a state; the invariants are those of fold.ts. */

/** The state under construction: its own copies, changed in place until the fold ends. */
export type Draft = {
  -readonly [K in keyof AgentState]: AgentState[K] extends readonly (infer T)[]
    ? T[]
    : AgentState[K];
};

type ReplyEvent = Extract<
  Event,
  { readonly type: "ModelThought" | "ModelSpoke" | "ToolRequested" | "FinalAnswered" }
>;

export function applyReply(draft: Draft, sequence: number, event: ReplyEvent): void {
  if (event.head !== null) beginReply(draft, sequence, event.head);
  switch (event.type) {
    case "ModelThought":
      return;
    case "ModelSpoke":
      return extendReply(draft, (reply) => ({ ...reply, content: event.content }));
    case "ToolRequested":
      return applyToolRequested(draft, event);
    case "FinalAnswered":
      extendReply(draft, (reply) => ({
        ...reply,
        content: joined(reply.content, event.content),
      }));
      // Input that the answer did not know of reopens the agent at once.
      if (!draft.modelDue) draft.lifecycle = "completed";
      return;
  }
}

/** A text that was the answer itself stands there once. */
const joined = (text: string, answer: string): string =>
  text === "" || text === answer ? answer : `${text}\n\n${answer}`;

function applyToolRequested(
  draft: Draft,
  {
    callId,
    name,
    inputJson,
    requiresConfirmation,
  }: Extract<Event, { readonly type: "ToolRequested" }>,
): void {
  const call = { callId, name, inputJson };
  if (!isText(draft, call))
    extendReply(draft, (reply) => ({ ...reply, toolCalls: [...reply.toolCalls, call] }));
  const digest = callDigest(call);
  draft.pendingCalls.push({ ...call, awaitsConfirmation: requiresConfirmation, digest });
  draft.stats = { ...draft.stats, toolCalls: draft.stats.toolCalls + 1 };
  draft.turn = { ...draft.turn, asked: asking(draft.turn.asked, digest, draft.stats.steps) };
}

/** A final answer that is the reply's text is no call of the model's. */
const isText = (draft: Draft, { name, inputJson }: RequestedCall): boolean =>
  name === finalAnswerTool.name &&
  formatOf(draft.spec) !== null &&
  latestReply(draft).content === inputJson;

function beginReply(draft: Draft, sequence: number, { call, usage }: ReplyHead): void {
  recordCall(draft, call);
  // Invariant 3. Results stand before input that came in between, so the sequences do not rise evenly: the last one known.
  draft.replyIndex =
    draft.transcript.findLastIndex((item) => item.sequence <= call.afterSequence) + 1;
  const reply: TranscriptItem = { kind: "assistant", sequence, content: "", toolCalls: [] };
  draft.transcript.splice(draft.replyIndex, 0, reply);
  draft.modelDue = draft.transcript
    .slice(draft.replyIndex + 1)
    .some((item) => item.kind === "user");
  // Engines that say nothing of abilities did not count what is asked again and again: their logs stay what they were.
  const asked = call.abilities === undefined ? [] : draft.turn.asked;
  draft.turn = { ...draft.turn, steps: draft.turn.steps + 1, attempts: 0, retryAtMs: 0, asked };
  draft.stats = withUsage({ ...draft.stats, steps: draft.stats.steps + 1 }, usage);
  if (usage.promptTokens > 0) recordCount(draft, call, usage.promptTokens);
}

type Reply = Extract<TranscriptItem, { readonly kind: "assistant" }>;

function extendReply(draft: Draft, change: (reply: Reply) => Reply): void {
  draft.transcript[draft.replyIndex] = change(latestReply(draft));
}

function latestReply({ transcript, replyIndex }: Draft): Reply {
  const reply = transcript[replyIndex];
  if (reply?.kind === "assistant") return reply;
  throw new EngramError("corrupt", "a part of a model reply stands without its first part");
}

/** What a call was told: its tools, and the present time with the newest message it knew (invariant 5). */
export function recordCall(draft: Draft, call: ModelCall): void {
  if (call.tools !== null) {
    endCount(draft);
    draft.offeredTools = [...call.tools];
  }
  const told = call.abilities?.contextTokens ?? draft.reach.told;
  // A call of before an edit may be another model's.
  if (told !== draft.reach.told && call.afterSequence >= draft.specSequence)
    draft.reach = { told, learnt: null };
  // What is condensed is told no time.
  if (call.condensedItems !== undefined) return;
  const index = newestStamped(draft.transcript, call.afterSequence);
  const item = draft.transcript[index];
  if (item !== undefined && item.kind !== "assistant" && item.nowMs === null)
    draft.transcript[index] = { ...item, nowMs: call.nowMs };
}

/** A count is of the prompt as it is estimated now: by the spec of now, and without the beginning of an answer. */
export function recordCount(draft: Draft, call: ModelCall, promptTokens: number): void {
  const { afterSequence, continuedLength } = call;
  if (continuedLength === 0 && afterSequence >= draft.specSequence)
    draft.counted = { afterSequence, promptTokens };
}

/** What was counted is about to change: the scale that it gave stays. */
export function endCount(draft: Draft): void {
  draft.tokenScale = tokenScale(draft);
  draft.counted = null;
}

export function applyToolReturned(
  draft: Draft,
  { atMs }: LoggedEvent,
  event: Extract<Event, { readonly type: "ToolReturned" }>,
): void {
  const call = draft.pendingCalls.find(({ callId }) => callId === event.callId);
  if (call === undefined)
    throw new EngramError("corrupt", `a second result of the tool call ${event.callId}`);
  draft.pendingCalls = draft.pendingCalls.filter((other) => other !== call);
  if (draft.pendingCalls.length === 0) draft.modelDue = true;
  const content =
    event.error === null
      ? event.output
      : `Error ${event.error.code}: ${event.error.message}${event.output === "" ? "" : `\n${event.output}`}`;
  const noted = content + noteOnRepeat(draft, call);
  placeResult(draft, { call, atMs, content: noted, errorCode: event.error?.code ?? null });
  const on = { name: call.name, step: draft.stats.steps };
  draft.turn = { ...draft.turn, refused: refusing(draft.turn.refused, event, on) };
  draft.stats = { ...draft.stats, fuelUsed: draft.stats.fuelUsed + event.fuelUsed };
}

type Result = {
  readonly call: PendingCall;
  readonly atMs: number;
  readonly content: string;
  readonly errorCode: ToolErrorCode | null;
};

export function placeResult(draft: Draft, { call, atMs, content, errorCode }: Result): void {
  draft.transcript.splice(resultIndex(draft), 0, {
    kind: "tool",
    sequence: draft.sequence,
    atMs,
    callId: call.callId,
    name: call.name,
    content,
    errorCode,
    isAboutText: latestReply(draft).toolCalls.every(({ callId }) => callId !== call.callId),
    nowMs: null,
  });
}

/** Behind the latest reply and the results it already has (invariant 4). */
function resultIndex(draft: Draft): number {
  let index = draft.replyIndex + 1;
  while (draft.transcript[index]?.kind === "tool") index++;
  return index;
}

export const withUsage = (stats: Stats, usage: Usage): Stats => ({
  ...stats,
  promptTokens: stats.promptTokens + usage.promptTokens,
  completionTokens: stats.completionTokens + usage.completionTokens,
});
