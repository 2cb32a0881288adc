import type { Usage } from "../../src/agent/event.ts";
import type { PromptMessage } from "../../src/agent/prompt.ts";
import type { ModelRequest } from "../../src/agent/request.ts";
import type { Model } from "../../src/llm/model.ts";

export type Collected = {
  text: string;
  thinking: string;
  calls: { name: string; inputJson: string }[];
  usage: Usage | null;
  /** What the call threw; undefined: nothing. */
  error: unknown;
};

/** Reads a reply to its end or failure. */
export const collect = async (
  model: Model,
  request: ModelRequest,
  signal = new AbortController().signal,
): Promise<Collected> => {
  const all: Collected = { text: "", thinking: "", calls: [], usage: null, error: undefined };
  try {
    for await (const piece of model.call(request, signal)) {
      if (all.usage !== null) throw new Error("a piece after done");
      if (piece.kind === "text") all.text += piece.text;
      else if (piece.kind === "thinking") all.thinking += piece.text;
      else if (piece.kind === "toolCall")
        all.calls.push({ name: piece.name, inputJson: piece.inputJson });
      else all.usage = piece.usage;
    }
  } catch (error) {
    all.error = error;
  }
  return all;
};

export const user = (content: string): PromptMessage => ({ role: "user", content, images: [] });

export const assistant = (content: string, ...tools: string[]): PromptMessage => ({
  role: "assistant",
  content,
  toolCalls: tools.map((name) => ({ callId: `id-${name}`, name, input: {} })),
});

export const result = (name: string, content: string): PromptMessage => ({
  role: "tool",
  callId: `id-${name}`,
  name,
  content,
});

/** A request without tools or thinking, but for `more`. */
export const asking = (
  messages: readonly PromptMessage[],
  more: Partial<ModelRequest> = {},
): ModelRequest => ({
  model: "qwen3",
  messages,
  tools: [],
  temperature: null,
  thinking: false,
  contextTokens: null,
  format: null,
  ...more,
});

export const toolNamed = (name: string, key = "input"): ModelRequest["tools"][number] => ({
  name,
  description: `the ${name}`,
  parameters: { type: "object", properties: { [key]: { type: "string" } }, required: [key] },
});
