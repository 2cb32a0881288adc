import { type Action, decide, durationExceeded, waitedMs } from "../agent/decide.ts";
import { statusOf } from "../agent/state.ts";
import type { Clock } from "../clock.ts";
import { EngramError, type ErrorCode } from "../errors.ts";
import { engineLimits, turnLimits } from "../limits.ts";
import { callModel, condense, wholeDraft } from "./call-model.ts";
import { Interrupt, interruptible } from "./interrupts.ts";
import type { Parts } from "./parts.ts";
import { runTools } from "./run-tools.ts";
import {
  type DriveParts,
  failure,
  type Hold,
  holderOf,
  momentOf,
  record,
  release,
  type Step,
} from "./step.ts";

/*
 * Invariants
 * 1. One action at a time, chosen by `decide` from the log alone; its outcome is appended before the next is chosen.
 * 2. Every write names the lease's epoch: a worker that was replaced writes nothing more.
 * 3. The append that lets an agent rest lets go of the lease too; what a client appends in between makes it a conflict,
 *    and the worker looks again. So no input is left without a worker or a wake time.
 * 4. What came of an action that a client stopped is dropped, but for the draft, which was durable already.
 * 5. Behind an event that stops the agent stand clients' events only, until a client sets it going again.
 */

/**
 * Drives one agent until it rests, has to wait or is taken away, and lets go of its lease. `signal` ends it early:
 * with the Interrupt `handOver` the agent is due again at once, with `fenced` another worker has it. Never fails.
 */
export async function drive(parts: DriveParts, hold: Hold, signal: AbortSignal): Promise<void> {
  try {
    const step: Step = {
      ...hold,
      parts,
      note: null,
      state: await parts.agents.load(hold.lease.agentId),
    };
    let done = await attempt(step, () => begin(step));
    while (!done) done = await attempt(step, () => perform(step, signal));
  } catch (error) {
    await giveUp(parts, hold, error, signal);
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
  // The pause between two attempts was measured by nobody who worked; what a worker told behind it counts it too.
  const { nowMs, workedMs } = momentOf(step);
  step.work.add(Math.max(0, waitedMs(state, nowMs) - workedMs));
  if (lease.claims > turnLimits.claimsWithoutAppendMax)
    return record(
      step,
      failure("INTERNAL", "the agent's step ended its engine three times in a row"),
    );
  if (lease.recovered && state.spec.config.enableObservation)
    step.note = {
      type: "Observed",
      content: "recovered: the engine that drove this agent had gone",
    };
  return false;
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

type LongAction = Extract<Action, { readonly leftMs: unknown }>;

async function act(step: Step, action: LongAction, signal: AbortSignal): Promise<boolean> {
  if (action.type === "RunTools") return runTools(step, action, signal);
  const draft = await wholeDraft(step.parts, step.lease.agentId);
  // An answer that is begun is gone on with first: its prompt was sent as it is.
  if (action.type === "CallModel" || draft !== null) return callModel(step, draft, signal);
  return condense(step, action.items, signal);
}

/** No fault of the agent's: another worker has it, it was deleted, or a part is away or full. It is taken up again. */
const passing: ReadonlySet<ErrorCode> = new Set([
  "fenced",
  "not_found",
  "unavailable",
  "resource_exhausted",
]);

/** A step that cannot go on lets go of its agent as well as it can; a lease that it cannot let go of runs out. */
async function giveUp(
  parts: DriveParts,
  hold: Hold,
  error: unknown,
  signal: AbortSignal,
): Promise<void> {
  const { agentId } = hold.lease;
  try {
    if (error instanceof Interrupt) {
      if (error.reason === "elsewhere") parts.fleet.leave(agentId);
      if (error.reason === "handOver" || error.reason === "elsewhere") await letGo(parts, hold);
      return;
    }
    const { code, message, cause } = EngramError.of(error);
    if (passing.has(code)) {
      parts.log("warn", "let go of an agent", { agentId, code, reason: message });
      if (code === "unavailable") await letGoLater(parts, hold, signal);
      return;
    }
    parts.log("error", "a step failed", { agentId, code, reason: message, cause });
    if (code === "corrupt") {
      await parts.store.release(holderOf(hold), null, null);
      return;
    }
    const step: Step = { ...hold, parts, note: null, state: await parts.agents.load(agentId) };
    const failed = failure("INTERNAL", "a step failed inside the engine; its log says why");
    const working = statusOf(step.state) === "waiting_for_step";
    if (!(await attempt(step, () => (working ? record(step, failed) : release(step, null)))))
      await letGo(parts, hold);
  } catch (fault) {
    const { code, message } = EngramError.of(fault);
    parts.log("warn", "could not let go of an agent", { agentId, code, reason: message });
  }
}

/** The agent is due at once: whoever takes it looks what is to be done. */
const letGo = ({ store }: Parts, hold: Hold): Promise<boolean> =>
  store.release(holderOf(hold), null, store.nowMs());

/**
 * What is away may be so for long: the agent is let go of when the store takes it, so that it goes on then, and nobody
 * counts its worker among the dead. `signal` is the last moment to try.
 */
async function letGoLater(parts: Parts, hold: Hold, signal: AbortSignal): Promise<void> {
  const holder = holderOf(hold); // The wait is no work.
  for (;;) {
    await pause(parts.clock, engineLimits.storeRetryMs, signal);
    try {
      await parts.store.release(holder, null, parts.store.nowMs());
      return;
    } catch (error) {
      if (signal.aborted || EngramError.of(error).code !== "unavailable") throw error;
    }
  }
}

const pause = (clock: Clock, delayMs: number, signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const cancel = clock.after(delayMs, () => {
      signal.removeEventListener("abort", stop);
      resolve();
    });
    const stop = (): void => {
      cancel();
      resolve();
    };
    signal.addEventListener("abort", stop, { once: true });
  });
