import type { AgentSpec } from "./event.ts";
import type { AgentState, Stats, Status } from "./state.ts";

/** What listings show of an agent; derived from its log. */
export type AgentRow = {
  readonly agentId: string;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
  /** With `processing` for a waiting_for_step that is leased just now. */
  readonly status: Status;
  readonly reason: string;
  readonly sequence: number;
  readonly stats: Stats;
  readonly spec: AgentSpec;
  readonly parent: AgentState["parent"];
};
