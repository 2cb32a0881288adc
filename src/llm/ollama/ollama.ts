import type { ModelRequest } from "../../agent/request.ts";
import { messageOf } from "../../errors.ts";
import { failureOfEnd } from "../failure.ts";
import { imagePlaces } from "../images.ts";
import type { Model, ModelPiece } from "../model.ts";
import { makeAbilityBook } from "./abilities.ts";
import { ollamaUrl, openExchange, type OllamaSettings } from "./exchange.ts";
import { lackingIn } from "./failure.ts";
import { identityOf, leavesOpen } from "./probe.ts";
import { chatBody, chatRequest, piecesIn } from "./wire.ts";
import { modelServerLimits } from "../server-limits.ts";

/**
 * A model server that speaks Ollama's API. A reply is complete only with the server's `done`; one that is cut, garbled
 * or silent for `timeoutMs` fails (transient). A partial answer is continued without thinking: its thinking is over,
 * and some templates would take the rest for thoughts. A model that is refused for what it lacks is remembered to lack
 * it, and the failure is transient. Fails with invalid_argument where `url` is no http address.
 */
export const openOllama = (settings: OllamaSettings): Model => {
  const { options, log } = settings;
  ollamaUrl(settings.url);
  const book = makeAbilityBook(settings);
  const opens = new Map<string, boolean>();

  async function* call(request: ModelRequest, signal: AbortSignal): AsyncGenerator<ModelPiece> {
    signal.throwIfAborted();
    const { model } = request;
    const { place, whole } = imagePlaces(request);
    const exchange = openExchange(settings, model, signal, whole);
    try {
      for await (const chunk of await exchange.client.chat(chatRequest(request, options, place))) {
        if (chunk.done_reason === "length")
          log(`the reply of "${model}" was cut: it came to num_predict, or to the end of num_ctx`);
        for (const piece of piecesIn(chunk)) {
          signal.throwIfAborted();
          exchange.grew();
          yield piece;
          if (piece.kind === "done") return;
        }
      }
      throw failureOfEnd(exchange.subject);
    } catch (error) {
      const failure = exchange.failureOf(error);
      const lacking = lackingIn(failure);
      if (lacking !== null) book.refused(model, lacking);
      throw failure;
    } finally {
      exchange.close();
    }
  }

  /** Which model it is just now; null where the server does not say, or not in time. */
  const identity = async (model: string, signal: AbortSignal): Promise<string | null> => {
    const timeoutMs = Math.min(settings.timeoutMs, modelServerLimits.abilitiesTimeoutMs);
    const exchange = openExchange({ ...settings, timeoutMs }, model, signal);
    try {
      return await identityOf(exchange.client, model);
    } catch {
      signal.throwIfAborted();
      return null;
    } finally {
      exchange.close();
    }
  };

  return {
    call,
    continuesPartial: async (model, _thinking, signal) => {
      signal.throwIfAborted();
      const exchange = openExchange(settings, model, signal);
      try {
        const { contextTokens } = await book.of(model, signal);
        const probed = { model, identity: await identity(model, signal), contextTokens, options };
        return (await leavesOpen(exchange.client, probed, opens)) ?? false;
      } catch (error) {
        const failure = messageOf(exchange.failureOf(error));
        signal.throwIfAborted();
        log(`whether "${model}" continues a partial answer is not known: ${failure}`);
        return false;
      } finally {
        exchange.close();
      }
    },
    abilities: book.of,
    bodyOf: (request) => chatBody(request, options),
  };
};
