import { type FinalAnswer, finalAnswerTool, formatOf } from "./answer.ts";
import type { AgentSpec, Event, ModelCall, ReplyHead, Usage } from "./event.ts";

/** A model's whole answer. */
export type ModelReply = {
  readonly thinking: string;
  readonly text: string;
  readonly toolCalls: readonly { readonly name: string; readonly inputJson: string }[];
  readonly usage: Usage;
};

/** What is known of a reply's calls beside what the model wrote. */
export type Judgement = {
  /** The final answer that was found right; null: there is none. */
  readonly answer: FinalAnswer | null;
  /** Whether the tool asks for a confirmation before it runs. */
  readonly needsConfirmation: (toolName: string) => boolean;
};

/** The calls that a reply comes to: where its text has to be the answer, a text without calls is a call of final_answer. */
export const callsOf = (reply: ModelReply, spec: AgentSpec): ModelReply["toolCalls"] =>
  formatOf(spec) !== null && reply.toolCalls.length === 0
    ? [{ name: finalAnswerTool.name, inputJson: reply.text }]
    : reply.toolCalls;

/**
 * The events of a reply that is appended after `sequence`; an event whose append is moved must be made anew, since a
 * call's id is its place in the log. A right final answer ends the reply: other calls beside it are not run.
 */
export function replyEvents(
  reply: ModelReply,
  call: ModelCall,
  sequence: number,
  { answer, needsConfirmation }: Judgement,
): readonly Event[] {
  const events: Event[] = [];
  const head = (): ReplyHead | null => (events.length === 0 ? { call, usage: reply.usage } : null);
  if (reply.thinking !== "")
    events.push({ type: "ModelThought", head: head(), content: reply.thinking });
  if (reply.text !== "") events.push({ type: "ModelSpoke", head: head(), content: reply.text });
  if (answer !== null) {
    events.push({ type: "FinalAnswered", head: head(), ...answer });
    return events;
  }
  for (const { name, inputJson } of reply.toolCalls)
    events.push({
      type: "ToolRequested",
      head: head(),
      callId: `call_${sequence + events.length + 1}`,
      name,
      inputJson,
      requiresConfirmation: name !== finalAnswerTool.name && needsConfirmation(name),
    });
  return events;
}
