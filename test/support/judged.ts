import { readAnswer } from "../../src/agent/answer.ts";
import type { AgentSpec } from "../../src/agent/event.ts";
import type { Judgement, ModelReply } from "../../src/agent/reply.ts";
import { plainSpec } from "./events.ts";

/** What is known of a reply whose calls are these, where the agent has no schema. */
export function judged(
  toolCalls: ModelReply["toolCalls"],
  needsConfirmation: Judgement["needsConfirmation"] = () => false,
  spec: AgentSpec = plainSpec,
): Judgement {
  const answers = toolCalls
    .filter(({ name }) => name === "final_answer")
    .map(({ inputJson }) => readAnswer(spec, inputJson).answer);
  return { answer: answers.find((answer) => answer !== null) ?? null, needsConfirmation };
}
