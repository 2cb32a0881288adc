/**
 * A stand-in for servers of OpenAI's API on a real port: it refuses what OpenAI refuses of histories, its calls come in
 * pieces, and a client that goes away stops the reply. A test tells it what to answer next (`next`) with a script, of
 * which `faults` and `refusals` hold some; without one it answers as the scripted model does. A model's name says what
 * it does not take: `missing…` is not there, `…no-tools…`, `…no-thinking…`, `…no-usage…`, `…no-format…`; and `…whole-calls…`
 * has its calls come whole, all as the first. A last message of the assistant's is gone on with only where vLLM does.
 */
import type { ToolDefinition } from "../../src/agent/event.ts";
import { isJsonObject, type JsonObject } from "../../src/agent/json.ts";
import type { PromptMessage, PromptToolCall } from "../../src/agent/prompt.ts";
import { systemClock } from "../../src/clock.ts";
import { openScripted } from "../../src/llm/scripted/scripted.ts";
import { openFakeCompletion, type FakeCompletion } from "./fake-openai-exchange.ts";
import { refusals } from "./fake-openai-faults.ts";
import { openFakeServer, type FakeServer } from "./fake-server.ts";

export type FakeOpenAi = FakeServer<FakeCompletion>;

/** What the server says of a request that it does not take. */
class Refused extends Error {}

const refuse = (message: string): never => {
  throw new Refused(message);
};

const textIn = (value: unknown, field: string): string =>
  typeof value === "string" ? value : refuse(`Invalid type for '${field}': expected a string.`);

const callIn = (value: unknown): PromptToolCall => {
  const of = isJsonObject(value) && isJsonObject(value["function"]) ? value["function"] : {};
  const text = textIn(of["arguments"], "tool_calls[0].function.arguments");
  const input: unknown = JSON.parse(text);
  if (!isJsonObject(input)) return refuse("invalid tool call arguments");
  if (!isJsonObject(value) || value["type"] !== "function") return refuse("Missing 'type'.");
  return { callId: textIn(value["id"], "id"), name: textIn(of["name"], "name"), input };
};

const imageIn = (part: JsonObject): string => {
  const { url = null } = isJsonObject(part["image_url"]) ? part["image_url"] : {};
  const found = /^data:image\/[a-z]+;base64,([A-Za-z0-9+/]+=*)$/.exec(textIn(url, "url"))?.[1];
  return found ?? refuse("Invalid image data.");
};

const userIn = (content: unknown): PromptMessage => {
  if (!Array.isArray(content))
    return { role: "user", content: textIn(content, "content"), images: [] };
  const parts = content.filter(isJsonObject);
  return {
    role: "user",
    content: parts
      .filter(({ type }) => type === "text")
      .map(({ text }) => textIn(text, "text"))
      .join(""),
    images: parts.filter(({ type }) => type === "image_url").map(imageIn),
  };
};

const messageIn = (value: unknown): PromptMessage => {
  if (!isJsonObject(value)) return refuse("Invalid type for 'messages'.");
  const { role, content = null, tool_calls: calls = [] } = value;
  switch (role) {
    case "system":
      return { role, content: textIn(content, "content") };
    case "user":
      return userIn(content);
    case "tool": {
      const callId = textIn(value["tool_call_id"], "tool_call_id");
      return {
        role,
        callId,
        name: textIn(value["name"], "name"),
        content: textIn(content, "content"),
      };
    }
    case "assistant": {
      const toolCalls = Array.isArray(calls) ? calls.map(callIn) : [];
      const text = content === null && toolCalls.length > 0 ? "" : textIn(content, "content");
      return { role, content: text, toolCalls };
    }
    default:
      return refuse(`Invalid value: ${JSON.stringify(role)}.`);
  }
};

/** Every call is answered at once, and nothing else is. */
const mustBeAnswered = (messages: readonly PromptMessage[]): void => {
  let open: string[] = [];
  for (const message of messages) {
    if (message.role === "tool") {
      if (!open.includes(message.callId))
        refuse("messages with role 'tool' must be a response to a preceding message");
      open = open.filter((id) => id !== message.callId);
      continue;
    }
    if (open.length > 0)
      refuse("An assistant message with 'tool_calls' must be followed by tool messages");
    if (message.role === "assistant") open = message.toolCalls.map(({ callId }) => callId);
  }
  if (open.length > 0)
    refuse("An assistant message with 'tool_calls' must be followed by tool messages");
};

const toolIn = (value: unknown): ToolDefinition => {
  const of = isJsonObject(value) && isJsonObject(value["function"]) ? value["function"] : {};
  const { parameters = null } = of;
  if (!isJsonObject(parameters) || parameters["type"] !== "object")
    return refuse(
      "Invalid schema for function: schema must be a JSON Schema of 'type: \"object\"'",
    );
  if (!isJsonObject(parameters["properties"])) return refuse("object schema missing properties");
  return {
    name: textIn(of["name"], "name"),
    description: textIn(of["description"], "description"),
    parameters,
  };
};

/** The schema that the answer is to satisfy; null: none. */
const formatIn = (value: unknown): JsonObject | null => {
  if (value === undefined) return null;
  const { type, json_schema: named } = isJsonObject(value) ? value : {};
  const { name, schema } = isJsonObject(named) ? named : {};
  if (type !== "json_schema" || !/^[\w-]{1,64}$/.test(textIn(name, "response_format.name")))
    return refuse("Invalid value for 'response_format'.");
  return isJsonObject(schema) ? schema : refuse("Missing 'response_format.json_schema.schema'.");
};

const scripted = openScripted({ clock: systemClock });

const sayCall = (
  x: FakeCompletion,
  index: number,
  call: { readonly name: string; readonly inputJson: string },
): void => {
  const id = `call_${index}`;
  const { name, inputJson } = call;
  if (textIn(x.body["model"], "model").includes("whole-calls")) {
    const whole = { name, arguments: inputJson };
    return x.delta({ tool_calls: [{ index: 0, id, type: "function", function: whole }] });
  }
  x.delta({ tool_calls: [{ index, id, type: "function", function: { name, arguments: "" } }] });
  for (const piece of inputJson.match(/[^]{1,5}/g) ?? [])
    x.delta({ tool_calls: [{ index, function: { arguments: piece } }] });
};

/** Answers as the scripted model does, chunk by chunk. */
const answer = async (x: FakeCompletion, model: string, delayMs: number): Promise<void> => {
  const { messages: sent, tools = [], continue_final_message: continues = false } = x.body;
  const messages = (Array.isArray(sent) ? sent : []).map(messageIn);
  mustBeAnswered(messages);
  if (continues === true && x.body["add_generation_prompt"] !== false)
    refuse("Cannot set both `continue_final_message` and `add_generation_prompt` to True.");
  const request = {
    model: `scripted:${delayMs}${continues === true ? "" : ":anew"}${model.includes("no-tools") ? ":text" : ""}`,
    messages,
    tools: Array.isArray(tools) ? tools.map(toolIn) : [],
    temperature: null,
    thinking: x.body["reasoning_effort"] !== undefined,
    contextTokens: null,
    format: formatIn(x.body["response_format"]),
  };
  let calls = 0;
  x.delta({ role: "assistant", content: "" });
  for await (const piece of scripted.call(request, x.signal)) {
    if (piece.kind === "text") x.say(piece.text);
    else if (piece.kind === "thinking") x.delta({ reasoning_content: piece.text });
    else if (piece.kind === "toolCall") sayCall(x, calls++, piece);
    else {
      const { promptTokens, completionTokens } = piece.usage;
      const usage = { prompt_tokens: promptTokens, completion_tokens: completionTokens };
      x.finish(calls > 0 ? "tool_calls" : "stop", usage);
    }
  }
};

/** A chat as servers check it, before anything is generated. */
const chat = async (x: FakeCompletion, delayMs: number): Promise<void> => {
  const model = textIn(x.body["model"], "model");
  if (model.startsWith("missing"))
    return x.json(404, { error: { message: `The model \`${model}\` does not exist.` } });
  const { stream_options: usage, reasoning_effort: effort, response_format: format } = x.body;
  if (model.includes("no-usage") && usage !== undefined) return refusals.usage(x);
  if (model.includes("no-thinking") && effort !== undefined) return refusals.thinking(x);
  if (model.includes("no-format") && format !== undefined) return refusals.format(x);
  if (model.includes("no-tools") && x.body["tools"] !== undefined) return refusals.tools(x);
  return answer(x, model, delayMs);
};

const isAllowed = ({ headers }: FakeCompletion, apiKey: string | null): boolean =>
  headers["authorization"] === (apiKey === null ? undefined : `Bearer ${apiKey}`);

/**
 * Starts a server whose API begins at its `url`. `delayMs` is what each word of an unscripted reply takes; `apiKey` is the
 * key that it wants (null: it refuses any); `contexts` is what its list of models tells of how much they can read.
 */
export const openFakeOpenAi = async ({
  port = 0,
  delayMs = 0,
  apiKey = null,
  contexts = {},
}: {
  port?: number;
  delayMs?: number;
  apiKey?: string | null;
  contexts?: Readonly<Record<string, number>>;
} = {}): Promise<FakeOpenAi> => {
  const data = Object.entries(contexts).map(([id, max_model_len]) => ({ id, max_model_len }));
  const server = await openFakeServer<FakeCompletion>(
    {
      open: openFakeCompletion,
      chatPath: "/v1/chat/completions",
      answer: async (x) => {
        if (!isAllowed(x, apiKey))
          return x.json(401, { error: { message: `Incorrect API key provided: ${apiKey}` } });
        return chat(x, delayMs).catch((cause: unknown) => {
          if (!(cause instanceof Refused)) throw cause;
          x.json(400, { error: { message: cause.message, type: "invalid_request_error" } });
        });
      },
      serve: (x) => {
        if (x.path !== "/v1/models") return x.json(404, { detail: "Not Found" });
        return isAllowed(x, apiKey) ? x.json(200, { object: "list", data }) : x.plain(401, "");
      },
    },
    port,
  );
  return { ...server, url: `${server.url}/v1` };
};
