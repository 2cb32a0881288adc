import { turnLimits } from "../limits.ts";
import type { TurnErrorCode } from "./event.ts";
import { answerLimits } from "./answer-limits.ts";
import { planContext } from "./context.ts";
import { isAskedTooOften } from "./repeats.ts";
import { type AgentState, type PendingCall, statusOf } from "./state.ts";

/** What is next for an agent, as a value; the engine carries it out. */
export type Action =
  /** Nothing, until a client acts. */
  | { readonly type: "Rest" }
  /** Nothing for so long. */
  | { readonly type: "Wait"; readonly forMs: number }
  /** `leftMs`: what is left of the turn's time; null: no limit. */
  | { readonly type: "CallModel"; readonly leftMs: number | null }
  | {
      readonly type: "RunTools";
      readonly calls: readonly PendingCall[];
      readonly leftMs: number | null;
    }
  /** To fit the next prompt: put the first `items` of the transcript into a summary. */
  | { readonly type: "Condense"; readonly items: number; readonly leftMs: number | null }
  | { readonly type: "FailTurn"; readonly code: TurnErrorCode; readonly message: string };

/** The time of a decision: `nowMs` is wall time, `workedMs` what was worked since the newest event. */
export type Moment = { readonly nowMs: number; readonly workedMs: number };

/** Total: every state has a next action. */
export function decide(state: AgentState, moment: Moment): Action {
  if (statusOf(state) !== "waiting_for_step") return { type: "Rest" };
  const { durationMsMax } = state.spec.config;
  const leftMs = durationMsMax === 0 ? null : durationMsMax - state.turn.workedMs - moment.workedMs;
  if (leftMs !== null && leftMs <= 0) return durationExceeded(state);
  const repeated = state.pendingCalls.find((call) => isAskedTooOften(state, call));
  if (repeated !== undefined) return askedTooOften(repeated);
  const calls = state.pendingCalls.filter((call) => !call.awaitsConfirmation);
  if (calls.length > 0) return { type: "RunTools", calls, leftMs };
  const exceeded = modelLimitExceeded(state);
  if (exceeded !== null) return exceeded;
  const waitMs = retryWaitMs(state, moment);
  if (waitMs > 0) return { type: "Wait", forMs: Math.min(waitMs, leftMs ?? waitMs) };
  const plan = planContext(state);
  if (plan === "overflow") return contextOverflow;
  return plan === null
    ? { type: "CallModel", leftMs }
    : { type: "Condense", items: plan.items, leftMs };
}

const contextOverflow: Action = {
  type: "FailTurn",
  code: "CONTEXT_OVERFLOW",
  message:
    "the goal, the tools and the newest message alone are more than the model can read; raise config.max_context_tokens by an edit and retry",
};

/**
 * A clock that stands before the newest event was set back since: what it would have to reach may be a day away. What was
 * worked behind that event was waited first.
 */
const retryWaitMs = ({ turn, updatedAtMs }: AgentState, { nowMs, workedMs }: Moment): number =>
  nowMs < updatedAtMs ? 0 : Math.max(0, turn.retryAtMs - Math.max(nowMs, updatedAtMs + workedMs));

/**
 * What of a pause between two attempts counts as work: the turn's time goes on. It is bounded by the pause itself,
 * whatever the clock says.
 */
export const waitedMs = ({ turn, updatedAtMs }: AgentState, nowMs: number): number =>
  Math.max(0, Math.min(nowMs, turn.retryAtMs) - updatedAtMs);

/** The end of a turn whose time is over. */
export const durationExceeded = (state: AgentState): Action & { readonly type: "FailTurn" } => ({
  type: "FailTurn",
  code: "MAX_DURATION",
  message: `the turn has worked for its ${state.spec.config.durationMsMax} ms; raise config.max_duration by an edit and retry`,
});

const askedTooOften = ({ name }: PendingCall): Action => ({
  type: "FailTurn",
  code: "MAX_STEPS",
  message: `the model asks for ${name.slice(0, 100)} with the same input for the ${answerLimits.sameCallsMax + 1}th time in a row; tell it what to do instead by an edit's description and retry`,
});

function modelLimitExceeded(state: AgentState): Action | null {
  const { times, fault } = state.turn.refused;
  if (times > answerLimits.toldMax)
    return {
      type: "FailTurn",
      code: "MODEL_ERROR",
      message: `the model's final answer was wrong ${times} times; the last: ${fault}; retry lets it try again`,
    };
  const { stepsMax, totalTokensMax } = state.spec.config;
  const steps = stepsMax === 0 ? turnLimits.stepsDefault : stepsMax;
  if (state.turn.steps >= steps)
    return {
      type: "FailTurn",
      code: "MAX_STEPS",
      message: `the turn has made its ${steps} model calls; raise config.max_steps by an edit and retry`,
    };
  const used = state.stats.promptTokens + state.stats.completionTokens;
  if (totalTokensMax > 0 && used >= totalTokensMax)
    return {
      type: "FailTurn",
      code: "TOKEN_BUDGET",
      message: `the agent has used ${used} of its ${totalTokensMax} tokens; raise config.max_total_tokens by an edit and retry`,
    };
  return null;
}
