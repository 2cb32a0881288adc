import { type Action, decide, durationExceeded, type Moment, waitedMs } from "../agent/decide.ts";
import type { Event, ModelCall, TurnErrorCode } from "../agent/event.ts";
import { fold } from "../agent/fold.ts";
import { replyEvents } from "../agent/reply.ts";
import { type AgentState, type PendingCall, statusOf } from "../agent/state.ts";
import { EngramError, type ErrorCode } from "../errors.ts";
import { turnLimits } from "../limits.ts";
import type { Draft, Holder, Lease } from "../store/store.ts";
import type { Agents } from "./agents.ts";
import { Interrupt, interruptible } from "./interrupts.ts";
import type { Parts } from "./parts.ts";
import { summarize } from "./summarize.ts";
import { newCall, textOf, think } from "./think.ts";
import { type Toolbox, toolboxOf } from "../agent/toolbox.ts";
import type { WorkMeter } from "./work-meter.ts";

/*
 * Invariants
 * 1. One action at a time, chosen by `decide` from the log alone; its outcome is appended before the next is chosen.
 * 2. Every write names the lease's epoch: a worker that was replaced writes nothing more.
 * 3. The append that lets an agent rest lets go of the lease too; what a client appends in between makes it a conflict,
 *    and the worker looks again. So no input is left without a worker or a wake time.
 * 4. What came of an action that a client stopped is dropped, but for the draft, which was durable already.
 * 5. Behind an event that stops the agent stand clients' events only, until a client sets it going again.
 */

export type DriveParts = Parts & { readonly agents: Agents };

/** What the step is about: the lease it holds, and the state as far as it knows the log. */
type Step = Hold & { readonly parts: DriveParts; state: AgentState };

/** A lease, and the work that is not in the log yet. */
export type Hold = { readonly lease: Lease; readonly work: WorkMeter };

const holderOf = ({ lease: { agentId, epoch }, work }: Hold): Holder => ({
  agentId,
  epoch,
  workedMs: work.workedMs(),
});

/**
 * Drives one agent until it rests, has to wait or is taken away, and lets go of its lease. `signal` ends it early:
 * with the Interrupt `handOver` the agent is due again at once, with `fenced` another worker has it. Never fails.
 */
export async function drive(parts: DriveParts, hold: Hold, signal: AbortSignal): Promise<void> {
  try {
    const step: Step = { ...hold, parts, state: await parts.agents.load(hold.lease.agentId) };
    let done = await attempt(step, () => begin(step));
    while (!done) done = await attempt(step, () => perform(step, signal));
  } catch (error) {
    await giveUp(parts, hold, error);
  }
}

/** One step; where a client has written meanwhile, a new look instead. True when the lease was let go of. */
async function attempt(step: Step, run: () => Promise<boolean>): Promise<boolean> {
  try {
    return await run();
  } catch (error) {
    const stopped = error instanceof Interrupt && error.reason === "stopped";
    if (!stopped && EngramError.of(error).code !== "conflict") throw error;
    step.state = await step.parts.agents.load(step.lease.agentId);
    return false;
  }
}

/** What is to be recorded of the lease itself. An agent that a client has stopped is left as it is (invariant 5). */
async function begin(step: Step): Promise<boolean> {
  const { lease, state } = step;
  if (statusOf(state) !== "waiting_for_step") return false;
  // Of the pause between two attempts nobody has measured anything.
  if (lease.workedMs === 0) step.work.add(waitedMs(state, step.parts.clock.nowMs()));
  if (lease.claims > turnLimits.claimsWithoutAppendMax)
    return record(
      step,
      failure("INTERNAL", "the agent's step ended its engine three times in a row"),
    );
  if (!lease.recovered || !state.spec.config.enableObservation) return false;
  return record(step, () => [
    { type: "Observed", content: "recovered: the engine that drove this agent had gone" },
  ]);
}

async function perform(step: Step, outer: AbortSignal): Promise<boolean> {
  const { parts, lease, state } = step;
  outer.throwIfAborted();
  const action = decide(state, momentOf(step));
  switch (action.type) {
    case "Rest":
      return release(step, null);
    case "Wait":
      return release(step, parts.store.nowMs() + action.forMs);
    case "FailTurn":
      return record(step, failure(action.code, action.message));
    case "CallModel":
    case "Condense":
    case "RunTools":
      break;
  }
  const { agentId } = lease;
  const { leftMs } = action;
  try {
    return await interruptible(parts, { agentId, leftMs, outer }, (signal) =>
      act(step, action, signal),
    );
  } catch (error) {
    if (!(error instanceof Interrupt) || error.reason !== "outOfTime") throw error;
    const { code, message } = durationExceeded(step.state);
    return record(step, failure(code, message));
  }
}

const momentOf = ({ parts, work }: Step): Moment => ({
  nowMs: parts.clock.nowMs(),
  workedMs: work.workedMs(),
});

type LongAction = Extract<Action, { readonly leftMs: unknown }>;

async function act(step: Step, action: LongAction, signal: AbortSignal): Promise<boolean> {
  if (action.type === "RunTools") return runTools(step, action, signal);
  const draft = await wholeDraft(step.parts, step.lease.agentId);
  // An answer that is begun is gone on with first: its prompt was sent as it is.
  if (action.type === "CallModel" || draft !== null) return callModel(step, draft, signal);
  return condense(step, action.items, signal);
}

async function condense(step: Step, items: number, signal: AbortSignal): Promise<boolean> {
  const { parts, state } = step;
  try {
    const { summary, usage } = await summarize(parts, { state, items }, signal);
    return await record(step, () => [{ type: "ContextCondensed", items, summary, usage }]);
  } catch (error) {
    const nowMs = parts.clock.nowMs();
    const call = { afterSequence: state.sequence, nowMs, tools: null, continuedLength: 0 };
    return modelFailed(step, call, error);
  }
}

async function release(step: Step, wakeAtMs: number | null): Promise<boolean> {
  const { parts, state } = step;
  if (await parts.store.release(holderOf(step), state.sequence, wakeAtMs)) return true;
  throw new EngramError("conflict", "a client has written behind the state that was to rest");
}

const failure = (code: TurnErrorCode, message: string) => (): readonly Event[] => [
  { type: "TurnFailed", code, message },
];

/**
 * Appends what `events` makes for the place behind the head, and lets go of the lease where the agent then rests or
 * waits. Where a client has appended meanwhile it goes behind that; where the client stopped the agent, not at all.
 * True when the lease was let go of.
 */
async function record(
  step: Step,
  events: (sequence: number) => readonly Event[],
  dropDraft = false,
): Promise<boolean> {
  const { parts, lease, work } = step;
  const { agentId, epoch } = lease;
  for (;;) {
    const { sequence } = step.state;
    const { nowMs: atMs, workedMs } = momentOf(step);
    const list = events(sequence).map((event, index): Event => ({
      ...event,
      workedMs: index === 0 ? workedMs : 0,
    }));
    const logged = list.map((event, index) => ({ sequence: sequence + index + 1, atMs, event }));
    const state = fold(logged, step.state);
    const next = decide(state, { nowMs: atMs, workedMs: 0 });
    const done = next.type === "Rest" || next.type === "Wait";
    const snapshot = parts.agents.snapshotDue(agentId, state);
    const nowMs = parts.store.nowMs();
    try {
      await parts.store.append({
        agentId,
        after: sequence,
        atMs,
        nowMs,
        events: list,
        state,
        snapshot,
        epoch,
        leaseUntilMs: done ? null : nowMs + parts.settings.leaseTtlMs,
        wakeAtMs: next.type === "Wait" ? nowMs + next.forMs : null,
        wish: null,
        dropDraft,
      });
    } catch (error) {
      if (EngramError.of(error).code !== "conflict") throw error;
      step.state = await parts.agents.load(agentId);
      if (statusOf(step.state) !== "waiting_for_step") throw new Interrupt("stopped");
      continue;
    }
    step.state = state;
    work.recorded(workedMs);
    parts.agents.keep(agentId, state, snapshot);
    return done;
  }
}

async function callModel(step: Step, draft: Draft | null, signal: AbortSignal): Promise<boolean> {
  const { parts, state } = step;
  const { spec } = state;
  if (draft !== null && !(await canContinue(parts, state, draft, signal)))
    return record(step, abandon(state, draft), true);
  const toolbox = toolboxOf(spec, await parts.sandbox.list());
  const call =
    draft === null
      ? newCall(state, toolbox, parts.clock.nowMs())
      : { ...draft.call, continuedLength: textOf(draft, "text").length };
  try {
    const reply = await think(
      parts,
      { holder: () => holderOf(step), state, call, begun: draft },
      signal,
    );
    const events = (sequence: number): readonly Event[] =>
      replyEvents(reply, call, sequence, toolbox.needsConfirmation);
    return await record(step, events, true);
  } catch (error) {
    return modelFailed(step, call, error);
  }
}

async function wholeDraft(parts: Parts, agentId: string): Promise<Draft | null> {
  let draft = await parts.store.readDraft(agentId, 0);
  while (draft !== null && draft.pieces.length < draft.piecesTotal) {
    const more = await parts.store.readDraft(agentId, draft.pieces.length);
    if (more === null || more.pieces.length === 0) break;
    draft = { ...draft, pieces: [...draft.pieces, ...more.pieces] };
  }
  return draft;
}

/** Thinking alone cannot be gone on with: no server takes it back in all its modes. */
const canContinue = async (
  { model }: Parts,
  { spec }: AgentState,
  draft: Draft,
  signal: AbortSignal,
): Promise<boolean> =>
  textOf(draft, "text").trimEnd() !== "" &&
  (await model.continuesPartial(spec.model, spec.config.enableThinking, signal));

const abandon =
  (state: AgentState, { call }: Draft) =>
  (): readonly Event[] => [
    {
      type: "AnswerAbandoned",
      call,
      reason: `${state.spec.model} cannot continue the answer that was broken off; it answers anew`,
    },
  ];

const turnErrors: Partial<Record<ErrorCode, TurnErrorCode>> = {
  model_unavailable: "MODEL_UNAVAILABLE",
  model_not_found: "MODEL_NOT_FOUND",
  model_timeout: "MODEL_TIMEOUT",
  model_error: "MODEL_ERROR",
  context_overflow: "CONTEXT_OVERFLOW",
};

/** A model's fault is tried again after a pause, a few times; then, or where that cannot help, the turn has failed. */
async function modelFailed(step: Step, call: ModelCall, error: unknown): Promise<boolean> {
  if (!(error instanceof EngramError)) throw error;
  const code = turnErrors[error.code];
  if (code === undefined) throw error;
  const { message } = error;
  const { attempts } = step.state.turn;
  const { log, clock } = step.parts;
  log("warn", "the model failed", { agentId: step.lease.agentId, code, message, attempts });
  if (!error.transient || attempts >= turnLimits.attemptsMax)
    return record(step, failure(code, message));
  const retryAtMs = clock.nowMs() + retryDelayMs(attempts, error.retryAfterMs);
  return record(step, () => [{ type: "ModelFailed", call, code, message, retryAtMs }]);
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

/** All calls at once; each result is appended as it comes. None outlives the step. */
async function runTools(
  step: Step,
  { calls }: Extract<Action, { readonly type: "RunTools" }>,
  signal: AbortSignal,
): Promise<boolean> {
  const { parts, state } = step;
  const toolbox = toolboxOf(state.spec, await parts.sandbox.list());
  const ended = new AbortController();
  const either = AbortSignal.any([signal, ended.signal]);
  const running = new Map(
    calls.map((call) => [call.callId, runTool(parts, { state, toolbox, call }, either)]),
  );
  let done = false;
  try {
    while (running.size > 0) {
      const event = await Promise.race(running.values());
      running.delete(event.callId);
      done = await record(step, () => [event]);
    }
  } finally {
    // Calls are left only where the step has failed or was stopped: their outcome is nobody's.
    ended.abort(new Interrupt("stopped"));
    await Promise.allSettled(running.values());
  }
  return done;
}

async function runTool(
  { sandbox }: Parts,
  job: { readonly state: AgentState; readonly toolbox: Toolbox; readonly call: PendingCall },
  signal: AbortSignal,
): Promise<Event & { readonly type: "ToolReturned" }> {
  const { callId, name, inputJson } = job.call;
  const refusal = job.toolbox.refusal(name);
  const outcome =
    refusal === null
      ? await sandbox.run(
          {
            name,
            inputJson,
            parameters: job.toolbox.parametersOf(name),
            limits: job.state.spec.config.toolLimits,
          },
          signal,
        )
      : { output: "", error: refusal, fuelUsed: 0, memoryBytes: 0, durationMs: 0 };
  return { type: "ToolReturned", callId, ...outcome };
}

/** No fault of the agent's: another worker has it, it was deleted, or a part is away or full. It is taken up again. */
const passing: ReadonlySet<ErrorCode> = new Set([
  "fenced",
  "not_found",
  "unavailable",
  "resource_exhausted",
]);

/** A step that cannot go on lets go of its agent as well as it can; a lease that it cannot let go of runs out. */
async function giveUp(parts: DriveParts, hold: Hold, error: unknown): Promise<void> {
  const { agentId } = hold.lease;
  try {
    if (error instanceof Interrupt) {
      if (error.reason === "handOver") await letGo(parts, hold);
      return;
    }
    const { code, message, cause } = EngramError.of(error);
    if (passing.has(code)) {
      parts.log("warn", "let go of an agent", { agentId, code, message });
      return;
    }
    parts.log("error", "a step failed", { agentId, code, message, cause });
    if (code === "corrupt") {
      await parts.store.release(holderOf(hold), null, null);
      return;
    }
    const step: Step = { ...hold, parts, state: await parts.agents.load(agentId) };
    const failed = failure("INTERNAL", "a step failed inside the engine; its log says why");
    const working = statusOf(step.state) === "waiting_for_step";
    if (!(await attempt(step, () => (working ? record(step, failed) : release(step, null)))))
      await letGo(parts, hold);
  } catch (fault) {
    const { code, message } = EngramError.of(fault);
    parts.log("warn", "could not let go of an agent", { agentId, code, message });
  }
}

/** The agent is due at once: whoever takes it looks what is to be done. */
const letGo = ({ store }: Parts, hold: Hold): Promise<boolean> =>
  store.release(holderOf(hold), null, store.nowMs());
