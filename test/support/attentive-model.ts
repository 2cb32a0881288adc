import { condensingHead } from "../../src/agent/context.ts";
import { isJsonObject, type JsonObject } from "../../src/agent/json.ts";
import type { FakeExchange } from "./fake-ollama-exchange.ts";

/**
 * A model behind a stand-in's port that knows what it is sent and nothing else, and counts tokens its own way: five
 * letters are one, and so is every digit and every mark. It is told facts ("Note that KEY is VALUE."), repeats them ("What is KEY?")
 * and its goal, calls tools ("Use TOOL twice."), and keeps the facts when it is to condense. "Slowly" has it stop in
 * mid-answer, until the request is broken off.
 */
export type AttentiveModel = {
  readonly answer: (x: FakeExchange) => Promise<void>;
  /** What it has read, request by request, in order. */
  readonly sizes: Map<FakeExchange, Size>;
};

/** In its own tokens. */
type Size = { readonly prompt: number; readonly reply: number };

export type WireMessage = {
  readonly role: string;
  readonly content: string;
  readonly toolCalls: readonly JsonObject[];
};

const textOf = (value: unknown): string => (typeof value === "string" ? value : "");

export const messagesOf = ({ body }: Pick<FakeExchange, "body">): readonly WireMessage[] =>
  (Array.isArray(body["messages"]) ? body["messages"] : []).map((message) => {
    const { role, content, tool_calls: calls } = isJsonObject(message) ? message : {};
    const toolCalls = Array.isArray(calls) ? calls.filter(isJsonObject) : [];
    return { role: textOf(role), content: textOf(content), toolCalls };
  });

export const isCondensing = (x: Pick<FakeExchange, "body">): boolean =>
  messagesOf(x)[0]?.content.startsWith(condensingHead) === true;

const perMessage = 6;

const tokensIn = (text: string): number => text.match(/\p{L}{1,5}|[^\s\p{L}]/gu)?.length ?? 0;

const promptTokens = (x: FakeExchange): number =>
  messagesOf(x).reduce(
    (sum, { content, toolCalls }) =>
      sum + perMessage + tokensIn(content) + tokensIn(JSON.stringify(toolCalls)),
    tokensIn(JSON.stringify(x.body["tools"] ?? [])),
  );

const facts = (text: string): readonly string[] =>
  [...text.matchAll(/Note that ([\w ]+ is \w+)\./g)].map(([, fact]) => fact ?? "");

/** Keeps facts and how much else there was; it is honest, so what it was not sent is not in it. */
const condensed = (text: string): string => {
  const talks = (text.match(/^User:$/gm) ?? []).length;
  const earlier = [...text.matchAll(/and (\d+) messages of small talk/g)].map(([, n]) => Number(n));
  const total = earlier.reduce((sum, n) => sum + n, talks);
  const kept = [...new Set(facts(text))].map((fact) => `Note that ${fact}.`);
  return [...kept, `The user sent these, and ${total} messages of small talk.`].join("\n");
};

const withoutTimes = (content: string): string =>
  content.replace(/^\[[^\]]*\] (\(now: [^)]*\) )?/, "");

/** What it says to the newest message; the same to the same. */
const replyTo = (messages: readonly WireMessage[]): string => {
  const all = messages.map(({ content }) => content).join("\n");
  const asked = withoutTimes(messages.at(-1)?.content ?? "");
  if (messages.at(-1)?.role === "tool")
    return `The tool said ${asked}. ${asked.length} is its length.`;
  if (asked.startsWith("What is your goal?"))
    return /with this goal:\n(.*)/.exec(messages[0]?.content ?? "")?.[1] ?? "I have none.";
  const key = /^What is ([\w ]+)\?/.exec(asked)?.[1];
  if (key !== undefined)
    return facts(all).find((fact) => fact.startsWith(`${key} is `)) ?? "I do not know.";
  const [, fact] = /^Note that ([^.]*)\./.exec(asked) ?? [];
  const words = asked.split(" ").toReversed().slice(0, 60).join(" ");
  return `${fact === undefined ? "" : `I noted ${fact}. `}You said, the other way round: ${words}`;
};

const toolsAsked = (messages: readonly WireMessage[]): readonly JsonObject[] => {
  const [, tool, times] =
    /^Use (\w+) (once|twice)/.exec(withoutTimes(messages.at(-1)?.content ?? "")) ?? [];
  if (tool === undefined || messages.at(-1)?.role !== "user") return [];
  const call = { function: { name: tool, arguments: {} } };
  return times === "twice" ? [call, call] : [call];
};

const wordsPerPiece = 8;

export const makeAttentiveModel = (): AttentiveModel => {
  const sizes = new Map<FakeExchange, Size>();
  const say = async (x: FakeExchange, text: string, stops: boolean): Promise<boolean> => {
    const words = text.split(/(?<= )/);
    for (let at = 0; at < words.length; at += wordsPerPiece) {
      x.say(words.slice(at, at + wordsPerPiece).join(""));
      if (stops && at > 0) return (await x.over) && false;
    }
    return true;
  };
  return {
    sizes,
    answer: async (x) => {
      if (x.body["_debug_render_only"] === true) {
        const rendered_template = messagesOf(x)
          .map(({ content }) => content)
          .join("\n");
        return x.json(200, { _debug_info: { rendered_template } });
      }
      const all = messagesOf(x);
      const begun = all.at(-1)?.role === "assistant" ? (all.at(-1)?.content ?? "") : "";
      const messages = begun === "" ? all : all.slice(0, -1);
      const calls = begun === "" && !isCondensing(x) ? toolsAsked(messages) : [];
      const whole = isCondensing(x) ? condensed(all[1]?.content ?? "") : replyTo(messages);
      const reply = calls.length > 0 ? "" : whole.slice(begun.length);
      const size = { prompt: promptTokens(x), reply: tokensIn(reply + JSON.stringify(calls)) };
      sizes.set(x, size);
      const stops =
        begun === "" &&
        /^(\[[^\]]*\] (\(now: [^)]*\) )?)Slowly/.test(messages.at(-1)?.content ?? "");
      if (reply !== "" && !(await say(x, reply, stops))) return;
      if (calls.length > 0)
        x.event({
          message: { role: "assistant", content: "", tool_calls: [...calls] },
          done: false,
        });
      x.done({ prompt_eval_count: size.prompt, eval_count: size.reply });
    },
  };
};
