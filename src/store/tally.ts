import type { Status } from "../agent/state.ts";

/** A count for each status, to be added to. */
export const noAgents = (): Record<Status, number> => ({
  waiting_for_step: 0,
  processing: 0,
  waiting_for_input: 0,
  waiting_for_confirmation: 0,
  paused: 0,
  completed: 0,
  failed: 0,
  canceled: 0,
});
