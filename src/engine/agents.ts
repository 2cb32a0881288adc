import { setImmediate as nextTurnOfTheLoop } from "node:timers/promises";
import { fold } from "../agent/fold.ts";
import { type AgentState, conversationChars } from "../agent/state.ts";
import { EngramError } from "../errors.ts";
import { engineLimits } from "../limits.ts";
import type { Store } from "../store/store.ts";

/** The states of agents, each brought up to its log when it is asked for. */
export interface Agents {
  /** The state at the head. Fails with not_found, corrupt or unavailable. */
  load(agentId: string): Promise<AgentState>;
  /** The state as it was behind event `sequence`. Fails like load, and with not_found where there is no such event. */
  at(agentId: string, sequence: number): Promise<AgentState>;
  /** Keeps a state that was recorded here at `recordedMs` of the store's time; `snapshot`: it is in the store too. */
  keep(
    agentId: string,
    state: AgentState,
    how: { readonly snapshot: boolean; readonly recordedMs: number },
  ): void;
  /** When the newest event was recorded, in the store's time; null: that is not event `sequence`, or not from here. */
  recordedMs(agentId: string, sequence: number): number | null;
  /**
   * Whether the log has grown enough since the last snapshot that `state` should be one: by half of what the state holds,
   * so that all snapshots together cost about twice the log at most, and a load reads no more than about a state. A large
   * state is never one: it is folded from its log, page by page.
   */
  snapshotDue(agentId: string, state: AgentState): boolean;
  forget(agentId: string): void;
}

type Kept = {
  readonly state: AgentState;
  readonly snapshot: Snapshot;
  readonly recordedMs: number | null;
};

/** Of the snapshot in the store: its place, and about how long it is; 0: there is none. */
type Snapshot = { readonly sequence: number; readonly chars: number };

const none: Snapshot = { sequence: 0, chars: 0 };

export function makeAgents(store: Store): Agents {
  const cache = makeCache();
  const load = async (agentId: string): Promise<AgentState> => {
    const kept = cache.get(agentId);
    const { state: known, snapshot } = kept ?? (await saved(store, agentId));
    let state = known;
    for (;;) {
      let page;
      try {
        page = await store.read(agentId, state?.sequence ?? 0, state?.updatedAtMs);
      } catch (error) {
        cache.forget(agentId);
        // What was kept is of a life that has ended: the agent was deleted, and brought back through another engine.
        if (kept !== undefined && EngramError.of(error).code === "conflict") return load(agentId);
        throw error;
      }
      if (page.length > 0) state = fold(page, state);
      else if (state === null) throw new EngramError("corrupt", `agent ${agentId} has no log`);
      else break;
      // But for the one event that another has appended: a page may be a single large one.
      if (state.sequence - (kept?.state.sequence ?? 0) > 1) await nextTurnOfTheLoop();
    }
    cache.keep(agentId, { state, snapshot, recordedMs: null });
    return state;
  };
  const snapshotOf = (agentId: string): Snapshot => cache.get(agentId)?.snapshot ?? none;

  return {
    load,
    at: async (agentId, sequence) => {
      const head = await load(agentId);
      if (head.sequence === sequence) return head;
      if (sequence < 1 || sequence > head.sequence)
        throw new EngramError(
          "not_found",
          `agent ${agentId} has no event ${sequence}; its log goes from 1 to ${head.sequence}`,
        );
      return stateAt(store, agentId, sequence);
    },
    keep: (agentId, state, { snapshot, recordedMs }) =>
      cache.keep(agentId, { state, snapshot: snapshot ? placed(state) : none, recordedMs }),
    recordedMs: (agentId, sequence) => {
      const entry = cache.get(agentId);
      return entry?.state.sequence === sequence ? entry.recordedMs : null;
    },
    snapshotDue: (agentId, state) => {
      const last = snapshotOf(agentId);
      const events = state.sequence - last.sequence;
      if (events < engineLimits.snapshotEventsMin) return false;
      const chars = charsOf(state);
      if (chars > engineLimits.snapshotCharsMax) return false;
      const grown = Math.max(events * engineLimits.eventCharsLeast, chars - last.chars);
      return grown >= chars / 2;
    },
    forget: cache.forget,
  };
}

async function saved(
  store: Store,
  agentId: string,
): Promise<{ readonly state: AgentState | null; readonly snapshot: Snapshot }> {
  const state = await store.snapshot(agentId);
  return { state, snapshot: state === null ? none : placed(state) };
}

const placed = (state: AgentState): Snapshot => ({
  sequence: state.sequence,
  chars: charsOf(state),
});

/** About how long a state is as a snapshot; of one that is too long for that no more than so. */
function charsOf(state: AgentState): number {
  const { spec, offeredTools } = state;
  let chars = spec.goal.length + spec.systemPrompt.length + conversationChars(state);
  if (chars > engineLimits.snapshotCharsMax) return chars;
  for (const { description, parameters } of [...spec.tools, ...offeredTools])
    chars += description.length + JSON.stringify(parameters).length;
  return chars;
}

/** The state behind an event of the past, which is in the log. */
async function stateAt(store: Store, agentId: string, sequence: number): Promise<AgentState> {
  const { state: newest } = await saved(store, agentId);
  let state = newest !== null && newest.sequence <= sequence ? newest : null;
  while (state === null || state.sequence < sequence) {
    const page = await store.read(agentId, state?.sequence ?? 0);
    state = fold(
      page.filter((logged) => logged.sequence <= sequence),
      state,
    );
    await nextTurnOfTheLoop();
  }
  return state;
}

/** The states used last, bounded in number and in what they hold. */
function makeCache() {
  /** In the order of their last use. */
  const kept = new Map<string, Kept & { readonly chars: number }>();
  let chars = 0;
  const forget = (agentId: string): void => {
    chars -= kept.get(agentId)?.chars ?? 0;
    kept.delete(agentId);
  };
  return {
    get: (agentId: string): Kept | undefined => kept.get(agentId),
    /** Of states the later in the log is kept, of snapshots the newer. */
    keep: (agentId: string, given: Kept): void => {
      const entry = joined(kept.get(agentId), given);
      forget(agentId);
      const held = conversationChars(entry.state);
      kept.set(agentId, { ...entry, chars: held });
      chars += held;
      for (const oldest of kept.keys()) {
        if (kept.size <= engineLimits.statesMax && chars <= engineLimits.stateCharsMax) break;
        if (oldest !== agentId) forget(oldest);
      }
    },
    forget,
  };
}

function joined(before: Kept | undefined, given: Kept): Kept {
  if (before === undefined) return given;
  const snapshot =
    before.snapshot.sequence > given.snapshot.sequence ? before.snapshot : given.snapshot;
  const { sequence } = before.state;
  if (sequence > given.state.sequence) return { ...before, snapshot };
  const recordedMs =
    given.recordedMs ?? (sequence === given.state.sequence ? before.recordedMs : null);
  return { state: given.state, snapshot, recordedMs };
}
