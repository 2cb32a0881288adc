import type { Ollama } from "ollama";
import { isJsonObject, type JsonObject } from "../../agent/json.ts";
import { chatRequest } from "./wire.ts";
import { modelServerLimits } from "../server-limits.ts";

const probeText = "ENGRAM_PROBE";

const probeMessages = [
  { role: "user", content: "x", images: [] },
  { role: "assistant", content: probeText, toolCalls: [] },
] as const;

/** What tells one state of a model at a server from another; null where the server does not list the model. */
export const identityOf = async (client: Ollama, model: string): Promise<string | null> => {
  const [version, list] = await Promise.all([client.version(), client.list()]);
  const names = [model.toLowerCase(), `${model.toLowerCase()}:latest`];
  const found = list.models.find(({ name }) => names.includes(name.toLowerCase()));
  return found === undefined ? null : `${version.version} ${found.digest}`;
};

/** What is asked about: as the calls to come will ask. */
export type Probed = {
  readonly model: string;
  /** By `identityOf`; null: not known. */
  readonly identity: string | null;
  readonly contextTokens: number | null;
  /** LLM_OPTIONS. */
  readonly options: JsonObject;
};

/**
 * Whether the model's template leaves a trailing assistant message open, so that the model goes on with it; null where
 * the server cannot say. The server renders the prompt without generating (`_debug_render_only`, since Ollama
 * 0.11.5); one that does not know the field generates one token. `known` keeps the answers by the model's identity.
 */
export const leavesOpen = async (
  client: Ollama,
  { model, identity, contextTokens, options }: Probed,
  known: Map<string, boolean>,
): Promise<boolean | null> => {
  const before = identity === null ? undefined : known.get(identity);
  if (before !== undefined) return before;
  const asked = {
    model,
    messages: probeMessages,
    tools: [],
    temperature: null,
    thinking: false,
    contextTokens,
    format: null,
  };
  const request = chatRequest(asked, { ...options, num_predict: 1 }, "");
  const probe = { ...request, stream: false as const, _debug_render_only: true };
  const answer: unknown = await client.chat(probe);
  const info = isJsonObject(answer) ? answer["_debug_info"] : undefined;
  const rendered = isJsonObject(info) ? info["rendered_template"] : undefined;
  if (typeof rendered !== "string") return null;
  const open = rendered.endsWith(probeText);
  if (known.size >= modelServerLimits.modelsRememberedMax) known.clear();
  if (identity !== null) known.set(identity, open);
  return open;
};
