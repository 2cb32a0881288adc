import type { ToolLimits, ToolOutcome } from "../agent/event.ts";
import type { JsonObject } from "../agent/json.ts";
import type { ToolFile } from "../agent/toolbox.ts";

export type ToolCall = {
  readonly name: string;
  /** As the model wrote it; checked here. */
  readonly inputJson: string;
  /** The schema that the agent's client gave in place of the tool's own; null: the tool's own. */
  readonly parameters: JsonObject | null;
  /** 0 in a field: the tool's, else the engine's default. Larger ones are cut to the ceilings of limits.ts. */
  readonly limits: ToolLimits;
};

/** Runs tools so that none can harm the engine, another tool or the machine. */
export interface Sandbox {
  /** The tools folder as it is now, by name. */
  list(): Promise<readonly ToolFile[]>;
  /**
   * Runs one call to its end. Whatever the tool does comes back as an outcome, never as an exception; only the
   * abort of `signal` throws (its reason), after the child was killed, a closed sandbox or one that can start no
   * child (unavailable), and too many calls that wait (resource_exhausted). Unlike the rest, `fuelUsed` of a call that
   * was killed (by time or memory) is 0, for nobody can tell.
   */
  run(call: ToolCall, signal: AbortSignal): Promise<ToolOutcome>;
  /**
   * What is wrong with a value by a JSON Schema, in words for who wrote it; null: nothing. A check that takes too much time
   * or memory is a fault that says so. Throws as `run`.
   */
  check(value: JsonObject, schema: JsonObject, signal: AbortSignal): Promise<string | null>;
  /** Kills the children; runs under way end as unavailable. */
  close(): Promise<void>;
}
