import type { ChatRequest, Message } from "ollama";
import type { ToolDefinition, Usage } from "../../agent/event.ts";
import { isJsonObject, isTooDeep, type JsonObject, type JsonValue } from "../../agent/json.ts";
import type { PromptMessage } from "../../agent/prompt.ts";
import type { ModelRequest } from "../../agent/request.ts";
import { EngramError } from "../../errors.ts";
import { contextLimits } from "../../limits.ts";
import { imagePlaces } from "../images.ts";
import type { ModelPiece } from "../model.ts";
import { modelServerLimits } from "../server-limits.ts";

/** What LLM_OPTIONS may name that stands beside the server's `options`, not in them. */
const besideOptions: ReadonlySet<string> = new Set(["keep_alive", "truncate", "shift"]);

const messageOf = (message: PromptMessage, place: string): Message => {
  switch (message.role) {
    case "system":
      return { role: "system", content: message.content };
    case "user":
      return {
        role: "user",
        content: message.content,
        // The package would read a file of an image's name, and spell all images out in one go.
        ...(message.images.length > 0 && { images: message.images.map(() => place) }),
      };
    case "assistant":
      // Text and calls stay one message: servers join neighbours of one role, and lose the second one's calls.
      return {
        role: "assistant",
        content: message.content,
        ...(message.toolCalls.length > 0 && {
          tool_calls: message.toolCalls.map(({ callId, name, input }) => ({
            id: callId,
            function: { name, arguments: input },
          })),
        }),
      };
    case "tool":
      // Some templates print the name, others the id.
      return Object.assign(
        { role: "tool", content: message.content, tool_name: message.name },
        { tool_call_id: message.callId },
      );
  }
};

/** A parameter's schema as the server can read it: it refuses a whole request for a `true` or a `type` of its own kind. */
const readableParameter = (schema: unknown): JsonObject => {
  if (!isJsonObject(schema)) return {};
  const { type, ...others } = schema;
  const named =
    typeof type === "string" || (Array.isArray(type) && type.every((t) => typeof t === "string"));
  return named ? schema : others;
};

const toolOf = ({ name, description, parameters }: ToolDefinition): JsonObject => {
  const { properties, required } = parameters;
  const entries = isJsonObject(properties) ? Object.entries(properties) : [];
  return {
    type: "function",
    function: {
      name,
      description,
      parameters: {
        ...parameters,
        type: "object",
        properties: Object.fromEntries(entries.map(([key, of]) => [key, readableParameter(of)])),
        required: Array.isArray(required) ? required.filter((key) => typeof key === "string") : [],
      },
    },
  };
};

/**
 * How many tokens the server is to keep room for: the same in each request of a model, whatever the agent, since it loads
 * the model anew for another number. What LLM_OPTIONS says as no number is the server's to refuse.
 */
const roomOf = (options: JsonObject, contextTokens: number | null): JsonValue => {
  const wished = options["num_ctx"] ?? contextLimits.tokensDefault;
  return typeof wished === "number" ? Math.min(wished, contextTokens ?? wished) : wished;
};

/** Of what a model can read at most, as its server says, what requests make use of; null: not known. */
export const contextTokensOf = (options: JsonObject, most: number | null): number | null => {
  const room = roomOf(options, most);
  return typeof room === "number" ? room : most;
};

/**
 * A request as the ollama package sends it, streaming, with `place` where an image is to be put. `think` is always said:
 * left out it would mean yes to a model that can think. `options` are LLM_OPTIONS, with `keep_alive`, `truncate` and
 * `shift` put where the server looks for them; the latter two are off where nothing else is said, since the server would
 * leave out parts of the conversation without a word.
 */
export const chatRequest = (
  request: ModelRequest,
  options: JsonObject,
  place: string,
): ChatRequest & { stream: true } => {
  const { model, messages, tools, temperature, format, contextTokens } = request;
  const named = Object.entries({ truncate: false, shift: false, ...options });
  const inOptions = named.filter(([name]) => !besideOptions.has(name));
  // The package's types lack some of what the server takes; it passes on what it is given.
  return Object.assign(
    {
      model,
      messages: messages.map((message) => messageOf(message, place)),
      stream: true as const,
      // What is gone on with is past its thinking.
      think: request.thinking && messages.at(-1)?.role !== "assistant",
    },
    Object.fromEntries(named.filter(([name]) => besideOptions.has(name))),
    tools.length > 0 && { tools: tools.map(toolOf) },
    format !== null && { format },
    {
      options: {
        ...Object.fromEntries(inOptions),
        num_ctx: roomOf(options, contextTokens),
        ...(temperature !== null && { temperature }),
      },
    },
  );
};

/** The body of that request, as the package sends it. */
export const chatBody = (request: ModelRequest, options: JsonObject): string => {
  const { place, whole } = imagePlaces(request);
  return whole(JSON.stringify(chatRequest(request, options, place))).join("");
};

const unreadable = (what: string): EngramError =>
  new EngramError("model_error", `the model server sent ${what}: is it an Ollama server?`, {
    transient: true,
  });

const textIn = (value: unknown, name: string): string => {
  if (value === undefined || value === null) return "";
  if (typeof value !== "string") throw unreadable(`a ${name} that is not text`);
  return value;
};

const callIn = (call: unknown): ModelPiece => {
  const of = isJsonObject(call) ? call["function"] : undefined;
  if (!isJsonObject(of) || typeof of["name"] !== "string")
    throw unreadable("a tool call without a name");
  const input = of["arguments"] ?? {};
  // Some servers give the text that the model wrote, as OpenAI's API does.
  const inputJson = typeof input === "string" ? input : jsonOf(input);
  return { kind: "toolCall", name: of["name"], inputJson };
};

/** An object of some hundred thousand others in one another is no input, and writing it down would take long to fail. */
const jsonOf = (input: JsonValue): string => {
  if (isTooDeep(input, modelServerLimits.inputLevelsMax))
    throw unreadable("a tool call whose input is nested without end");
  return JSON.stringify(input);
};

const countIn = (value: unknown): number =>
  typeof value === "number" && Number.isSafeInteger(value) && value > 0 ? value : 0;

/** The pieces in one line of the stream, in their order; the last line may carry some before its `done`. */
export const piecesIn = (chunk: unknown): readonly ModelPiece[] => {
  if (!isJsonObject(chunk)) throw unreadable("a line that is not an object");
  const message = isJsonObject(chunk["message"]) ? chunk["message"] : {};
  const thinking = textIn(message["thinking"], "thinking");
  const text = textIn(message["content"], "content");
  const calls = message["tool_calls"] ?? [];
  if (!Array.isArray(calls)) throw unreadable("tool calls that are not a list");
  const usage: Usage = {
    promptTokens: countIn(chunk["prompt_eval_count"]),
    completionTokens: countIn(chunk["eval_count"]),
  };
  const pieces: ModelPiece[] = [];
  if (thinking !== "") pieces.push({ kind: "thinking", text: thinking });
  if (text !== "") pieces.push({ kind: "text", text });
  pieces.push(...calls.map(callIn));
  if (chunk["done"] === true) pieces.push({ kind: "done", usage });
  return pieces;
};
