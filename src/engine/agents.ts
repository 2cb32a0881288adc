import { setImmediate as nextTurnOfTheLoop } from "node:timers/promises";
import { fold } from "../agent/fold.ts";
import type { AgentState } from "../agent/state.ts";
import { EngramError } from "../errors.ts";
import { engineLimits } from "../limits.ts";
import type { Store } from "../store/store.ts";

/** The states of agents, each brought up to its log when it is asked for. */
export interface Agents {
  /** The state at the head. Fails with not_found, corrupt or unavailable. */
  load(agentId: string): Promise<AgentState>;
  /** The state as it was behind event `sequence`. Fails like load, and with not_found where there is no such event. */
  at(agentId: string, sequence: number): Promise<AgentState>;
  /** Keeps a state that was folded elsewhere; `snapshot`: it is in the store too. */
  keep(agentId: string, state: AgentState, snapshot: boolean): void;
  /**
   * Whether the log has grown enough since the last snapshot that `state` should be one: as many events as half of what
   * the state holds, so that all snapshots together cost no more than the log, and a load never folds more than that.
   */
  snapshotDue(agentId: string, state: AgentState): boolean;
  forget(agentId: string): void;
}

type Kept = {
  readonly state: AgentState;
  /** The sequence of the snapshot in the store; 0: none. */
  readonly snapshotAt: number;
};

export function makeAgents(store: Store): Agents {
  const cache = makeCache();
  const load = async (agentId: string): Promise<AgentState> => {
    const { state: known, snapshotAt } = cache.get(agentId) ?? (await saved(store, agentId));
    let state = known;
    for (;;) {
      let page;
      try {
        page = await store.read(agentId, state?.sequence ?? 0);
      } catch (error) {
        cache.forget(agentId);
        throw error;
      }
      if (page.length > 0) state = fold(page, state);
      else if (state === null) throw new EngramError("corrupt", `agent ${agentId} has no log`);
      else break;
      if (page.length > 1) await nextTurnOfTheLoop();
    }
    cache.keep(agentId, { state, snapshotAt });
    return state;
  };
  const snapshotAt = (agentId: string): number => cache.get(agentId)?.snapshotAt ?? 0;

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
    keep: (agentId, state, snapshot) =>
      cache.keep(agentId, { state, snapshotAt: snapshot ? state.sequence : snapshotAt(agentId) }),
    snapshotDue: (agentId, { sequence, transcript }) =>
      sequence - snapshotAt(agentId) >=
      Math.max(engineLimits.snapshotEventsMin, transcript.length / 2),
    forget: cache.forget,
  };
}

async function saved(
  store: Store,
  agentId: string,
): Promise<{ readonly state: AgentState | null; readonly snapshotAt: number }> {
  const state = await store.snapshot(agentId);
  return { state, snapshotAt: state?.sequence ?? 0 };
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
  const kept = new Map<string, Kept>();
  let items = 0;
  const forget = (agentId: string): void => {
    items -= kept.get(agentId)?.state.transcript.length ?? 0;
    kept.delete(agentId);
  };
  return {
    get: (agentId: string): Kept | undefined => kept.get(agentId),
    /** A state of earlier in the log is not taken. */
    keep: (agentId: string, entry: Kept): void => {
      if ((kept.get(agentId)?.state.sequence ?? 0) > entry.state.sequence) return;
      forget(agentId);
      kept.set(agentId, entry);
      items += entry.state.transcript.length;
      for (const oldest of kept.keys()) {
        if (kept.size <= engineLimits.statesMax && items <= engineLimits.stateItemsMax) break;
        if (oldest !== agentId) forget(oldest);
      }
    },
    forget,
  };
}
