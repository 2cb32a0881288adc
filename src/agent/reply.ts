import type { Event, ModelCall, ReplyHead, Usage } from "./event.ts";
import { isJsonObject, isTooDeep, type JsonObject, type JsonValue } from "./json.ts";

/** A model's whole answer. */
export type ModelReply = {
  readonly thinking: string;
  readonly text: string;
  readonly toolCalls: readonly { readonly name: string; readonly inputJson: string }[];
  readonly usage: Usage;
};

/** The built-in tool by which a model ends its goal. */
export const finalAnswerTool = {
  name: "final_answer",
  description:
    "Ends the goal with its final answer. Call it only when the goal is reached or cannot be; for anything else answer in plain text.",
  parameters: {
    type: "object",
    properties: {
      content: { type: "string", description: "The answer, for a human reader." },
      structured: { type: "object", description: "The answer as data." },
    },
    required: ["content"],
  },
} as const;

/** Whether the tool asks for a confirmation before it runs. */
export type NeedsConfirmation = (toolName: string) => boolean;

/**
 * The events of a reply that is appended after `sequence`; an event whose append is moved must be made anew, since a
 * call's id is its place in the log. A valid final answer ends the reply: other calls beside it are not run.
 */
export function replyEvents(
  reply: ModelReply,
  call: ModelCall,
  sequence: number,
  needsConfirmation: NeedsConfirmation,
): readonly Event[] {
  const events: Event[] = [];
  const head = (): ReplyHead | null => (events.length === 0 ? { call, usage: reply.usage } : null);
  if (reply.thinking !== "")
    events.push({ type: "ModelThought", head: head(), content: reply.thinking });
  if (reply.text !== "") events.push({ type: "ModelSpoke", head: head(), content: reply.text });
  const final = reply.toolCalls.map(finalAnswerOf).find((answer) => answer !== null);
  if (final !== undefined) {
    events.push({ type: "FinalAnswered", head: head(), ...final });
    return events;
  }
  for (const { name, inputJson } of reply.toolCalls)
    events.push({
      type: "ToolRequested",
      head: head(),
      callId: `call_${sequence + events.length + 1}`,
      name,
      inputJson,
      requiresConfirmation: needsConfirmation(name),
    });
  return events;
}

type FinalAnswer = { readonly content: string; readonly structured: JsonObject | null };

/** null: another tool's call, or one that does not fit; the model is then told by an error result. */
function finalAnswerOf(call: { name: string; inputJson: string }): FinalAnswer | null {
  if (call.name !== finalAnswerTool.name) return null;
  const input = parsed(call.inputJson);
  if (!isJsonObject(input) || typeof input["content"] !== "string") return null;
  const structured = input["structured"] ?? null;
  if (structured !== null && (!isJsonObject(structured) || isTooDeep(structured))) return null;
  return { content: input["content"], structured };
}

function parsed(json: string): JsonValue {
  try {
    return JSON.parse(json);
  } catch {
    return null;
  }
}
