import { turnLimits } from "../limits.ts";
import type { TurnErrorCode } from "./event.ts";
import { type AgentState, type PendingCall, statusOf } from "./state.ts";

/** What is next for an agent, as a value; the engine carries it out. */
export type Action =
  /** Nothing, until a client acts. */
  | { readonly type: "Rest" }
  /** Nothing before this time. */
  | { readonly type: "Wait"; readonly untilMs: number }
  /** `deadlineMs`: when the turn's time is over; null: no limit. */
  | { readonly type: "CallModel"; readonly deadlineMs: number | null }
  | {
      readonly type: "RunTools";
      readonly calls: readonly PendingCall[];
      readonly deadlineMs: number | null;
    }
  | { readonly type: "FailTurn"; readonly code: TurnErrorCode; readonly message: string };

/** Total: every state has a next action. `nowMs` is wall time. */
export function decide(state: AgentState, nowMs: number): Action {
  if (statusOf(state) !== "waiting_for_step") return { type: "Rest" };
  const leftMs = timeLeftMs(state, nowMs);
  if (leftMs !== null && leftMs <= 0) return durationExceeded(state);
  const deadlineMs = leftMs === null ? null : nowMs + leftMs;
  const calls = state.pendingCalls.filter((call) => !call.awaitsConfirmation);
  if (calls.length > 0) return { type: "RunTools", calls, deadlineMs };
  const exceeded = modelLimitExceeded(state);
  if (exceeded !== null) return exceeded;
  if (state.turn.retryAtMs > nowMs)
    return { type: "Wait", untilMs: Math.min(state.turn.retryAtMs, deadlineMs ?? Infinity) };
  return { type: "CallModel", deadlineMs };
}

/** The end of a turn whose time is over. */
export const durationExceeded = (state: AgentState): Action & { readonly type: "FailTurn" } => ({
  type: "FailTurn",
  code: "MAX_DURATION",
  message: `the turn has worked for its ${state.spec.config.durationMsMax} ms; raise config.maxDuration by an edit and retry`,
});

/** What is left of the turn's time while it works; null: it has no limit. A clock set back gives nothing away. */
function timeLeftMs(state: AgentState, nowMs: number): number | null {
  const { durationMsMax } = state.spec.config;
  if (durationMsMax === 0) return null;
  return durationMsMax - state.turn.workedMs - Math.max(0, nowMs - state.updatedAtMs);
}

function modelLimitExceeded(state: AgentState): Action | null {
  const { stepsMax, totalTokensMax } = state.spec.config;
  const steps = stepsMax === 0 ? turnLimits.stepsDefault : stepsMax;
  if (state.turn.steps >= steps)
    return {
      type: "FailTurn",
      code: "MAX_STEPS",
      message: `the turn has made its ${steps} model calls; raise config.maxSteps by an edit and retry`,
    };
  const used = state.stats.promptTokens + state.stats.completionTokens;
  if (totalTokensMax > 0 && used >= totalTokensMax)
    return {
      type: "FailTurn",
      code: "TOKEN_BUDGET",
      message: `the agent has used ${used} of its ${totalTokensMax} tokens; raise config.maxTotalTokens by an edit and retry`,
    };
  return null;
}
