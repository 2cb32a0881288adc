import type { ToolOutcome } from "../../src/agent/event.ts";
import type { ToolFile } from "../../src/agent/toolbox.ts";
import { checkAnswer } from "../../src/sandbox/input.ts";
import type { Sandbox, ToolCall } from "../../src/sandbox/sandbox.ts";
import { outcome } from "./events.ts";
import { turn, unlessAborted } from "./played-model.ts";

export type PlayedSandbox = Sandbox & {
  /** Each call as it began. */
  readonly calls: ToolCall[];
};

/** A tool file as the folder would have it. */
export const fileOf = (name: string): ToolFile => ({
  name,
  description: `the ${name}`,
  parameters: { type: "object" },
  requiresConfirmation: name === "risky",
  sha256: "00",
  sizeBytes: 1,
  limits: { fuel: 1, memoryBytes: 1, timeoutMs: 1, outputBytesMax: 1 },
  error: null,
});

/** A sandbox with the tools `echo` and, to be confirmed, `risky`; both put out their input, or what `run` says. */
export function makePlayedSandbox(
  run: (call: ToolCall, signal: AbortSignal) => Promise<Partial<ToolOutcome>> = async () => ({}),
): PlayedSandbox {
  const calls: ToolCall[] = [];
  return {
    calls,
    list: async () => ["echo", "risky"].map(fileOf),
    run: async (call, signal) => {
      signal.throwIfAborted();
      calls.push(call);
      await turn();
      const over = await unlessAborted(run(call, signal), signal);
      return { ...outcome, output: call.inputJson, ...over };
    },
    check: async (value, schema, signal) => {
      signal.throwIfAborted();
      await turn();
      return checkAnswer(value, schema);
    },
    close: async () => {},
  };
}
