import type { Command } from "../agent/accept.ts";
import type { AgentSpec, Event, RequestKey } from "../agent/event.ts";
import { fold } from "../agent/fold.ts";
import type { AgentRow } from "../agent/row.ts";
import { checkSpec } from "../agent/spec.ts";
import { type AgentState, statusOf } from "../agent/state.ts";
import type { ToolFile } from "../agent/toolbox.ts";
import { EngramError } from "../errors.ts";
import type { ListQuery, Store } from "../store/store.ts";
import { makeAgents } from "./agents.ts";
import { drive } from "./drive.ts";
import { exportAgent } from "./export-agent.ts";
import { type Bytes, linesOf, piecesOf } from "./file-bytes.ts";
import { joinFleet } from "./fleet.ts";
import { type Follower, openFollower } from "./follow.ts";
import { forkOf } from "./fork.ts";
import { importAgent, type Imported } from "./import-agent.ts";
import type { Parts } from "./parts.ts";
import { type SentPrompt, sentPrompt } from "./prompts.ts";
import { type Beginning, recordCommand, recordCreation, type Recorded } from "./record.ts";
import { startScheduler } from "./schedule.ts";

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
  /** A resting agent as a file, in pieces. Fails with not_found, or failed_precondition for a working one. */
  exportAgent(agentId: string): AsyncIterable<Bytes>;
  /** Makes the agent of such a file. Fails with invalid_argument, naming the wrong line, or already_exists. */
  importAgent(pieces: AsyncIterable<Uint8Array>): Promise<Imported>;
  /** What the model was sent by the agent's `number`-th call, from 1 on; null: the latest. Fails with not_found, or failed_precondition where that is not kept. */
  sentPrompt(agentId: string, number: number | null): Promise<SentPrompt>;
  tools(): Promise<readonly ToolFile[]>;
  /** Agents that are driven here just now, and how many there is room for. */
  steps(): { readonly running: number; readonly max: number };
  /** Why requests cannot be served just now; null: they can. */
  unreadiness(): Promise<string | null>;
  /** In what this engine differs from others on its store, a sentence each. */
  differences(): Promise<readonly string[]>;
  /** Takes no more work, hands over what is under way, and ends the followers; reading and commands go on. */
  drain(): Promise<void>;
}

/** `workerId` names this process to the others that share its store. Whoever opened the parts closes them. */
export function startEngine(parts: Parts, workerId: string): Engine {
  const { store, clock, sandbox } = parts;
  const agents = makeAgents(store);
  const fleet = joinFleet(parts, workerId);
  const scheduler = startScheduler({ ...parts, fleet }, workerId, (lease, work, signal) =>
    drive({ ...parts, agents, fleet }, { lease, work }, signal),
  );
  const recording = { ...parts, agents, scheduler };
  const stopping = new AbortController();

  const get = (agentId: string): Promise<AgentRow> => rowOf(store, agentId);
  const make = async (beginning: Beginning, request: RequestKey | null): Promise<AgentRow> => {
    const { agentId, created } = await recordCreation(recording, beginning, request);
    const row = await get(agentId);
    // A worker may have it by now; the answer is what the creation made of it.
    return created === null ? row : { ...row, status: statusOf(created) };
  };

  return {
    create: async (spec, request) => {
      checkSpec(spec);
      const event: Event = { type: "AgentCreated", parent: null, ...spec, workedMs: 0 };
      const first = { atMs: clock.nowMs(), event };
      const state = fold([{ ...first, sequence: 1 }]);
      return make({ agentId: Bun.randomUUIDv7(), staged: 0, events: [first], state }, request);
    },
    fork: async (parentId, atSequence, { metadata, request }) => {
      // The parent may be gone by now; and nothing is to be copied again.
      const made = request === null ? null : await store.made(request);
      if (made !== null) return get(made);
      const head = await agents.load(parentId);
      if (atSequence > head.sequence)
        throw new EngramError(
          "invalid_argument",
          `at_sequence is ${atSequence}, but the log of ${parentId} ends at ${head.sequence}`,
        );
      const parent = atSequence === 0 ? head : await agents.at(parentId, atSequence);
      checkSpec({ ...parent.spec, metadata: { ...parent.spec.metadata, ...metadata } });
      return make(await forkOf(parts, { parentId, parent, metadata }), request);
    },
    get,
    list: (query) => store.list(query, store.nowMs()),
    remove: async (agentId, force) => {
      await store.remove(agentId, clock.nowMs(), force);
      agents.forget(agentId);
    },
    command: (agentId, command) => recordCommand(recording, agentId, command),
    stateAt: agents.at,
    follow: async (agentId, after, deltas) => {
      const { sequence } = await get(agentId);
      const from = { after: after ?? sequence, head: sequence, deltas };
      return openFollower({ store, clock, stopping: stopping.signal }, agentId, from);
    },
    exportAgent: (agentId) => piecesOf(exportAgent(parts, agentId)),
    importAgent: (pieces) => importAgent({ ...parts, agents }, linesOf(pieces)),
    sentPrompt: (agentId, number) => sentPrompt({ ...parts, agents }, agentId, number),
    tools: () => sandbox.list(),
    steps: () => ({ running: scheduler.running(), max: parts.settings.concurrency }),
    unreadiness: () => unreadinessOf(parts),
    differences: fleet.differences,
    drain: async () => {
      await scheduler.drain();
      await fleet.stop();
      stopping.abort();
    },
  };
}

async function rowOf(store: Store, agentId: string): Promise<AgentRow> {
  const row = await store.row(agentId, store.nowMs());
  if (row === null) throw new EngramError("not_found", `no agent ${agentId}`);
  return row;
}

async function unreadinessOf({ store, sandbox }: Parts): Promise<string | null> {
  try {
    await store.probe();
    await sandbox.list();
    return null;
  } catch (error) {
    return EngramError.of(error).message;
  }
}
