import type { ModelAbilities } from "../../agent/event.ts";
import type { JsonObject } from "../../agent/json.ts";
import type { ModelRequest } from "../../agent/request.ts";
import { EngramError } from "../../errors.ts";
import { failureOfEnd } from "../failure.ts";
import { imagePlaces } from "../images.ts";
import type { Model, ModelPiece } from "../model.ts";
import { baseUrl, openExchange, type Exchange, type OpenAiServer } from "./exchange.ts";
import { openModelList } from "./models.ts";
import { makeRefusals, refusalText, type Refusals } from "./refusals.ts";
import { readReply } from "./reply.ts";
import { canContinue, chatBody, chatRequest, roomOf } from "./wire.ts";

export type OpenAiSettings = OpenAiServer & {
  /** LLM_OPTIONS: stand in the body beside what the engine asks for. */
  readonly options: JsonObject;
  /** Takes a line for the operator. */
  readonly log: (line: string) => void;
};

/** What a server says that a model reads includes what it is told to keep free for the reply. */
const withRoom = (failure: unknown, options: JsonObject): unknown => {
  if (!(failure instanceof EngramError) || failure.overflow === null) return failure;
  const { contextTokens, promptTokens } = failure.overflow;
  const overflow = { contextTokens: roomOf(options, contextTokens), promptTokens };
  return new EngramError(failure.code, failure.message, { overflow });
};

/** Sends the request; what of it the server refuses is left out of later ones. */
const beginChat = async (
  { client, subject, refused }: Exchange,
  request: ModelRequest,
  body: ReturnType<typeof chatRequest>,
  refusals: Refusals,
): Promise<AsyncIterable<unknown>> => {
  const { model } = request;
  try {
    return await client.chat.completions.create(body);
  } catch (error) {
    const part = refusals.partOf(request, refused());
    if (part === null) throw error;
    refusals.remember(part, model);
    const said = `the model "${model}" at ${subject.server} ${refusalText[part]}`;
    throw new EngramError("model_error", said, { transient: true, cause: error });
  }
};

/**
 * A server that speaks OpenAI's chat completions. A reply is complete only with the model's `finish_reason`; one that
 * is cut, garbled or silent for `timeoutMs` fails (transient). What a server refuses of a request that it takes without
 * is remembered for the model for a while, and the engine asks again without it: it is told by a transient failure and by
 * `abilities`. Fails with invalid_argument where `url` is no http address.
 */
export const openOpenAi = (settings: OpenAiSettings): Model => {
  const { options, log } = settings;
  baseUrl(settings.url);
  const refusals = makeRefusals(settings);
  const list = openModelList(settings);

  async function* call(request: ModelRequest, signal: AbortSignal): AsyncGenerator<ModelPiece> {
    signal.throwIfAborted();
    const { place, whole } = imagePlaces(request);
    const sent = chatRequest(request, options, place);
    const exchange = openExchange(settings, request.model, signal, whole);
    const reply = readReply(request);
    let chars = 0;
    try {
      for await (const chunk of await beginChat(exchange, request, sent, refusals)) {
        for (const piece of reply.take(chunk)) {
          signal.throwIfAborted();
          yield piece;
        }
        if (reply.chars() > chars) exchange.grew();
        chars = reply.chars();
      }
      signal.throwIfAborted();
      if (!reply.isFinished()) throw failureOfEnd(exchange.subject);
    } catch (error) {
      const failure = exchange.failureOf(error);
      // What goes wrong after the model's end takes nothing from its reply.
      const harmless = reply.isFinished() && failure instanceof EngramError && failure.transient;
      if (signal.aborted || !harmless) throw withRoom(failure, options);
    } finally {
      exchange.close();
    }
    if (reply.isCut())
      log(
        `the reply of "${request.model}" was cut: it came to max_tokens, or to the context's end`,
      );
    yield* reply.end();
  }

  return {
    call,
    continuesPartial: async (_model, _thinking, signal) => {
      signal.throwIfAborted();
      return Promise.resolve(canContinue(options));
    },
    abilities: async (model, signal): Promise<ModelAbilities> => ({
      tools: !refusals.has("tools", model),
      thinking: !refusals.has("thinking", model),
      contextTokens: roomOf(options, await list.contextTokens(model, signal)),
      ...(refusals.has("format", model) && { format: false }),
      ...(refusals.has("usage", model) && { usage: false }),
    }),
    bodyOf: (request) => chatBody(request, options),
  };
};
