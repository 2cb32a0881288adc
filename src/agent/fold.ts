import { EngramError, type Overflow } from "../errors.ts";
import type {
  AgentSpec,
  Event,
  LoggedEvent,
  ModelCall,
  ReplyHead,
  ToolErrorCode,
  Usage,
} from "./event.ts";
import { reachBelow, tokenScale } from "./context.ts";
import {
  type AgentState,
  newestStamped,
  type PendingCall,
  type Stats,
  statusOf,
  type TranscriptItem,
} from "./state.ts";

/*
 * Invariants
 * 1. fold(a ++ b) = fold(b, fold(a)); neither argument is changed.
 * 2. Sequences are 1.. without gaps; the first event, and only it, is AgentCreated.
 * 3. What a model call did not know yet (sequence > call.afterSequence) stands behind its reply and is due.
 * 4. Tool results stand right behind the reply that asked for them, whatever came in between.
 * 5. A present time, once told with a message, stays with it: later prompts repeat earlier ones to the letter.
 */

/** The state under construction: its own copies, changed in place until the fold ends. */
type Draft = {
  -readonly [K in keyof AgentState]: AgentState[K] extends readonly (infer T)[]
    ? T[]
    : AgentState[K];
};

/** The state after `events`, from `state` on (null: from nothing). Throws `corrupt` on an event that cannot stand there. */
export function fold(events: Iterable<LoggedEvent>, state: AgentState | null = null): AgentState {
  let draft = state === null ? null : copyOf(state);
  for (const logged of events) {
    if (draft === null) draft = born(logged);
    else {
      if (logged.sequence !== draft.sequence + 1)
        throw new EngramError(
          "corrupt",
          `event ${logged.sequence} follows event ${draft.sequence} of the log`,
        );
      countWork(draft, logged);
      // A clock that was set back: what a retry would have to wait for may be a day away.
      if (logged.atMs < draft.updatedAtMs) draft.turn = { ...draft.turn, retryAtMs: 0 };
      draft.sequence = logged.sequence;
      draft.updatedAtMs = logged.atMs;
      apply(draft, logged);
    }
  }
  if (draft === null) throw new EngramError("corrupt", "the log is empty");
  return draft;
}

const copyOf = (state: AgentState): Draft => ({
  ...state,
  transcript: [...state.transcript],
  pendingCalls: [...state.pendingCalls],
  offeredTools: [...state.offeredTools],
});

function born({ sequence, atMs, event }: LoggedEvent): Draft {
  if (sequence !== 1 || event.type !== "AgentCreated")
    throw new EngramError("corrupt", `the log starts with ${event.type} at ${sequence}`);
  const spec: AgentSpec = {
    goal: event.goal,
    model: event.model,
    systemPrompt: event.systemPrompt,
    metadata: event.metadata,
    config: event.config,
    tools: event.tools,
  };
  const starts = !event.config.waitForInput;
  const goal: TranscriptItem = {
    kind: "user",
    sequence,
    atMs,
    content: event.goal,
    attachments: [],
    nowMs: null,
  };
  return {
    sequence,
    createdAtMs: atMs,
    updatedAtMs: atMs,
    spec,
    parent: event.parent,
    lifecycle: "open",
    paused: false,
    reason: "",
    summary: "",
    transcript: starts ? [goal] : [],
    replyIndex: -1,
    modelDue: starts,
    pendingCalls: [],
    offeredTools: [],
    counted: null,
    tokenScale: 1,
    reach: unknownReach,
    turn: newTurn,
    stats: {
      steps: 0,
      toolCalls: 0,
      workedMs: 0,
      promptTokens: 0,
      completionTokens: 0,
      fuelUsed: 0,
    },
  };
}

const unknownReach = { told: null, learnt: null };
const newTurn = { steps: 0, workedMs: 0, attempts: 0, retryAtMs: 0 };

/** Work is what its worker measured. Logs of the first format do not say: there the times of the events do. */
function countWork(draft: Draft, { atMs, event }: LoggedEvent): void {
  const working = statusOf(draft) === "waiting_for_step";
  const workedMs = event.workedMs ?? (working ? Math.max(0, atMs - draft.updatedAtMs) : 0);
  if (workedMs === 0) return;
  draft.stats = { ...draft.stats, workedMs: draft.stats.workedMs + workedMs };
  draft.turn = { ...draft.turn, workedMs: draft.turn.workedMs + workedMs };
}

function apply(draft: Draft, logged: LoggedEvent): void {
  const { sequence, event } = logged;
  switch (event.type) {
    case "AgentCreated":
      throw new EngramError("corrupt", `AgentCreated stands at ${sequence}, not first`);
    case "MessageReceived":
    case "AgentPaused":
    case "AgentResumed":
    case "AgentCanceled":
    case "AgentRetried":
    case "AgentEdited":
    case "ToolConfirmed":
    case "AgentForked":
      return applyCommand(draft, logged, event);
    case "ModelThought":
    case "ModelSpoke":
    case "ToolRequested":
    case "FinalAnswered":
      return applyReply(draft, sequence, event);
    case "ToolReturned":
      return applyToolReturned(draft, logged, event);
    case "ModelFailed":
      recordCall(draft, event.call);
      if (event.overflow !== undefined) applyOverflow(draft, event.call, event.overflow);
      draft.turn = {
        ...draft.turn,
        attempts: draft.turn.attempts + 1,
        retryAtMs: event.retryAtMs,
      };
      return;
    case "AnswerAbandoned":
      recordCall(draft, event.call);
      return;
    case "Observed":
      return;
    case "ContextCondensed":
      return applyCondensed(draft, event);
    case "TurnFailed":
      draft.lifecycle = "failed";
      draft.reason = `${event.code}: ${event.message}`;
      return;
  }
}

function applyCondensed(
  draft: Draft,
  { items, summary, usage }: Extract<Event, { readonly type: "ContextCondensed" }>,
): void {
  draft.tokenScale = tokenScale(draft);
  draft.counted = null;
  draft.transcript.splice(0, items);
  draft.replyIndex = Math.max(-1, draft.replyIndex - items);
  draft.summary = summary;
  draft.stats = withUsage(draft.stats, usage);
}

const withUsage = (stats: Stats, usage: Usage): Stats => ({
  ...stats,
  promptTokens: stats.promptTokens + usage.promptTokens,
  completionTokens: stats.completionTokens + usage.completionTokens,
});

type CommandEvent = Extract<Event, { readonly key: unknown } | { readonly type: "AgentForked" }>;

function applyCommand(draft: Draft, { sequence, atMs }: LoggedEvent, event: CommandEvent): void {
  switch (event.type) {
    case "MessageReceived":
      if (hasNothingToDo(draft)) draft.turn = newTurn;
      draft.lifecycle = "open";
      draft.modelDue = true;
      draft.transcript.push({
        kind: "user",
        sequence,
        atMs,
        content: event.content,
        attachments: event.attachments,
        nowMs: null,
      });
      return;
    case "AgentPaused":
      if (!draft.paused) draft.reason = event.reason;
      draft.paused = true;
      return;
    case "AgentResumed":
      draft.paused = false;
      draft.reason = "";
      return;
    case "AgentCanceled":
      draft.lifecycle = "canceled";
      draft.paused = false;
      draft.reason = "";
      return;
    case "AgentRetried":
      draft.lifecycle = "open";
      draft.reason = "";
      draft.turn = { ...draft.turn, attempts: 0, retryAtMs: 0 };
      return;
    case "AgentEdited":
      if (event.spec.model !== draft.spec.model) draft.reach = unknownReach;
      draft.spec = event.spec;
      if (event.description !== "")
        draft.transcript.push({
          kind: "operator",
          sequence,
          atMs,
          content: event.description,
          nowMs: null,
        });
      return;
    case "ToolConfirmed":
      draft.pendingCalls = draft.pendingCalls.map((call) =>
        call.callId === event.callId ? { ...call, awaitsConfirmation: false } : call,
      );
      return;
    case "AgentForked":
      return applyForked(draft, atMs, event);
  }
}

/** The turn is over, whether or not the agent was paused since. */
const hasNothingToDo = ({ lifecycle, modelDue, pendingCalls }: Draft): boolean =>
  lifecycle === "completed" || (!modelDue && pendingCalls.length === 0);

/** A fork rests until input: what its parent was about to do stays the parent's. */
function applyForked(
  draft: Draft,
  atMs: number,
  event: Extract<Event, { readonly type: "AgentForked" }>,
): void {
  draft.parent = event.parent;
  draft.spec = { ...draft.spec, metadata: event.metadata };
  draft.createdAtMs = atMs;
  draft.lifecycle = "open";
  draft.paused = false;
  draft.reason = "";
  draft.modelDue = false;
  for (const call of draft.pendingCalls)
    placeResult(draft, { call, atMs, content: "canceled by a fork", errorCode: null });
  draft.pendingCalls = [];
  draft.turn = newTurn;
}

type ReplyEvent = Extract<
  Event,
  { readonly type: "ModelThought" | "ModelSpoke" | "ToolRequested" | "FinalAnswered" }
>;

function applyReply(draft: Draft, sequence: number, event: ReplyEvent): void {
  if (event.head !== null) beginReply(draft, sequence, event.head);
  switch (event.type) {
    case "ModelThought":
      return;
    case "ModelSpoke":
      return extendReply(draft, (reply) => ({ ...reply, content: event.content }));
    case "ToolRequested": {
      const { callId, name, inputJson } = event;
      const call = { callId, name, inputJson };
      extendReply(draft, (reply) => ({ ...reply, toolCalls: [...reply.toolCalls, call] }));
      draft.pendingCalls.push({ ...call, awaitsConfirmation: event.requiresConfirmation });
      draft.stats = { ...draft.stats, toolCalls: draft.stats.toolCalls + 1 };
      return;
    }
    case "FinalAnswered":
      extendReply(draft, (reply) => ({
        ...reply,
        content: reply.content === "" ? event.content : `${reply.content}\n\n${event.content}`,
      }));
      // Input that the answer did not know of reopens the agent at once.
      if (!draft.modelDue) draft.lifecycle = "completed";
      return;
  }
}

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
  draft.turn = { ...draft.turn, steps: draft.turn.steps + 1, attempts: 0, retryAtMs: 0 };
  draft.stats = withUsage({ ...draft.stats, steps: draft.stats.steps + 1 }, usage);
  if (usage.promptTokens > 0)
    draft.counted = { afterSequence: call.afterSequence, promptTokens: usage.promptTokens };
}

type Reply = Extract<TranscriptItem, { readonly kind: "assistant" }>;

function extendReply(draft: Draft, change: (reply: Reply) => Reply): void {
  const reply = draft.transcript[draft.replyIndex];
  if (reply?.kind !== "assistant")
    throw new EngramError("corrupt", "a part of a model reply stands without its first part");
  draft.transcript[draft.replyIndex] = change(reply);
}

/** A prompt that was refused tells how much the model can read; the server's own count of it, how long texts are to it. */
function applyOverflow(
  draft: Draft,
  { afterSequence, abilities }: ModelCall,
  { contextTokens, promptTokens }: Overflow,
): void {
  const learnt = contextTokens ?? reachBelow(draft, afterSequence);
  draft.reach = { ...draft.reach, learnt: Math.min(learnt, draft.reach.learnt ?? learnt) };
  // A condensing call, which says nothing of abilities, was sent another prompt.
  if (promptTokens !== null && abilities !== undefined)
    draft.counted = { afterSequence, promptTokens };
}

/** What a call was told: its tools, and the present time with the newest message it knew (invariant 5). */
function recordCall(draft: Draft, call: ModelCall): void {
  if (call.tools !== null) draft.offeredTools = [...call.tools];
  const told = call.abilities?.contextTokens ?? draft.reach.told;
  if (told !== draft.reach.told) draft.reach = { told, learnt: null };
  const index = newestStamped(draft.transcript, call.afterSequence);
  const item = draft.transcript[index];
  if (item !== undefined && item.kind !== "assistant" && item.nowMs === null)
    draft.transcript[index] = { ...item, nowMs: call.nowMs };
}

function applyToolReturned(
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
  placeResult(draft, { call, atMs, content, errorCode: event.error?.code ?? null });
  draft.stats = { ...draft.stats, fuelUsed: draft.stats.fuelUsed + event.fuelUsed };
}

type Result = {
  readonly call: PendingCall;
  readonly atMs: number;
  readonly content: string;
  readonly errorCode: ToolErrorCode | null;
};

function placeResult(draft: Draft, { call, atMs, content, errorCode }: Result): void {
  draft.transcript.splice(resultIndex(draft), 0, {
    kind: "tool",
    sequence: draft.sequence,
    atMs,
    callId: call.callId,
    name: call.name,
    content,
    errorCode,
    nowMs: null,
  });
}

/** Behind the latest reply and the results it already has (invariant 4). */
function resultIndex(draft: Draft): number {
  let index = draft.replyIndex + 1;
  while (draft.transcript[index]?.kind === "tool") index++;
  return index;
}
