import { finalAnswerTool } from "../agent/answer.ts";
import type { Action } from "../agent/decide.ts";
import type { AgentSpec, Event, ToolErrorCode } from "../agent/event.ts";
import type { AgentState, PendingCall } from "../agent/state.ts";
import { type Toolbox, toolboxOf } from "../agent/toolbox.ts";
import { Interrupt } from "./interrupts.ts";
import type { Sandbox } from "../sandbox/sandbox.ts";
import { judge } from "./judge.ts";
import type { Parts } from "./parts.ts";
import { record, type Step } from "./step.ts";

/** Without tools and without a schema, an agent ends no goal. */
const takesAnswers = ({ config }: AgentSpec): boolean =>
  !config.noTools || config.responseSchema !== null;

/** A final answer that has become a call was wrong, or could not be checked. */
async function answerRefusal(
  sandbox: Sandbox,
  on: { readonly spec: AgentSpec; readonly input: string },
  signal: AbortSignal,
): Promise<{ readonly code: ToolErrorCode; readonly message: string }> {
  const { fault } = await judge(sandbox, on, signal);
  const message =
    fault ?? "the answer could not be taken when it came, but is right now: give it again";
  return { code: "TOOL_INVALID_INPUT", message };
}

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
      name !== finalAnswerTool.name &&
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
  const { spec } = job.state;
  const isAnswer = name === finalAnswerTool.name && takesAnswers(spec);
  const refusal = isAnswer
    ? await answerRefusal(sandbox, { spec, input: inputJson }, signal)
    : job.toolbox.refusal(name);
  const outcome =
    refusal === null
      ? await sandbox.run(
          {
            name,
            inputJson,
            parameters: job.toolbox.parametersOf(name),
            limits: spec.config.toolLimits,
          },
          signal,
        )
      : { output: "", error: refusal, fuelUsed: 0, memoryBytes: 0, durationMs: 0 };
  return { type: "ToolReturned", callId, ...outcome };
}
