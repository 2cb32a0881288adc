import { planContext, reachOf } from "../agent/context.ts";
import { formatOf } from "../agent/answer.ts";
import type { Event, ModelCall, TurnErrorCode } from "../agent/event.ts";
import { fold } from "../agent/fold.ts";
import { replyEvents } from "../agent/reply.ts";
import { abilitiesUnknown } from "../agent/request.ts";
import type { AgentState } from "../agent/state.ts";
import { toolboxOf } from "../agent/toolbox.ts";
import { EngramError, type ErrorCode } from "../errors.ts";
import { turnLimits } from "../limits.ts";
import type { Draft } from "../store/store.ts";
import { makeJudge } from "./judge.ts";
import type { Parts } from "./parts.ts";
import { failure, holderOf, record, type Step } from "./step.ts";
import { summarize } from "./summarize.ts";
import { continuedCall, newCall, textOf, think } from "./think.ts";

/**
 * Calls the model, going on with the draft where there is one and the model can, and appends its whole reply. True when
 * the lease was let go of.
 */
export async function callModel(
  step: Step,
  draft: Draft | null,
  signal: AbortSignal,
): Promise<boolean> {
  const { parts, state } = step;
  const { spec } = state;
  if (draft !== null && !(await canContinue(parts, state, draft, signal)))
    return record(step, abandon(state, draft), true);
  const files = await parts.sandbox.list();
  const call =
    draft === null
      ? newCall(state, toolboxOf(spec, files), {
          abilities: await parts.model.abilities(spec.model, signal),
          nowMs: parts.clock.nowMs(),
        })
      : continuedCall(state, draft);
  try {
    const reply = await think(
      parts,
      { holder: () => holderOf(step), state, call, begun: draft },
      signal,
    );
    // By the schema and the tools as they are where the answer is recorded: a client may have edited them meanwhile.
    const judge = makeJudge(parts.sandbox, reply, signal);
    const events = async (sequence: number): Promise<readonly Event[]> => {
      const { toolCalls, answer } = await judge(step.state.spec);
      const { needsConfirmation } = toolboxOf(step.state.spec, files);
      return replyEvents({ ...reply, toolCalls }, call, sequence, { answer, needsConfirmation });
    };
    return await record(step, events, true);
  } catch (error) {
    // What the model was to go on with may be all that is too much for it.
    if (draft !== null && error instanceof EngramError && error.code === "context_overflow")
      return record(step, abandon(state, { ...draft, call }), true);
    return modelFailed(step, call, error);
  }
}

/** The draft with all its pieces; null: none. */
export async function wholeDraft(parts: Parts, agentId: string): Promise<Draft | null> {
  let draft = await parts.store.readDraft(agentId, 0);
  while (draft !== null && draft.pieces.length < draft.piecesTotal) {
    const more = await parts.store.readDraft(agentId, draft.pieces.length);
    if (more === null || more.pieces.length === 0) break;
    draft = { ...draft, pieces: [...draft.pieces, ...more.pieces] };
  }
  return draft;
}

/** Puts the first `items` of the conversation into a summary. True when the lease was let go of. */
export async function condense(step: Step, items: number, signal: AbortSignal): Promise<boolean> {
  const { parts, state } = step;
  const call: ModelCall = {
    afterSequence: state.sequence,
    nowMs: parts.clock.nowMs(),
    tools: null,
    continuedLength: 0,
    abilities: await parts.model.abilities(state.spec.model, signal),
    condensedItems: items,
  };
  try {
    const { summary, usage } = await summarize(parts, { state, call, items }, signal);
    return await record(step, () => [{ type: "ContextCondensed", items, summary, usage, call }]);
  } catch (error) {
    return modelFailed(step, call, error);
  }
}

/**
 * Thinking alone cannot be gone on with: no server takes it back in all its modes. Nor can an answer in a format, since
 * what holds a model to it starts at the format's root again; nor one to which tools were offered as such, where the
 * model takes none: it is another one, or more is known of it (the text protocol suits all); nor one whose server does
 * not take what it was asked with; nor one of about the length that ends a turn: a retry would come no further.
 */
async function canContinue(
  { model }: Parts,
  { spec }: AgentState,
  draft: Draft,
  signal: AbortSignal,
): Promise<boolean> {
  if (formatOf(spec) !== null || textOf(draft, "text").trimEnd() === "") return false;
  const chars = draft.pieces.reduce((sum, { content }) => sum + content.length, 0);
  if (chars > turnLimits.continuedCharsMax) return false;
  const { tools, usage = true } = draft.call.abilities ?? abilitiesUnknown;
  const now = await model.abilities(spec.model, signal);
  if (tools && !now.tools) return false;
  if (usage && now.usage === false) return false;
  return model.continuesPartial(spec.model, spec.config.enableThinking, signal);
}

const abandon =
  ({ spec }: AgentState, draft: Draft) =>
  (): readonly Event[] => {
    const text = textOf(draft, "text");
    return [
      {
        type: "AnswerAbandoned",
        call: draft.call,
        reason: `${spec.model} cannot continue the answer that was broken off; it answers anew`,
        ...(text === "" ? {} : { text }),
      },
    ];
  };

type ModelFailed = Extract<Event, { readonly type: "ModelFailed" }>;

const turnErrors: Partial<Record<ErrorCode, TurnErrorCode>> = {
  model_unavailable: "MODEL_UNAVAILABLE",
  model_not_found: "MODEL_NOT_FOUND",
  model_timeout: "MODEL_TIMEOUT",
  model_error: "MODEL_ERROR",
  context_overflow: "CONTEXT_OVERFLOW",
};

/**
 * A model's fault is tried again after a pause, a few times; a prompt that it cannot read, once it is shorter. Then, or
 * where that cannot help, the turn has failed.
 */
async function modelFailed(step: Step, call: ModelCall, error: unknown): Promise<boolean> {
  if (!(error instanceof EngramError)) throw error;
  const code = turnErrors[error.code];
  if (code === undefined) throw error;
  const { message } = error;
  const { attempts } = step.state.turn;
  const { log, clock } = step.parts;
  log("warn", "the model failed", { agentId: step.lease.agentId, code, reason: message, attempts });
  if (attempts >= turnLimits.attemptsMax) return record(step, failure(code, message, call));
  const written = code === "CONTEXT_OVERFLOW" ? await writtenBy(step, call) : "";
  const refused =
    code === "CONTEXT_OVERFLOW" ? refusal(step.state, { call, written }, error) : null;
  if (refused !== null) return record(step, () => [{ ...refused, retryAtMs: clock.nowMs() }]);
  // A reply that found no room may be shorter, or the room free, another time.
  if (!error.transient && written === "") return record(step, failure(code, message, call));
  const delayMs = retryDelayMs(attempts, error.retryAfterMs);
  return record(step, () => {
    const retryAtMs = clock.nowMs() + delayMs;
    return [{ type: "ModelFailed", call, code, message, retryAtMs }];
  });
}

/** What is kept of the call's answer: where that has begun, its prompt was not too long. */
async function writtenBy({ parts, lease }: Step, call: ModelCall): Promise<string> {
  const draft = await wholeDraft(parts, lease.agentId);
  const isOfCall = draft?.call.afterSequence === call.afterSequence;
  return isOfCall ? textOf(draft, "thinking") + textOf(draft, "text") : "";
}

/** What there is to know of a prompt that was too long; null where knowing it makes no shorter one. */
function refusal(
  state: AgentState,
  { call, written }: { readonly call: ModelCall; readonly written: string },
  { message, overflow }: EngramError,
): ModelFailed | null {
  const told = overflow ?? { contextTokens: null, promptTokens: null };
  const found = written === "" ? null : reachOf(state, call.afterSequence, written);
  const event: ModelFailed = {
    type: "ModelFailed",
    call,
    code: "CONTEXT_OVERFLOW",
    message,
    retryAtMs: 0,
    overflow: { ...told, contextTokens: told.contextTokens ?? found },
  };
  const after = fold([{ sequence: state.sequence + 1, atMs: state.updatedAtMs, event }], state);
  const plan = planContext(after);
  return plan === null || plan === "overflow" ? null : event;
}

/** Doubling, with a fifth of chance so that many agents do not come back in step. */
function retryDelayMs(attempts: number, askedForMs: number | null): number {
  const { retryDelayMsFirst, retryDelayMsMax, retryAfterMsMax } = turnLimits;
  const delayMs = Math.min(retryDelayMsFirst * 2 ** attempts, retryDelayMsMax);
  return Math.max(
    Math.round(delayMs * (0.9 + Math.random() * 0.2)),
    Math.min(askedForMs ?? 0, retryAfterMsMax),
  );
}
