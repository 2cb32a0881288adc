import type { JsonObject } from "../agent/json.ts";
import { messageOf } from "../errors.ts";
import { abilitiesUnknown, type ModelRequest } from "../agent/request.ts";
import type { Model, ModelPiece } from "./model.ts";
import { failureOfEnd } from "./failure.ts";
import { ollamaUrl, openExchange, type Exchange } from "./ollama-exchange.ts";
import { leavesOpen } from "./ollama-probe.ts";
import { chatBody, chatRequest, piecesIn } from "./ollama-wire.ts";
import { modelServerLimits } from "./server-limits.ts";
import type { ServerSettings } from "./transport.ts";

export type OllamaSettings = ServerSettings & {
  /** LLM_OPTIONS: merged into the server's options. */
  readonly options: JsonObject;
  /** Takes a line for the operator. */
  readonly log: (line: string) => void;
};

/**
 * A model server that speaks Ollama's API. A reply is complete only with the server's `done`; one that is cut, garbled
 * or silent for `timeoutMs` fails (transient). A partial answer is continued without thinking: its thinking is over,
 * and some templates would take the rest for thoughts. Fails with invalid_argument where `url` is no http address.
 */
export const openOllama = (settings: OllamaSettings): Model => {
  const { options, log } = settings;
  ollamaUrl(settings.url);
  const unthinking = new Set<string>();
  const opens = new Map<string, boolean>();

  /** Sends the request; without thinking where the model turns out to have none. */
  const chat = async (
    { client }: Exchange,
    request: ModelRequest,
  ): Promise<AsyncIterable<unknown>> => {
    const continues = request.messages.at(-1)?.role === "assistant";
    const think = request.thinking && !continues && !unthinking.has(request.model);
    try {
      return await client.chat(chatRequest(request, think, options));
    } catch (error) {
      if (!think || !messageOf(error).includes("does not support thinking")) throw error;
      log(`the model "${request.model}" does not support thinking and is asked without`);
      if (unthinking.size >= modelServerLimits.modelsRememberedMax) unthinking.clear();
      unthinking.add(request.model);
      return client.chat(chatRequest(request, false, options));
    }
  };

  async function* call(request: ModelRequest, signal: AbortSignal): AsyncGenerator<ModelPiece> {
    signal.throwIfAborted();
    const exchange = openExchange(settings, request.model, signal);
    try {
      for await (const chunk of await chat(exchange, request))
        for (const piece of piecesIn(chunk)) {
          signal.throwIfAborted();
          yield piece;
          if (piece.kind === "done") return;
        }
      throw failureOfEnd(exchange.subject);
    } catch (error) {
      throw exchange.failureOf(error);
    } finally {
      exchange.close();
    }
  }

  return {
    call,
    continuesPartial: async (model, _thinking, signal) => {
      signal.throwIfAborted();
      const exchange = openExchange(settings, model, signal);
      try {
        return (await leavesOpen(exchange.client, model, options, opens)) ?? false;
      } catch (error) {
        const failure = messageOf(exchange.failureOf(error));
        signal.throwIfAborted();
        log(`whether "${model}" continues a partial answer is not known: ${failure}`);
        return false;
      } finally {
        exchange.close();
      }
    },
    abilities: async () => Promise.resolve(abilitiesUnknown),
    bodyOf: (request) => chatBody(request, request.thinking, options),
  };
};
