import { createHash } from "node:crypto";
import { isJsonObject, type JsonValue } from "../../src/agent/json.ts";
import type { PromptMessage } from "../../src/agent/prompt.ts";
import { stampNow, type FakeExchange } from "./fake-ollama-exchange.ts";

const installed = ["llama3.2:latest", "qwen3:latest", "qwen3-no-prefill:latest"];

/** What a model of that name can read, in tokens. */
const contextLengthOf = (model: string): number => Number(/-ctx(\d+)/.exec(model)?.[1] ?? 131_072);

/** /api/show of a model; one named `…old…` is shown by a server from before `capabilities`. */
const show = (x: FakeExchange, model: string): void => {
  if (model.startsWith("missing")) return x.json(404, { error: `model '${model}' not found` });
  const capabilities = ["completion", "vision"];
  if (!model.includes("no-tools")) capabilities.push("tools");
  if (!model.includes("no-thinking")) capabilities.push("thinking");
  x.json(200, {
    license: "free <for> all\n".repeat(100),
    template: "{{ .Prompt }}",
    details: { parent_model: "", format: "gguf", family: "fake", families: ["fake"] },
    model_info: {
      "general.architecture": "fake",
      "fake.context_length": contextLengthOf(model),
      "tokenizer.ggml.tokens": null,
    },
    ...(model.includes("old") ? {} : { capabilities }),
    modified_at: stampNow(),
  });
};

/** Everything but chats; `pulls` makes every model another one to those who look at digests. */
export const serveOther = (x: FakeExchange, pulls: number): void => {
  const models = installed.map((name) => ({
    name,
    model: name,
    digest: createHash("sha256").update(`${name} ${pulls}`).digest("hex"),
  }));
  const { model } = x.body;
  switch (`${x.method} ${x.path}`) {
    case "GET /":
      return x.plain(200, "Ollama is running", { "Content-Type": "text/plain" });
    case "GET /api/version":
      return x.json(200, { version: "0.33.0" });
    case "GET /api/tags":
    case "GET /api/ps":
      return x.json(200, { models });
    case "POST /api/show":
      return typeof model === "string"
        ? show(x, model)
        : x.json(400, { error: "model is required" });
    default:
      return x.plain(404, "404 page not found", { "Content-Type": "text/plain" });
  }
};

/** A word is a token. */
const tokensOf = (messages: readonly PromptMessage[]): number =>
  messages.reduce((sum, { content }) => sum + (content.match(/\S+/g) ?? []).length, 0);

/** What of a conversation is read, and how many tokens may be written behind it. */
export type Read = { readonly messages: readonly PromptMessage[]; readonly tokensLeft: number };

/**
 * A conversation as the server fits it into `num_ctx`: the oldest messages go without a word where `truncate` is not
 * off, the reply ends at the last token where `shift` is. Null: it has answered with an error.
 */
export const fitted = (
  x: FakeExchange,
  model: string,
  messages: readonly PromptMessage[],
): Read | null => {
  const options = isJsonObject(x.body["options"]) ? x.body["options"] : {};
  const wished: JsonValue = options["num_ctx"] ?? 4_096;
  if (typeof wished !== "number" || !Number.isInteger(wished)) {
    x.json(500, { error: 'option "num_ctx" must be of type integer' });
    return null;
  }
  const room = Math.min(wished, contextLengthOf(model));
  const shifts = x.body["shift"] !== false;
  let kept = messages;
  const isOver = (): boolean => tokensOf(kept) >= room;
  if (isOver() && x.body["truncate"] === false) {
    const said = `request (${tokensOf(kept)} tokens) exceeds the available context size (${room} tokens), try increasing it`;
    const details = { n_prompt_tokens: tokensOf(kept), n_ctx: room };
    const type = "exceed_context_size_error";
    x.json(400, {
      error: JSON.stringify({ error: { code: 400, message: said, type, ...details } }),
    });
    return null;
  }
  while (isOver()) {
    const oldest = kept.findIndex(
      ({ role }, index) => role !== "system" && index < kept.length - 1,
    );
    if (oldest === -1) break;
    kept = kept.toSpliced(oldest, 1);
  }
  if (isOver() && !shifts) {
    x.json(400, {
      error: "the prompt is longer than the context length currently available to the model",
    });
    return null;
  }
  return { messages: kept, tokensLeft: shifts ? Infinity : room - tokensOf(kept) };
};
