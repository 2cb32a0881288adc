import { finalAnswerTool, type FinalAnswer, type ReadAnswer, readAnswer } from "../agent/answer.ts";
import type { AgentSpec } from "../agent/event.ts";
import { callsOf, type ModelReply } from "../agent/reply.ts";
import { EngramError } from "../errors.ts";
import type { Sandbox } from "../sandbox/sandbox.ts";

/**
 * What a final answer comes to by the agent's spec: `input` is that of a call of final_answer, or the text that stands for
 * it. The same each time, but for a check that takes too long, which is a fault too. Throws as the sandbox's check.
 */
export async function judge(
  sandbox: Sandbox,
  { spec, input }: { readonly spec: AgentSpec; readonly input: string },
  signal: AbortSignal,
): Promise<ReadAnswer> {
  const read = readAnswer(spec, input);
  const { responseSchema } = spec.config;
  const structured = read.answer?.structured ?? null;
  if (responseSchema === null || structured === null) return read;
  const fault = await sandbox.check(structured, responseSchema, signal);
  return fault === null ? read : { answer: null, fault };
}

type Judged = Pick<ModelReply, "toolCalls"> & {
  /** The first right one; null: there is none. */
  readonly answer: FinalAnswer | null;
};

/**
 * What a reply's calls are by a spec, and its final answer. Asked again with the same spec it does not check again: a check
 * takes a while, in which clients may write on and on.
 */
export function makeJudge(
  sandbox: Sandbox,
  reply: ModelReply,
  signal: AbortSignal,
): (spec: AgentSpec) => Promise<Judged> {
  let last: { readonly spec: AgentSpec; readonly judged: Judged } | null = null;
  return async (spec) => {
    if (last?.spec === spec) return last.judged;
    const toolCalls = callsOf(reply, spec);
    const judged = { toolCalls, answer: await rightAnswer(sandbox, { spec, toolCalls }, signal) };
    last = { spec, judged };
    return judged;
  };
}

async function rightAnswer(
  sandbox: Sandbox,
  on: { readonly spec: AgentSpec; readonly toolCalls: ModelReply["toolCalls"] },
  signal: AbortSignal,
): Promise<FinalAnswer | null> {
  try {
    for (const { name, inputJson } of on.toolCalls) {
      if (name !== finalAnswerTool.name) continue;
      const { answer } = await judge(sandbox, { spec: on.spec, input: inputJson }, signal);
      if (answer !== null) return answer;
    }
  } catch (error) {
    // Nothing can be checked just now. As a call that waits for its result the answer is kept, and no model asked again.
    if (signal.aborted || !(error instanceof EngramError)) throw error;
  }
  return null;
}
