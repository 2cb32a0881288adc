import type { ModelAbilities } from "../../agent/event.ts";
import { isJsonObject } from "../../agent/json.ts";
import { abilitiesUnknown } from "../../agent/request.ts";
import { EngramError, messageOf } from "../../errors.ts";
import { openExchange, type OllamaSettings } from "./exchange.ts";
import type { Lacking } from "./failure.ts";
import { contextTokensOf } from "./wire.ts";
import { modelServerLimits } from "../server-limits.ts";
import { unlessAborted } from "../watch.ts";

/** What is known of the models of a server. */
export type AbilityBook = {
  /** Asks the server where it is not known; those who ask at once share one request. Throws `signal`'s reason only. */
  readonly of: (model: string, signal: AbortSignal) => Promise<ModelAbilities>;
  /** Takes it that the model lacks something, whatever was known. */
  readonly refused: (model: string, lacking: Lacking) => void;
};

type Known = { readonly abilities: ModelAbilities; readonly untilMs: number };

/** What an answer of /api/show says; servers of before `capabilities` say no more than how much the model reads. */
const abilitiesIn = (shown: unknown): ModelAbilities => {
  const { capabilities, model_info: info } = isJsonObject(shown) ? shown : {};
  const can = (what: string): boolean =>
    !Array.isArray(capabilities) || capabilities.includes(what);
  const family = isJsonObject(info) ? info["general.architecture"] : undefined;
  const tokens =
    isJsonObject(info) && typeof family === "string" ? info[`${family}.context_length`] : undefined;
  const isCount = typeof tokens === "number" && Number.isSafeInteger(tokens) && tokens > 0;
  return {
    tools: can("tools"),
    thinking: can("thinking"),
    contextTokens: isCount ? tokens : null,
  };
};

/** A question that goes on while anybody waits for its answer. */
type Question<T> = { readonly answer: Promise<T>; readonly stop: AbortController; askers: number };

/** Has those who ask for the same at once share one question. `ask` never rejects. */
const makeShared = <T>(ask: (key: string, stop: AbortController) => Promise<T>) => {
  const open = new Map<string, Question<T>>();
  const begin = (key: string): Question<T> => {
    const stop = new AbortController();
    const question = { answer: ask(key, stop), stop, askers: 0 };
    open.set(key, question);
    return question;
  };
  return async (key: string, signal: AbortSignal): Promise<T> => {
    const question = open.get(key) ?? begin(key);
    question.askers++;
    try {
      return await unlessAborted(question.answer, signal);
    } finally {
      if (--question.askers === 0) {
        open.delete(key);
        question.stop.abort(unwanted);
      }
    }
  };
};

const unwanted = new Error("nobody waits for the answer");

/**
 * Finds out by /api/show what models can do. A server that does not say, or not in time, is taken to support all, until
 * it refuses something; what was known before is taken on then.
 */
export const makeAbilityBook = (settings: OllamaSettings): AbilityBook => {
  const { clock, options, log } = settings;
  const { abilitiesKeptMs, unknownKeptMs, modelsRememberedMax } = modelServerLimits;
  const known = new Map<string, Known>();
  const unknown = { ...abilitiesUnknown, contextTokens: contextTokensOf(options, null) };

  const keep = (model: string, abilities: ModelAbilities, forMs: number): ModelAbilities => {
    if (known.size >= modelsRememberedMax && !known.has(model)) known.clear();
    known.set(model, { abilities, untilMs: clock.monotonicMs() + forMs });
    return abilities;
  };

  const ask = async (model: string, stop: AbortController): Promise<ModelAbilities> => {
    try {
      const abilities = abilitiesIn(await shown(settings, model, stop));
      const contextTokens = contextTokensOf(options, abilities.contextTokens);
      return keep(model, { ...abilities, contextTokens }, abilitiesKeptMs);
    } catch (error) {
      const before = known.get(model)?.abilities ?? unknown;
      if (error === unwanted) return before;
      log(`what "${model}" can do is not known: ${messageOf(error)}`);
      return willSaySo(EngramError.of(error)) ? keep(model, before, unknownKeptMs) : before;
    }
  };
  const answerOf = makeShared(ask);

  return {
    of: async (model, signal) => {
      signal.throwIfAborted();
      const before = known.get(model);
      if (before !== undefined && clock.monotonicMs() < before.untilMs) return before.abilities;
      return answerOf(model, signal);
    },
    refused: (model, lacking) => {
      const before = known.get(model)?.abilities ?? unknown;
      keep(model, { ...before, [lacking]: false }, abilitiesKeptMs);
    },
  };
};

/** Whether the server would not know the next time either: one that is away or lacks the model may have it by then. */
const willSaySo = ({ code, transient }: EngramError): boolean =>
  code === "model_timeout" || (code === "model_error" && !transient);

/** What the server shows of the model, in time. */
const shown = async (
  settings: OllamaSettings,
  model: string,
  stop: AbortController,
): Promise<unknown> => {
  const { abilitiesTimeoutMs } = modelServerLimits;
  const late = (): void => {
    const message = `no answer to /api/show within ${abilitiesTimeoutMs} ms`;
    stop.abort(new EngramError("model_timeout", message));
  };
  const cancel = settings.clock.after(abilitiesTimeoutMs, late);
  const exchange = openExchange(settings, model, stop.signal);
  try {
    return await exchange.client.show({ model });
  } catch (error) {
    throw exchange.failureOf(error);
  } finally {
    exchange.close();
    cancel();
  }
};
