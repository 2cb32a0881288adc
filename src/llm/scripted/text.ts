import type { ToolDefinition } from "../../agent/event.ts";
import { isJsonObject } from "../../agent/json.ts";
import type { PromptMessage } from "../../agent/prompt.ts";
import type { ModelRequest } from "../../agent/request.ts";
import { callText, makeCallReader } from "../../agent/text-tools.ts";
import type { ScriptedCall } from "./reply.ts";

/** A request that tells of tools in words, as one that offers them. */
export const readInWords = (request: ModelRequest): ModelRequest => ({
  ...request,
  messages: request.messages.map(messageOf),
  tools: request.messages.flatMap(({ role, content }) =>
    role === "system" ? toolsIn(content) : [],
  ),
});

/** The calls of a reply, as they are written behind its text. */
export const writtenCalls = (calls: readonly ScriptedCall[]): string =>
  calls.map(({ name, inputJson }) => `\n${callText(name, inputJson)}`).join("");

const toolsIn = (content: string): readonly ToolDefinition[] =>
  content
    .split("\n")
    .filter((line) => line.startsWith('{"name":'))
    .flatMap((line) => {
      const { name, description, parameters } = objectIn(line);
      if (typeof name !== "string" || typeof description !== "string") return [];
      return isJsonObject(parameters) ? [{ name, description, parameters }] : [];
    });

const resultPattern =
  /^((?:\[[^\]\n]{0,40}\] )?(?:\(now: [^)\n]{0,40}\) )?)Result of (\S{1,200}) \((\S{1,64})\): ([^]*)$/;

function messageOf(message: PromptMessage): PromptMessage {
  if (message.role === "assistant") {
    const reader = makeCallReader("");
    const parts = [...reader.read(message.content), ...reader.end()];
    return {
      role: "assistant",
      content: parts.map((part) => (part.kind === "text" ? part.text : "")).join(""),
      toolCalls: parts
        .filter((part) => part.kind === "toolCall")
        .map(({ name, inputJson }) => ({ callId: "", name, input: objectIn(inputJson) })),
    };
  }
  const result = message.role === "user" ? resultPattern.exec(message.content) : null;
  if (result === null) return message;
  const [, times = "", name = "", callId = "", content = ""] = result;
  return { role: "tool", name, callId, content: times + content };
}

function objectIn(json: string) {
  try {
    const value: unknown = JSON.parse(json);
    return isJsonObject(value) ? value : {};
  } catch {
    return {};
  }
}
