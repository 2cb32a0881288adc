import { accept, type Command, markKeysOf } from "../agent/accept.ts";
import { decide } from "../agent/decide.ts";
import type { Event, LoggedEvent, RequestKey } from "../agent/event.ts";
import { fold } from "../agent/fold.ts";
import type { AgentState } from "../agent/state.ts";
import { EngramError } from "../errors.ts";
import { engineLimits } from "../limits.ts";
import type { Creation, Lease } from "../store/store.ts";
import type { Agents } from "./agents.ts";
import type { Parts } from "./parts.ts";
import type { Scheduler } from "./schedule.ts";

/** A command's durable event, and the state right behind it. `isNew` false: the event was there, or says already what was asked for. */
export type Recorded = {
  readonly sequence: number;
  readonly state: AgentState;
  readonly isNew: boolean;
};

type Recording = Parts & { readonly agents: Agents; readonly scheduler: Scheduler };

type Due = {
  readonly nowMs: number;
  readonly wakeAtMs: number | null;
  readonly wish: { worker: string; untilMs: number } | null;
};

/** Writes what makes an agent due together with the lease for it, where there is room: one commit starts the step. */
async function withRoom<T>(
  { scheduler, store }: Recording,
  state: AgentState,
  atMs: number,
  write: (due: Due) => Promise<{ readonly lease: Lease | null; readonly written: T }>,
): Promise<T> {
  const due = decide(state, { nowMs: atMs, workedMs: 0 }).type !== "Rest";
  const nowMs = store.nowMs();
  const reservation = due ? scheduler.reserve() : null;
  let lease: Lease | null = null;
  try {
    const answer = await write({
      nowMs,
      wakeAtMs: due ? nowMs : null,
      wish: reservation?.wish ?? null,
    });
    ({ lease } = answer);
    return answer.written;
  } finally {
    reservation?.settle(lease);
    if (due && reservation === null) scheduler.poke();
  }
}

/** What an agent begins with: events that stand aside for it, those behind them, and the state that all of them give. */
export type Beginning = Pick<Creation, "agentId" | "staged" | "events" | "state">;

/** A new agent; the one made before, where the request id was seen. */
export async function recordCreation(
  parts: Recording,
  beginning: Beginning,
  request: RequestKey | null,
): Promise<{ readonly agentId: string; readonly created: AgentState | null }> {
  const { agentId, state } = beginning;
  const atMs = parts.clock.nowMs();
  const snapshot = parts.agents.snapshotDue(agentId, state);
  return withRoom(parts, state, atMs, async (due) => {
    const made = await parts.store.create({
      ...beginning,
      atMs,
      headHash: null,
      snapshot,
      request,
      moved: null,
      ...due,
    });
    const { nowMs: recordedMs } = due;
    if (made.created) parts.agents.keep(made.agentId, state, { snapshot, recordedMs });
    const created = made.created ? state : null;
    return { lease: made.lease, written: { agentId: made.agentId, created } };
  });
}

const noMarks = new Map<string, never>();

/** Records a command behind whatever stands in the log by then. Fails as `accept` refuses. */
export async function recordCommand(
  parts: Recording,
  agentId: string,
  command: Command,
): Promise<Recorded> {
  for (let tries = 0; tries < engineLimits.conflictsMax; tries++) {
    const state = await parts.agents.load(agentId);
    // Read behind the state: what was recorded in between is found here, or makes the append a conflict.
    const keys = markKeysOf(command);
    const marks = keys.length === 0 ? noMarks : await parts.store.marks(agentId, keys);
    const { events, sequence } = accept(state, command, marks);
    if (events.length === 0) {
      // Another engine may have recorded it behind the state, which then tells of what was before.
      const isBehind = sequence > state.sequence;
      return {
        sequence,
        state: isBehind ? await parts.agents.load(agentId) : state,
        isNew: false,
      };
    }
    try {
      return await appendCommand(parts, { agentId, state, events });
    } catch (error) {
      if (EngramError.of(error).code !== "conflict") throw error;
    }
  }
  throw new EngramError("unavailable", `agent ${agentId} is busy; try again`, { transient: true });
}

async function appendCommand(
  parts: Recording,
  on: { readonly agentId: string; readonly state: AgentState; readonly events: readonly Event[] },
): Promise<Recorded> {
  const { agentId } = on;
  const events = on.events.map((event): Event => ({ ...event, workedMs: 0 }));
  const after = on.state.sequence;
  const atMs = parts.clock.nowMs();
  const logged: LoggedEvent[] = events.map((event, index) => ({
    sequence: after + index + 1,
    atMs,
    event,
  }));
  const state = fold(logged, on.state);
  const snapshot = parts.agents.snapshotDue(agentId, state);
  return withRoom(parts, state, atMs, async (due) => {
    const lease = await parts.store.append({
      agentId,
      after,
      atMs,
      events,
      state,
      snapshot,
      epoch: null,
      leaseUntilMs: null,
      dropDraft: false,
      ...due,
    });
    parts.agents.keep(agentId, state, { snapshot, recordedMs: due.nowMs });
    return { lease, written: { sequence: after + 1, state, isNew: true } };
  });
}
