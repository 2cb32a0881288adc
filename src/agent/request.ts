import { condensingPrompt } from "./context.ts";
import { formatOf } from "./answer.ts";
import type { ModelAbilities, ModelCall, ToolDefinition } from "./event.ts";
import type { JsonObject } from "./json.ts";
import { buildPrompt, type PromptMessage } from "./prompt.ts";
import type { AgentState } from "./state.ts";
import { toolsInWords } from "./text-tools.ts";

/** What one call asks. Where the last message is the assistant's, the model continues it, without thinking anew. */
export type ModelRequest = {
  readonly model: string;
  readonly messages: readonly PromptMessage[];
  readonly tools: readonly ToolDefinition[];
  /** null: the server's default. */
  readonly temperature: number | null;
  readonly thinking: boolean;
  /** Room for prompt and reply together, as the server told of the model; null: not known. */
  readonly contextTokens: number | null;
  /** JSON Schema that the whole answer has to satisfy, for the server to enforce; null: free text. */
  readonly format: JsonObject | null;
  /** false: the server is not asked for its count of tokens, which it would refuse. Absent: it is. */
  readonly usage?: boolean;
};

/** Of calls that were made before it was asked, and of servers that do not say. */
export const abilitiesUnknown: ModelAbilities = {
  tools: true,
  thinking: true,
  contextTokens: null,
};

/**
 * What `call` sends: a pure function of the log up to where the call was made, and of the call. `partial` is the
 * beginning of an answer to go on with; empty: none.
 */
export function requestOf(state: AgentState, call: ModelCall, partial: string): ModelRequest {
  const { spec } = state;
  const { thinking, contextTokens, format = true, usage } = call.abilities ?? abilitiesUnknown;
  return {
    model: spec.model,
    messages: buildPrompt(state, call, partial),
    tools: toolsInWords(state, call).length > 0 ? [] : (call.tools ?? state.offeredTools),
    temperature: spec.config.temperature,
    // A partial answer was in mid-text: its thinking is over.
    thinking: spec.config.enableThinking && thinking && partial.trimEnd() === "",
    contextTokens,
    format: format ? formatOf(spec) : null,
    ...(usage === undefined ? {} : { usage }),
  };
}

/** What `call` sends to have the first `items` of the transcript condensed: a pure function as well. */
export function condensingRequestOf(
  state: AgentState,
  { abilities }: ModelCall,
  items: number,
): ModelRequest {
  const { spec, reach } = state;
  // As for answers: a server may load the model anew for another room.
  const { contextTokens, usage } = abilities ?? { contextTokens: reach.told };
  return {
    model: spec.model,
    messages: condensingPrompt(state, items),
    tools: [],
    temperature: spec.config.temperature,
    thinking: false,
    contextTokens,
    format: null,
    ...(usage === undefined ? {} : { usage }),
  };
}
