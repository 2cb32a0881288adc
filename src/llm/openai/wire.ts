import type { OpenAI } from "openai";
import type { ToolDefinition } from "../../agent/event.ts";
import { isJsonObject, type JsonObject } from "../../agent/json.ts";
import type { PromptMessage } from "../../agent/prompt.ts";
import type { ModelRequest } from "../../agent/request.ts";
import { imagePlaces } from "../images.ts";

type Message = OpenAI.ChatCompletionMessageParam;
type Body = OpenAI.ChatCompletionCreateParamsStreaming;

/** What is said of a message that is to be gone on with, and of no other: a server would go on with any last one. */
const continuation: ReadonlySet<string> = new Set([
  "continue_final_message",
  "add_generation_prompt",
]);

/** What is refused of a request that offers no tools. */
const ofTools: ReadonlySet<string> = new Set(["tool_choice", "parallel_tool_calls"]);

/** What LLM_OPTIONS cannot change. */
const ours: ReadonlySet<string> = new Set(["model", "messages", "stream"]);

const magics: readonly (readonly [type: string, at: number, bytes: string])[] = [
  ["image/jpeg", 0, "\xff\xd8\xff"],
  ["image/gif", 0, "GIF8"],
  ["image/webp", 8, "WEBP"],
  ["image/bmp", 0, "BM"],
  ["image/avif", 4, "ftypavif"],
  ["image/heic", 4, "ftyphei"],
  ["image/tiff", 0, "II*\0"],
];

/** The type of an image, as its first bytes tell; one that is of no known kind is said to be of the commonest. */
const typeOf = (base64: string): string => {
  const head = Buffer.from(base64.slice(0, 32), "base64").toString("latin1");
  const [type] = magics.find(([, at, bytes]) => head.startsWith(bytes, at)) ?? ["image/png"];
  return type;
};

const messageOf = (message: PromptMessage, place: string): Message => {
  switch (message.role) {
    case "system":
      return { role: "system", content: message.content };
    case "user":
      if (message.images.length === 0) return { role: "user", content: message.content };
      return {
        role: "user",
        content: [
          { type: "text", text: message.content },
          ...message.images.map((image) => ({
            type: "image_url" as const,
            image_url: { url: `data:${typeOf(image)};base64,${place}` },
          })),
        ],
      };
    case "assistant":
      if (message.toolCalls.length === 0) return { role: "assistant", content: message.content };
      return {
        role: "assistant",
        content: message.content === "" ? null : message.content,
        tool_calls: message.toolCalls.map(({ callId, name, input }) => ({
          id: callId,
          type: "function",
          function: { name, arguments: JSON.stringify(input) },
        })),
      };
    case "tool": {
      // Servers of models whose templates print the name look for it; the others for the id.
      const { name, callId, content } = message;
      return Object.assign({ role: "tool" as const, tool_call_id: callId, content }, { name });
    }
  }
};

const toolOf = ({ name, description, parameters }: ToolDefinition): OpenAI.ChatCompletionTool => ({
  type: "function",
  function: {
    name,
    description,
    // OpenAI refuses a whole request for a schema that is no object's, or names no properties.
    parameters: {
      ...parameters,
      type: "object",
      properties: isJsonObject(parameters["properties"]) ? parameters["properties"] : {},
    },
  },
});

/**
 * A user's messages in a row as one: the templates of some models refuse a conversation whose roles do not alternate. As
 * it is joined at its end, what a server has read of the first is still the beginning.
 */
function withoutNeighbours(messages: readonly PromptMessage[]): readonly PromptMessage[] {
  const joined: PromptMessage[] = [];
  for (const message of messages) {
    const before = joined.at(-1);
    if (message.role !== "user" || before?.role !== "user") joined.push(message);
    else
      joined[joined.length - 1] = {
        role: "user",
        content: `${before.content}\n\n${message.content}`,
        images: [...before.images, ...message.images],
      };
  }
  return joined;
}

/** Whether LLM_OPTIONS say that the server goes on with a last message of the assistant's when told to. */
export const canContinue = (options: JsonObject): boolean =>
  options["continue_final_message"] === true;

/** Of what a model reads, what is left for the prompt where LLM_OPTIONS keep some of it free for the reply. */
export const roomOf = (options: JsonObject, contextTokens: number | null): number | null => {
  const kept = [options["max_completion_tokens"], options["max_tokens"]].find(
    (value) => typeof value === "number",
  );
  if (contextTokens === null || typeof kept !== "number") return contextTokens;
  return Math.max(1, contextTokens - Math.max(0, kept));
};

/**
 * A request as the openai package sends it, streaming, with `place` where an image is to be put. `options` are
 * LLM_OPTIONS: they stand beside the rest, and give way to what the agent's own settings ask for, but an effort of
 * reasoning that they name is kept, and what they say is null is left out.
 */
export const chatRequest = (request: ModelRequest, options: JsonObject, place: string): Body => {
  const { model, messages, tools, temperature, thinking, format, usage = true } = request;
  const last = messages.at(-1);
  const continues = last?.role === "assistant" && last.toolCalls.length === 0;
  const chat: Body = {
    model,
    messages: withoutNeighbours(messages).map((message) => messageOf(message, place)),
    stream: true,
  };
  if (usage) chat.stream_options = { include_usage: true };
  // Said, since the models that think have no default in common, and some none at all.
  if (thinking) chat.reasoning_effort = "medium";
  const named = Object.entries(options).filter(
    ([name]) =>
      !ours.has(name) && !continuation.has(name) && (tools.length > 0 || !ofTools.has(name)),
  );
  // JSON leaves out what is undefined.
  const values = named.map(([name, value]) => [name, value ?? undefined]);
  Object.assign(
    chat,
    Object.fromEntries(values),
    continues &&
      canContinue(options) && { continue_final_message: true, add_generation_prompt: false },
  );
  if (tools.length > 0) chat.tools = tools.map(toolOf);
  if (temperature !== null) chat.temperature = temperature;
  if (format !== null)
    chat.response_format = {
      type: "json_schema",
      json_schema: { name: "answer", schema: { ...format } },
    };
  return chat;
};

/** The body of that request, as it is sent. */
export const chatBody = (request: ModelRequest, options: JsonObject): string => {
  const { place, whole } = imagePlaces(request);
  return whole(JSON.stringify(chatRequest(request, options, place))).join("");
};
