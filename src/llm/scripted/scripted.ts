import type { Usage } from "../../agent/event.ts";
import type { PromptMessage } from "../../agent/prompt.ts";
import type { Clock } from "../../clock.ts";
import { EngramError } from "../../errors.ts";
import { abilitiesUnknown, type ModelRequest } from "../../agent/request.ts";
import type { Model, ModelPiece } from "../model.ts";
import { scriptedReply, type ScriptedReply } from "./reply.ts";
import { readInWords, writtenCalls } from "./text.ts";
import { scriptedLimits } from "./scripted-limits.ts";

type Manner = {
  readonly wordDelayMs: number;
  /** Starts over where it is given a partial answer. */
  readonly anew: boolean;
  /** No two calls write the same words. */
  readonly varied: boolean;
  /** Takes no tools as such: it reads of them in words, and writes its calls into its text. */
  readonly inText: boolean;
};

/**
 * How a model name asks to be answered: `scripted`, then any of `:instant` (no delay), `:MS` (delay in ms before each
 * word), `:anew` (does not continue a partial answer), `:text` (has no tool support but the text protocol) and `:varied`
 * (each call marks its words with a mark of its own, as in `stone-1~k3f9`, so that an answer that was asked for twice
 * shows), as in `scripted:anew:5`. Any other name is taken as `scripted`; an unknown option is model_not_found.
 */
const mannerOf = (model: string): Manner => {
  let manner: Manner = {
    wordDelayMs: scriptedLimits.wordDelayMsDefault,
    anew: false,
    varied: false,
    inText: false,
  };
  const [base, ...options] = model.split(":");
  if (base !== "scripted") return manner;
  for (const option of options) {
    if (option === "instant") manner = { ...manner, wordDelayMs: 0 };
    else if (option === "anew") manner = { ...manner, anew: true };
    else if (option === "varied") manner = { ...manner, varied: true };
    else if (option === "text") manner = { ...manner, inText: true };
    else if (/^\d{1,5}$/.test(option) && Number(option) <= scriptedLimits.wordDelayMsMax)
      manner = { ...manner, wordDelayMs: Number(option) };
    else
      throw new EngramError(
        "model_not_found",
        `the scripted model has no option "${option.slice(0, 40)}": use scripted, followed by any of ` +
          `:instant, :MS (up to ${scriptedLimits.wordDelayMsMax}), :anew, :text and :varied`,
      );
  }
  return manner;
};

/** Also of a model with options that there are not: only a call of it fails. */
const hasOption = (model: string, option: string): boolean =>
  model.startsWith("scripted:") && model.split(":").includes(option);

/** The words of a text with the blanks before them; joined they are the text. */
const wordsOf = (text: string): readonly string[] => text.match(/\s*\S+|\s+$/g) ?? [];

const pause = (clock: Clock, delayMs: number, signal: AbortSignal): Promise<void> =>
  new Promise((resolve, reject) => {
    const stop = (): void => {
      cancel();
      reject(signal.reason);
    };
    const cancel = clock.after(delayMs, () => {
      signal.removeEventListener("abort", stop);
      resolve();
    });
    signal.addEventListener("abort", stop, { once: true });
  });

const promptText = (message: PromptMessage): string =>
  message.role === "assistant"
    ? `${message.content} ${message.toolCalls.map((call) => JSON.stringify(call.input)).join(" ")}`
    : message.content;

const countWords = (texts: readonly string[]): number =>
  texts.reduce((sum, text) => sum + wordsOf(text).length, 0);

/** Of messages that come again with each call. */
const counted = new WeakMap<PromptMessage, number>();

function wordsIn(message: PromptMessage): number {
  const known = counted.get(message);
  if (known !== undefined) return known;
  const words = wordsOf(promptText(message)).length;
  counted.set(message, words);
  return words;
}

const usageOf = (messages: readonly PromptMessage[], reply: ScriptedReply): Usage => ({
  promptTokens: messages.reduce((sum, message) => sum + wordsIn(message), 0),
  completionTokens: countWords([
    reply.thinking,
    reply.text,
    ...reply.calls.map((call) => call.inputJson),
  ]),
});

/** Words as a call of a varied model writes them, and without what it made of them. */
const marked = (text: string, mark: string): string => text.replace(/\S+/g, `$&~${mark}`);
export const withoutMarks = (text: string): string => text.replace(/~[0-9a-z]+/g, "");

/** What is left of the reply to these messages once a partial answer at their end has been taken off. */
const restOf = (request: ModelRequest, { anew, varied }: Manner): ScriptedReply => {
  const last = request.messages.at(-1);
  const whole = (messages: readonly PromptMessage[]): ScriptedReply => {
    const reply = scriptedReply(messages, request.tools, request.format);
    return request.thinking ? reply : { ...reply, thinking: "" };
  };
  if (last?.role !== "assistant") return whole(request.messages);
  const reply = whole(request.messages.slice(0, -1));
  if (anew) return reply;
  const partial = varied ? withoutMarks(last.content) : last.content;
  const given = [partial, partial.trimEnd()].find((text) => reply.text.startsWith(text));
  // A partial answer was in mid-text, so the thinking is over. One that is not this model's own gets the reply after it.
  return {
    ...reply,
    thinking: "",
    text: given === undefined ? ` ${reply.text}` : reply.text.slice(given.length),
  };
};

/**
 * A built-in model that needs no server: offline, deterministic, a pure function of the messages and the tools
 * offered. It writes word by word and continues a partial answer exactly; tokens are counted as words. Its model
 * names are described at `mannerOf`.
 */
export const openScripted = ({ clock }: { readonly clock: Clock }): Model => {
  async function* write(manner: Manner, text: string, signal: AbortSignal): AsyncGenerator<string> {
    let written = 0;
    for (const word of wordsOf(text)) {
      if (manner.wordDelayMs > 0) await pause(clock, manner.wordDelayMs, signal);
      else if (++written % scriptedLimits.wordsBetweenYields === 0)
        await new Promise((resolve) => setImmediate(resolve));
      signal.throwIfAborted();
      yield word;
    }
  }

  async function* call(request: ModelRequest, signal: AbortSignal): AsyncGenerator<ModelPiece> {
    signal.throwIfAborted();
    const manner = mannerOf(request.model);
    const reply = restOf(manner.inText ? readInWords(request) : request, manner);
    const mark = Math.floor(Math.random() * 36 ** 4).toString(36);
    const isVaried = manner.varied && request.format === null;
    const varied = (text: string): string => (isVaried ? marked(text, mark) : text);
    for await (const text of write(manner, varied(reply.thinking), signal))
      yield { kind: "thinking", text };
    for await (const text of write(manner, varied(reply.text), signal))
      yield { kind: "text", text };
    if (manner.inText)
      for await (const text of write(manner, writtenCalls(reply.calls), signal))
        yield { kind: "text", text };
    for (const { name, inputJson } of manner.inText ? [] : reply.calls) {
      if (manner.wordDelayMs > 0) await pause(clock, manner.wordDelayMs, signal);
      signal.throwIfAborted();
      yield { kind: "toolCall", name, inputJson };
    }
    signal.throwIfAborted();
    yield { kind: "done", usage: usageOf(request.messages, reply) };
  }

  return {
    call,
    continuesPartial: async (model, _thinking, signal) => {
      signal.throwIfAborted();
      return Promise.resolve(!hasOption(model, "anew"));
    },
    abilities: async (model) =>
      Promise.resolve({ ...abilitiesUnknown, tools: !hasOption(model, "text") }),
    bodyOf: (request) => JSON.stringify(request),
  };
};
