import { decide, type Moment } from "../agent/decide.ts";
import type { Event, ModelCall, TurnErrorCode } from "../agent/event.ts";
import { fold } from "../agent/fold.ts";
import { type AgentState, statusOf } from "../agent/state.ts";
import { EngramError } from "../errors.ts";
import type { Holder, Lease } from "../store/store.ts";
import type { Agents } from "./agents.ts";
import type { Fleet } from "./fleet.ts";
import { Interrupt } from "./interrupts.ts";
import type { Parts } from "./parts.ts";
import type { WorkMeter } from "./work-meter.ts";

export type DriveParts = Parts & { readonly agents: Agents; readonly fleet: Fleet };

/** What the step is about: the lease it holds, and the state as far as it knows the log. */
export type Step = Hold & {
  readonly parts: DriveParts;
  state: AgentState;
  /**
   * What is to be noted with the first append: an append of its own would say that the step has come to something, which
   * one that ends its engine each time never does.
   */
  note: Event | null;
};

/** A lease, and the work that is not in the log yet. */
export type Hold = { readonly lease: Lease; readonly work: WorkMeter };

/** Who writes, as of now. */
export const holderOf = ({ lease: { agentId, epoch }, work }: Hold): Holder => ({
  agentId,
  epoch,
  workedMs: work.workedMs(),
});

export const momentOf = (step: Step): Moment => ({
  nowMs: evenNowMs(step),
  workedMs: step.work.workedMs(),
});

/** Wall time as it went on evenly since the newest event, where that was recorded here: a clock that is set makes no wait longer. */
function evenNowMs({ parts, lease, state }: Step): number {
  const recordedMs = parts.agents.recordedMs(lease.agentId, state.sequence);
  if (recordedMs === null) return parts.clock.nowMs();
  return state.updatedAtMs + parts.store.nowMs() - recordedMs;
}

/** Lets go of the lease where the agent is as it was looked at. Fails with conflict where a client has written since. */
export async function release(step: Step, wakeAtMs: number | null): Promise<boolean> {
  const { parts, state } = step;
  if (await parts.store.release(holderOf(step), state.sequence, wakeAtMs)) return true;
  throw new EngramError("conflict", "a client has written behind the state that was to rest");
}

/** The end of a turn that has failed; `call` is what it failed by, where that was a model call. */
export const failure =
  (code: TurnErrorCode, message: string, call: ModelCall | null = null) =>
  (): readonly Event[] => [
    { type: "TurnFailed", code, message, ...(call === null ? {} : { call }) },
  ];

/**
 * Appends what `events` makes for the place behind the head, and lets go of the lease where the agent then rests or
 * waits. Where a client has appended meanwhile it goes behind that; where the client stopped the agent, not at all.
 * True when the lease was let go of.
 */
export async function record(
  step: Step,
  events: (sequence: number) => readonly Event[] | Promise<readonly Event[]>,
  dropDraft = false,
): Promise<boolean> {
  const { parts, lease, work } = step;
  const { agentId, epoch } = lease;
  for (;;) {
    const { sequence } = step.state;
    const notes = step.note === null ? [] : [step.note];
    const facts = await events(sequence + notes.length);
    const atMs = parts.clock.nowMs();
    const workedMs = work.workedMs();
    const list = [...notes, ...facts].map((event, index): Event => ({
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
    step.note = null;
    work.recorded(workedMs);
    parts.agents.keep(agentId, state, { snapshot, recordedMs: nowMs });
    return done;
  }
}
