import type { LoggedEvent } from "../agent/event.ts";
import type { AgentRow } from "../agent/row.ts";

/** Whether an event is shown with the engine's notes to who reads on from `row`. Given all events in their order. */
export type Observed = (logged: LoggedEvent) => boolean;

/** What was edited before the row was read stands in it; what is edited later comes by in the log. */
export function makeObserved({ spec, sequence: head }: AgentRow): Observed {
  let { enableObservation } = spec.config;
  return ({ sequence, event }) => {
    if (event.type === "AgentEdited" && sequence > head)
      ({ enableObservation } = event.spec.config);
    return enableObservation;
  };
}
