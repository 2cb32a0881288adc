import { accept, type Command } from "../agent/accept.ts";
import { decide } from "../agent/decide.ts";
import type { AgentSpec, Event, LoggedEvent } from "../agent/event.ts";
import { fold } from "../agent/fold.ts";
import { checkMetadata, checkSpec } from "../agent/spec.ts";
import { type AgentState, statusOf } from "../agent/state.ts";
import { EngramError } from "../errors.ts";
import { engineLimits } from "../limits.ts";
import type { ToolFile } from "../sandbox/sandbox.ts";
import type { AgentRow, ListQuery, RequestKey } from "../store/store.ts";
import { makeAgents } from "./agents.ts";
import { drive } from "./drive.ts";
import { type Follower, openFollower } from "./follow.ts";
import type { Parts } from "./parts.ts";
import { startScheduler } from "./schedule.ts";

/** A command's durable event, and the state right behind it. */
export type Recorded = { readonly sequence: number; readonly state: AgentState };

/** Agents, and the workers that drive them. Every answer is durable when it is given. */
export interface Engine {
  /** Starts an agent. Fails with invalid_argument or already_exists (the request id was used for something else). */
  create(spec: AgentSpec, request: RequestKey | null): Promise<AgentRow>;
  /** A new agent from another's log up to `atSequence` (0: the head); it rests until input. */
  fork(
    parentId: string,
    atSequence: number,
    wishes: { readonly metadata: AgentSpec["metadata"]; readonly request: RequestKey | null },
  ): Promise<AgentRow>;
  /** Fails with not_found. */
  get(agentId: string): Promise<AgentRow>;
  list(query: ListQuery): Promise<readonly AgentRow[]>;
  /** Fails with not_found, or failed_precondition for a working agent without `force`. */
  remove(agentId: string, force: boolean): Promise<void>;
  /** Records what a client asks for; fails as `accept` refuses. */
  command(agentId: string, command: Command): Promise<Recorded>;
  /** The state behind event `sequence`. */
  stateAt(agentId: string, sequence: number): Promise<AgentState>;
  /** Reads an agent's log from behind `after` (null: from its head on), and on as it grows; `deltas`: with the answer being written. Fails with not_found. */
  follow(agentId: string, after: number | null, deltas: boolean): Promise<Follower>;
  tools(): Promise<readonly ToolFile[]>;
  /** Why requests cannot be served just now; null: they can. */
  unreadiness(): Promise<string | null>;
  /** Takes no more work and hands over what is under way; reading and commands go on. */
  drain(): Promise<void>;
}

/** `workerId` names this process to the others that share its store. Whoever opened the parts closes them. */
export function startEngine(parts: Parts, workerId: string): Engine {
  const { store, clock } = parts;
  const agents = makeAgents(store);
  const scheduler = startScheduler(parts, workerId, (lease, signal) =>
    drive({ ...parts, agents }, lease, signal),
  );

  const get = async (agentId: string): Promise<AgentRow> => {
    const row = await store.row(agentId, clock.nowMs());
    if (row === null) throw new EngramError("not_found", `no agent ${agentId}`);
    return row;
  };

  const make = async (
    events: readonly { readonly atMs: number; readonly event: Event }[],
    request: RequestKey | null,
  ): Promise<AgentRow> => {
    const agentId = Bun.randomUUIDv7();
    const atMs = clock.nowMs();
    const state = fold(events.map((entry, index) => ({ ...entry, sequence: index + 1 })));
    const due = decide(state, atMs).type !== "Rest";
    const reservation = due ? scheduler.reserve() : null;
    try {
      const made = await store.create({
        agentId,
        atMs,
        events,
        state,
        wakeAtMs: due ? atMs : null,
        wish: reservation?.wish ?? null,
        request,
      });
      if (made.created) agents.keep(agentId, state);
      reservation?.settle(made.lease);
      const row = await get(made.agentId);
      // A worker may have it by now; the answer is what the creation made of it.
      return made.created ? { ...row, status: statusOf(state) } : row;
    } catch (error) {
      reservation?.settle(null);
      throw error;
    }
  };

  const command = async (agentId: string, asked: Command): Promise<Recorded> => {
    for (let tries = 0; tries < engineLimits.conflictsMax; tries++) {
      const state = await agents.load(agentId);
      const { events, sequence } = accept(state, asked);
      if (events.length === 0) return { sequence, state };
      const atMs = clock.nowMs();
      const logged: LoggedEvent[] = events.map((event, index) => ({
        sequence: sequence + index + 1,
        atMs,
        event,
      }));
      const next = fold(logged, state);
      const due = decide(next, atMs).type !== "Rest";
      const reservation = due ? scheduler.reserve() : null;
      try {
        const lease = await store.append({
          agentId,
          after: sequence,
          atMs,
          events,
          state: next,
          epoch: null,
          leaseUntilMs: null,
          wakeAtMs: due ? atMs : null,
          wish: reservation?.wish ?? null,
          dropDraft: false,
        });
        agents.keep(agentId, next);
        reservation?.settle(lease);
        return { sequence: sequence + 1, state: next };
      } catch (error) {
        reservation?.settle(null);
        if (EngramError.of(error).code !== "conflict") throw error;
      }
    }
    throw new EngramError("unavailable", `agent ${agentId} is busy; try again`, {
      transient: true,
    });
  };

  return {
    create: async (spec, request) => {
      checkSpec(spec);
      const event: Event = { type: "AgentCreated", parent: null, ...spec };
      return make([{ atMs: clock.nowMs(), event }], request);
    },
    fork: async (parentId, atSequence, { metadata, request }) => {
      checkMetadata(metadata);
      const state = await (atSequence === 0
        ? agents.load(parentId)
        : agents.at(parentId, atSequence));
      const parent = { agentId: parentId, sequence: state.sequence };
      const copied: { atMs: number; event: Event }[] = [];
      while (copied.length < state.sequence)
        for (const { atMs, event } of await store.read(parentId, copied.length))
          if (copied.length < state.sequence) copied.push({ atMs, event });
      const forked: Event = {
        type: "AgentForked",
        parent,
        metadata: { ...state.spec.metadata, ...metadata },
      };
      return make([...copied, { atMs: clock.nowMs(), event: forked }], request);
    },
    get,
    list: (query) => store.list(query, clock.nowMs()),
    remove: async (agentId, force) => {
      await store.remove(agentId, clock.nowMs(), force);
      agents.forget(agentId);
    },
    command,
    stateAt: agents.at,
    follow: async (agentId, after, deltas) => {
      const { sequence } = await get(agentId);
      return openFollower(parts, agentId, { after: after ?? sequence, head: sequence, deltas });
    },
    tools: () => parts.sandbox.list(),
    unreadiness: async () => {
      try {
        await store.probe();
        await parts.sandbox.list();
        return null;
      } catch (error) {
        return EngramError.of(error).message;
      }
    },
    drain: scheduler.drain,
  };
}
