import type { JsonObject } from "../../agent/json.ts";
import type { ModelRequest } from "../../agent/request.ts";
import type { Refusal } from "./failure.ts";
import { modelServerLimits } from "../server-limits.ts";

/** What of requests the models of a server were found not to take. */
export type Refusals = {
  readonly has: (part: Refusal, model: string) => boolean;
  /** Which of the parts that a server's words point at was in the request; null: none. */
  readonly partOf: (request: ModelRequest, refused: readonly Refusal[]) => Refusal | null;
  readonly remember: (part: Refusal, model: string) => void;
};

/** What a model does not take, and what follows. */
export const refusalText: Readonly<Record<Refusal, string>> = {
  thinking: "does not take reasoning_effort and is asked without",
  usage: "does not take stream_options and is asked without: its tokens may be estimates",
  format: "does not take response_format and is asked without",
  tools: "does not take definitions of tools and is offered them as text",
};

/** A memory of refusals that begins empty. What LLM_OPTIONS (`options`) ask for is never left out. */
export const makeRefusals = (options: JsonObject, log: (line: string) => void): Refusals => {
  const models: Readonly<Record<Refusal, Set<string>>> = {
    thinking: new Set(),
    usage: new Set(),
    format: new Set(),
    tools: new Set(),
  };
  const has = (part: Refusal, model: string): boolean => models[part].has(model);
  return {
    has,
    partOf: ({ thinking, format, tools, usage = true }, refused) => {
      const sent: Readonly<Record<Refusal, boolean>> = {
        thinking: thinking && options["reasoning_effort"] === undefined,
        usage: usage && options["stream_options"] === undefined,
        format: format !== null,
        tools: tools.length > 0,
      };
      return refused.find((part) => sent[part]) ?? null;
    },
    remember: (part, model) => {
      const known = models[part];
      if (!known.has(model)) log(`the model "${model}" ${refusalText[part]}`);
      if (known.size >= modelServerLimits.modelsRememberedMax) known.clear();
      known.add(model);
    },
  };
};
