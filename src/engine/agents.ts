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
  /** Keeps a state that was folded elsewhere. */
  keep(agentId: string, state: AgentState): void;
  forget(agentId: string): void;
}

export function makeAgents(store: Store): Agents {
  /** In the order of their last use. */
  const kept = new Map<string, AgentState>();
  let items = 0;

  const forget = (agentId: string): void => {
    items -= kept.get(agentId)?.transcript.length ?? 0;
    kept.delete(agentId);
  };
  const keep = (agentId: string, state: AgentState): void => {
    if ((kept.get(agentId)?.sequence ?? 0) > state.sequence) return;
    forget(agentId);
    kept.set(agentId, state);
    items += state.transcript.length;
    for (const oldest of kept.keys()) {
      if (kept.size <= engineLimits.statesMax && items <= engineLimits.stateItemsMax) break;
      if (oldest !== agentId) forget(oldest);
    }
  };
  const load = async (agentId: string): Promise<AgentState> => {
    let state = kept.get(agentId) ?? null;
    for (;;) {
      let page;
      try {
        page = await store.read(agentId, state?.sequence ?? 0);
      } catch (error) {
        forget(agentId);
        throw error;
      }
      if (page.length > 0) state = fold(page, state);
      else if (state === null) throw new EngramError("corrupt", `agent ${agentId} has no log`);
      else break;
      if (page.length > 1) await nextTurnOfTheLoop();
    }
    keep(agentId, state);
    return state;
  };

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
      let state: AgentState | null = null;
      while ((state?.sequence ?? 0) < sequence) {
        const page = await store.read(agentId, state?.sequence ?? 0);
        state = fold(
          page.filter((logged) => logged.sequence <= sequence),
          state,
        );
        await nextTurnOfTheLoop();
      }
      return state ?? head;
    },
    keep,
    forget,
  };
}
