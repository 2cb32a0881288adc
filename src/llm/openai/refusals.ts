import type { JsonObject } from "../../agent/json.ts";
import type { ModelRequest } from "../../agent/request.ts";
import type { Clock } from "../../clock.ts";
import type { Refusal } from "./failure.ts";
import { modelServerLimits } from "../server-limits.ts";

/** What of requests the models of a server were found not to take, of late. */
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

type Means = {
  /** LLM_OPTIONS: what they ask for is never left out. */
  readonly options: JsonObject;
  readonly clock: Clock;
  readonly log: (line: string) => void;
};

/** A memory of refusals that begins empty, and forgets each after a while. */
export const makeRefusals = ({ options, clock, log }: Means): Refusals => {
  const { modelsRememberedMax, refusalsKeptMs } = modelServerLimits;
  /** Until when each model is taken not to take it. */
  const models: Readonly<Record<Refusal, Map<string, number>>> = {
    thinking: new Map(),
    usage: new Map(),
    format: new Map(),
    tools: new Map(),
  };
  const has = (part: Refusal, model: string): boolean =>
    clock.monotonicMs() < (models[part].get(model) ?? 0);
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
      if (!has(part, model)) log(`the model "${model}" ${refusalText[part]}`);
      if (known.size >= modelsRememberedMax && !known.has(model)) known.clear();
      known.set(model, clock.monotonicMs() + refusalsKeptMs);
    },
  };
};
