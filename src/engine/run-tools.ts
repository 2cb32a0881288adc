import type { Action } from "../agent/decide.ts";
import type { Event } from "../agent/event.ts";
import type { AgentState, PendingCall } from "../agent/state.ts";
import { type Toolbox, toolboxOf } from "../agent/toolbox.ts";
import { Interrupt } from "./interrupts.ts";
import type { Parts } from "./parts.ts";
import { record, type Step } from "./step.ts";

/**
 * Runs all calls at once; each result is appended as it comes, and none outlives the step. True when the lease was let go
 * of with the last.
 */
export async function runTools(
  step: Step,
  { calls }: Extract<Action, { readonly type: "RunTools" }>,
  signal: AbortSignal,
): Promise<boolean> {
  const { parts, state } = step;
  const files = await parts.sandbox.list();
  const toolbox = toolboxOf(state.spec, files);
  for (const { name } of calls)
    if (
      toolbox.refusal(name) === null &&
      !files.some((file) => file.name === name) &&
      (await parts.fleet.hasElsewhere(name))
    )
      throw new Interrupt("elsewhere");
  const ended = new AbortController();
  const either = AbortSignal.any([signal, ended.signal]);
  const running = new Map(
    calls.map((call) => [call.callId, runTool(parts, { state, toolbox, call }, either)]),
  );
  let done = false;
  try {
    while (running.size > 0) {
      const event = await Promise.race(running.values());
      running.delete(event.callId);
      done = await record(step, () => [event]);
    }
  } finally {
    // Calls are left only where the step has failed or was stopped: their outcome is nobody's.
    ended.abort(new Interrupt("stopped"));
    await Promise.allSettled(running.values());
  }
  return done;
}

async function runTool(
  { sandbox }: Parts,
  job: { readonly state: AgentState; readonly toolbox: Toolbox; readonly call: PendingCall },
  signal: AbortSignal,
): Promise<Event & { readonly type: "ToolReturned" }> {
  const { callId, name, inputJson } = job.call;
  const refusal = job.toolbox.refusal(name);
  const outcome =
    refusal === null
      ? await sandbox.run(
          {
            name,
            inputJson,
            parameters: job.toolbox.parametersOf(name),
            limits: job.state.spec.config.toolLimits,
          },
          signal,
        )
      : { output: "", error: refusal, fuelUsed: 0, memoryBytes: 0, durationMs: 0 };
  return { type: "ToolReturned", callId, ...outcome };
}
