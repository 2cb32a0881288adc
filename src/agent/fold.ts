import { EngramError, type Overflow } from "../errors.ts";
import type { AgentSpec, Event, LoggedEvent, ModelCall, TurnErrorCode } from "./event.ts";
import { reachBelow } from "./context.ts";
import {
  applyReply,
  applyToolReturned,
  type Draft,
  endCount,
  placeResult,
  recordCall,
  recordCount,
  withUsage,
} from "./fold-reply.ts";
import { nothingRepeated } from "./repeats.ts";
import { type AgentState, statusOf, type TranscriptItem } from "./state.ts";

/*
 * Invariants
 * 1. fold(a ++ b) = fold(b, fold(a)); neither argument is changed.
 * 2. Sequences are 1.. without gaps; the first event, and only it, is AgentCreated.
 * 3. What a model call did not know yet (sequence > call.afterSequence) stands behind its reply and is due.
 * 4. Tool results stand right behind the reply that asked for them, whatever came in between.
 * 5. A present time, once told with a message, stays with it: later prompts repeat earlier ones to the letter.
 */

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
    specSequence: sequence,
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
const newTurn = { steps: 0, workedMs: 0, attempts: 0, retryAtMs: 0, ...nothingRepeated };

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
  endCount(draft);
  draft.transcript.splice(0, items);
  draft.replyIndex = Math.max(-1, draft.replyIndex - items);
  draft.summary = summary;
  draft.stats = withUsage(draft.stats, usage);
}

type CommandEvent = Extract<Event, { readonly key: unknown } | { readonly type: "AgentForked" }>;

function applyCommand(draft: Draft, { sequence, atMs }: LoggedEvent, event: CommandEvent): void {
  switch (event.type) {
    case "MessageReceived":
      draft.turn = hasNothingToDo(draft) ? newTurn : { ...draft.turn, ...nothingRepeated };
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
      // The server may let the model read more by now; what it told would fail the turn before it is asked.
      if (draft.reason.startsWith(overflowReason)) draft.reach = unknownReach;
      draft.lifecycle = "open";
      draft.reason = "";
      draft.turn = { ...draft.turn, attempts: 0, retryAtMs: 0, ...nothingRepeated };
      return;
    case "AgentEdited":
      applySpec(draft, event.spec);
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

const overflowReason = "CONTEXT_OVERFLOW: " satisfies `${TurnErrorCode}: `;

function applySpec(draft: Draft, spec: AgentSpec): void {
  const { model, config } = draft.spec;
  endCount(draft);
  const isOther = spec.model !== model;
  // Who asks for another length has the server say again how much is too much.
  if (isOther || spec.config.contextTokensMax !== config.contextTokensMax)
    draft.reach = unknownReach;
  // What the other model's server asked to be waited for.
  if (isOther) draft.turn = { ...draft.turn, attempts: 0, retryAtMs: 0 };
  draft.spec = spec;
  draft.specSequence = draft.sequence;
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

/** A prompt that was refused tells how much the model can read; the server's own count of it, how long texts are to it. */
function applyOverflow(
  draft: Draft,
  call: ModelCall,
  { contextTokens, promptTokens }: Overflow,
): void {
  const learnt = contextTokens ?? reachBelow(draft, call.afterSequence);
  draft.reach = { ...draft.reach, learnt: Math.min(learnt, draft.reach.learnt ?? learnt) };
  // A condensing call was sent another prompt; in old logs it says nothing of abilities.
  if (promptTokens !== null && call.abilities !== undefined && call.condensedItems === undefined)
    recordCount(draft, call, promptTokens);
}
