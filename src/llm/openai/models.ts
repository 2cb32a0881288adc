import { isJsonObject, type JsonObject } from "../../agent/json.ts";
import { objectIn } from "../lines.ts";
import { baseUrl, headersFor, type OpenAiServer } from "./exchange.ts";
import { send } from "../http.ts";
import { modelServerLimits } from "../server-limits.ts";
import { unlessAborted } from "../watch.ts";

/** How many tokens the models of a server can read, as its list of models tells. */
export type ModelList = {
  /** null: the list does not say, or cannot be had. Throws only `signal`'s reason. */
  readonly contextTokens: (model: string, signal: AbortSignal) => Promise<number | null>;
};

// vLLM and SGLang; OpenRouter and Together; Groq; Mistral.
const contextFields = ["max_model_len", "context_length", "context_window", "max_context_length"];

const contextIn = (entry: JsonObject): number | null => {
  const found = contextFields
    .map((field) => entry[field])
    .find((value) => typeof value === "number" && Number.isSafeInteger(value) && value > 0);
  return typeof found === "number" ? found : null;
};

/** Each model's tokens in a list of models. */
const contextsIn = (list: JsonObject | null): ReadonlyMap<string, number> => {
  const contexts = new Map<string, number>();
  const entries: unknown = list?.["data"];
  for (const entry of Array.isArray(entries) ? entries : []) {
    if (!isJsonObject(entry) || typeof entry["id"] !== "string") continue;
    const tokens = contextIn(entry);
    if (tokens !== null) contexts.set(entry["id"], tokens);
  }
  return contexts;
};

const listUrl = (url: string): URL => {
  const address = baseUrl(url);
  address.pathname = `${address.pathname.replace(/\/$/, "")}/models`;
  return address;
};

const fetchList = async ({
  url,
  apiKey,
  clock,
}: OpenAiServer): Promise<ReadonlyMap<string, number>> => {
  const stop = new AbortController();
  const late = (): void => stop.abort(new Error("no list of models in time"));
  const cancel = clock.after(modelServerLimits.abilitiesTimeoutMs, late);
  try {
    const request = { method: "GET", headers: headersFor(apiKey, false), body: "" };
    const { status, body } = await send(listUrl(url), request, stop.signal);
    if (status === 429 || status >= 500) throw new Error("the server is overloaded or starting");
    const parts: Uint8Array[] = [];
    let bytes = 0;
    for await (const part of body) {
      parts.push(part);
      bytes += part.length;
      if (bytes > modelServerLimits.listBytesMax) throw new Error("more than a list can be");
    }
    return contextsIn(status === 200 ? objectIn(Buffer.concat(parts)) : null);
  } finally {
    cancel();
    stop.abort();
  }
};

type Asked = {
  readonly contexts: Promise<ReadonlyMap<string, number>>;
  /** When to ask again. */
  untilMs: number;
};

/** Asks a server for its list at the first need, and again after a while. */
export const openModelList = (server: OpenAiServer): ModelList => {
  const { clock } = server;
  const { abilitiesKeptMs, unknownKeptMs } = modelServerLimits;
  let asked: Asked | null = null;

  const ask = (): Asked => {
    const asking: Asked = {
      contexts: fetchList(server).catch(() => {
        asking.untilMs = clock.monotonicMs() + unknownKeptMs;
        return new Map();
      }),
      untilMs: clock.monotonicMs() + abilitiesKeptMs,
    };
    return asking;
  };

  return {
    contextTokens: async (model, signal) => {
      signal.throwIfAborted();
      if (asked === null || clock.monotonicMs() >= asked.untilMs) asked = ask();
      return (await unlessAborted(asked.contexts, signal)).get(model) ?? null;
    },
  };
};
