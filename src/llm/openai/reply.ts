import type { Usage } from "../../agent/event.ts";
import { isJsonObject, type JsonObject } from "../../agent/json.ts";
import { textTokens } from "../../agent/context.ts";
import type { PromptMessage } from "../../agent/prompt.ts";
import type { ModelRequest } from "../../agent/request.ts";
import { EngramError } from "../../errors.ts";
import { contextLimits } from "../../limits.ts";
import type { ModelPiece } from "../model.ts";
import { collectCalls } from "./calls.ts";
import { unreadable } from "./failure.ts";

/** A reply as its chunks tell it. */
export type ReplyReader = {
  /** The pieces in a chunk, in their order. */
  readonly take: (chunk: unknown) => readonly ModelPiece[];
  /** Characters of text, thinking and tool calls so far. */
  readonly chars: () => number;
  /** Whether the model has come to its end; what follows is but the usage. */
  readonly isFinished: () => boolean;
  /** Whether that was for want of room, and not the model's own. */
  readonly isCut: () => boolean;
  /** The tool calls, and `done`. */
  readonly end: () => readonly ModelPiece[];
};

type TextPiece = Extract<ModelPiece, { readonly text: string }>;

/** Ends that are none: what the model would have said is not all there. Not told of are those of servers not known. */
const badEnds: ReadonlyMap<string, { readonly transient: boolean; readonly means: string }> =
  new Map([
    ["content_filter", { transient: false, means: "its content filter stopped the answer" }],
    ["error", { transient: true, means: "it failed in mid-reply" }],
    ["abort", { transient: true, means: "it gave the answer up" }],
    ["insufficient_system_resource", { transient: true, means: "it is overloaded" }],
  ]);

const countIn = (value: unknown): number =>
  typeof value === "number" && Number.isSafeInteger(value) && value > 0 ? value : 0;

const usageIn = (chunk: JsonObject): Usage | null => {
  const beside = chunk["x_groq"];
  const usage = chunk["usage"] ?? (isJsonObject(beside) ? beside["usage"] : null);
  if (!isJsonObject(usage)) return null;
  const promptTokens = countIn(usage["prompt_tokens"]);
  const completionTokens = countIn(usage["completion_tokens"]);
  return promptTokens + completionTokens === 0 ? null : { promptTokens, completionTokens };
};

/**
 * What a call has used by its texts, for servers that do not count: a budget that is held to an estimate is better than one
 * that is not. It is the estimate by which a conversation is condensed, which takes this for the model's own count.
 */
const estimatedUsage = ({ messages, tools }: ModelRequest, writtenChars: number): Usage => ({
  promptTokens: Math.ceil(messages.reduce((sum, it) => sum + tokensOf(it), toolTokens(tools))),
  completionTokens: Math.ceil(writtenChars / contextLimits.charsPerToken),
});

const toolTokens = (tools: ModelRequest["tools"]): number =>
  tools.length === 0 ? 0 : textTokens(JSON.stringify(tools));

function tokensOf(message: PromptMessage): number {
  const { messageTokens, imageTokens } = contextLimits;
  const calls = message.role === "assistant" ? message.toolCalls : [];
  const images = message.role === "user" ? message.images.length : 0;
  const called = calls.length === 0 ? "" : JSON.stringify(calls);
  return messageTokens + textTokens(message.content + called) + images * imageTokens;
}

/** Text as it comes from all servers but a few, which send a list of parts. */
const piecesOf = (value: unknown, kind: TextPiece["kind"]): readonly TextPiece[] => {
  if (value === undefined || value === null || value === "") return [];
  if (typeof value === "string") return [{ kind, text: value }];
  if (!Array.isArray(value)) throw unreadable("content that is not text");
  return value.flatMap((part: unknown) => {
    if (!isJsonObject(part)) throw unreadable("content that is not text");
    if (part["type"] === "thinking") return piecesOf(part["thinking"], "thinking");
    if (typeof part["text"] !== "string") throw unreadable("content that is not text");
    return piecesOf(part["text"], kind);
  });
};

/** Where both names are used, they say the same. */
const thoughtsIn = (message: JsonObject): readonly TextPiece[] => {
  const { reasoning_content: content, reasoning } = message;
  const thoughts = [content, reasoning].find((one) => typeof one === "string" && one !== "");
  return piecesOf(thoughts, "thinking");
};

const messageIn = (choice: JsonObject): JsonObject => {
  const message = choice["delta"] ?? choice["message"];
  return isJsonObject(message) ? message : {};
};

/** Reads the chunks of one reply, and a reply that came as one. */
export const readReply = (request: ModelRequest): ReplyReader => {
  const collector = collectCalls(new Set(request.tools.map(({ name }) => name)));
  let usage: Usage | null = null;
  let writtenChars = 0;
  let finish: string | null = null;

  const chars = (): number => writtenChars + collector.chars();

  const finishes = (reason: unknown): void => {
    // Some say "" for not yet.
    if (typeof reason !== "string" || reason === "") return;
    const bad = badEnds.get(reason);
    if (bad !== undefined)
      throw new EngramError(
        "model_error",
        `the model server ended the reply of "${request.model}" with ${reason}: ${bad.means}`,
        { transient: bad.transient },
      );
    finish = reason;
  };

  return {
    take: (chunk) => {
      if (!isJsonObject(chunk)) throw unreadable("a chunk that is not an object");
      usage = usageIn(chunk) ?? usage;
      const choices = chunk["choices"] ?? [];
      if (!Array.isArray(choices)) throw unreadable("choices that are not a list");
      const choice: unknown = choices.find(
        (one: unknown) => isJsonObject(one) && (one["index"] ?? 0) === 0,
      );
      if (!isJsonObject(choice)) return [];
      const message = messageIn(choice);
      const call = message["function_call"];
      collector.take(message["tool_calls"]);
      if (isJsonObject(call)) collector.take([{ function: call }]);
      const pieces = [
        ...thoughtsIn(message),
        ...piecesOf(message["content"], "text"),
        ...piecesOf(message["refusal"], "text"),
      ];
      finishes(choice["finish_reason"]);
      for (const { text } of pieces) writtenChars += text.length;
      return pieces;
    },
    isFinished: () => finish !== null,
    isCut: () => finish === "length",
    chars,
    end: () => [
      ...collector
        .calls(finish === "length")
        .map((call): ModelPiece => ({ kind: "toolCall", ...call })),
      { kind: "done", usage: usage ?? estimatedUsage(request, chars()) },
    ],
  };
};
