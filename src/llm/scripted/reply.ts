import type { ToolDefinition } from "../../agent/event.ts";
import { condensingHead } from "../../agent/context.ts";
import { isJsonObject, type JsonObject } from "../../agent/json.ts";
import type { PromptMessage } from "../../agent/prompt.ts";
import { recall, statementsIn, tellingSentences, type Told } from "./memory.ts";
import { finalAnswer, objectOf, sampleOf, wrongAnswer, wrongSampleOf } from "./answer.ts";
import { scriptedLimits } from "./scripted-limits.ts";

export type ScriptedCall = { readonly name: string; readonly inputJson: string };

export type ScriptedReply = {
  readonly thinking: string;
  readonly text: string;
  readonly calls: readonly ScriptedCall[];
};

/** What the rules may look at. */
type Scene = {
  readonly offered: ReadonlyMap<string, ToolDefinition>;
  readonly recall: (question: string) => Told | null;
  /** The newest time that the prompt names; empty: none. */
  readonly toldTime: string;
};

/** What one part of a request comes to. */
type Step = {
  readonly thought: string;
  readonly text: string;
  readonly calls: readonly ScriptedCall[];
  /** Is never done: the same call again after each result. */
  readonly endless: boolean;
};

/** The first rule whose pattern matches and whose reply is not null answers. */
type Rule = {
  readonly pattern: RegExp;
  readonly reply: (match: RegExpMatchArray, scene: Scene) => Step | null;
};

const say = (text: string, thought = "I can answer this myself."): Step => ({
  thought,
  text,
  calls: [],
  endless: false,
});

const use = (calls: readonly ScriptedCall[], endless = false): Step => ({
  thought: `I need the result of ${calls.map((call) => call.name).join(" and ")}.`,
  text: "",
  calls,
  endless,
});

/** The input of a tool that takes one thing, under the name that the tool gives it. */
const inputOf = (tool: ToolDefinition, value: string, fallbackKey: string): string => {
  const { required, properties } = tool.parameters;
  const first = Array.isArray(required) ? required[0] : undefined;
  const names = isJsonObject(properties) ? Object.keys(properties) : [];
  return JSON.stringify({ [typeof first === "string" ? first : (names[0] ?? fallbackKey)]: value });
};

/** The JSON object at the head of a text as written: up to its closing brace, or to the line's end where there is none. */
const jsonAtHead = (text: string): string => {
  let depth = 0;
  let quoted = false;
  for (let at = 0; at < text.length; at++) {
    const char = text[at];
    if (char === "\\" && quoted) at++;
    else if (char === '"') quoted = !quoted;
    else if (!quoted && char === "{") depth++;
    else if (!quoted && char === "}" && --depth === 0) return text.slice(0, at + 1);
  }
  return text.split("\n", 1)[0] ?? "";
};

const callPattern =
  /\b(?:call(?:ing)?|use|run|invoke)\s{1,4}(?:the\s{1,4})?(tool\s{1,4})?["'`]?([\w-]{1,64})["'`]?(?:\s{1,4}(?:tool\s{1,4})?(?:with|on)\s{1,4}(?:the\s{1,4}input\s{1,4})?(?=\{))?/gi;

/** Every call asked for. A name that is not offered counts where the wording leaves no doubt. */
const callsIn = (text: string, { offered }: Scene): readonly ScriptedCall[] => {
  const calls: ScriptedCall[] = [];
  let readTo = 0;
  for (const match of text.matchAll(callPattern)) {
    const [whole, said, name = ""] = match;
    if (match.index < readTo) continue;
    const rest = text.slice(match.index + whole.length);
    const inputJson = rest.startsWith("{") ? jsonAtHead(rest) : "";
    readTo = match.index + whole.length + inputJson.length;
    if (inputJson !== "" || said !== undefined || offered.has(name))
      calls.push({ name, inputJson: inputJson === "" ? "{}" : inputJson });
  }
  return calls;
};

const nouns =
  "river stone cloud lamp forest bell harbour sparrow winter garden letter copper".split(" ");

/** Words that differ from each other, so that one lost or doubled shows. */
const numbered = (count: number, word: (n: number) => string): string =>
  Array.from({ length: Math.min(count, scriptedLimits.wordsMax) }, (_, i) => word(i + 1)).join(" ");

const tale = (count: number): string =>
  numbered(count, (n) => `${nouns[n % nouns.length] ?? ""}-${n}`);

const quote = (text: string): string => {
  const words = text.split(/\s+/, scriptedLimits.quotedWordsMax + 1);
  const cut = words.length > scriptedLimits.quotedWordsMax;
  return words.slice(0, scriptedLimits.quotedWordsMax).join(" ") + (cut ? " ..." : "");
};

const wronglyPattern = /\b(finish|keep finishing) wrongly\b/i;

const rules: readonly Rule[] = [
  {
    pattern: /\bkeep calling\b/i,
    reply: ({ input = "" }, scene) => {
      const calls = callsIn(input, scene);
      return calls.length > 0 ? use(calls, true) : null;
    },
  },
  {
    pattern: /\b(?:call|use|run|invoke)\b/i,
    reply: ({ input = "" }, scene) => {
      const calls = callsIn(input, scene);
      return calls.length > 0 ? use(calls) : null;
    },
  },
  {
    pattern: wronglyPattern,
    reply: ([, how = ""], { offered }) => {
      const tool = offered.get("final_answer");
      return tool === undefined ? null : use([wrongAnswer(tool)], how.startsWith("keep"));
    },
  },
  {
    pattern: /\bfinish with:?\s+([^]+)/i,
    reply: ([, content = ""], { offered }) => {
      const tool = offered.get("final_answer");
      return tool === undefined ? say(content.trim()) : use([finalAnswer(content.trim(), tool)]);
    },
  },
  {
    pattern: /\bcount (?:up )?to (\d{1,9})/i,
    reply: ([, count]) => say(numbered(Number(count), String), "I count one by one."),
  },
  {
    pattern: /\bwrite (?:me )?(\d{1,9}) words/i,
    reply: ([, count]) => say(tale(Number(count)), "I number the words as I go."),
  },
  {
    pattern: /\btell\b[^.?!\n]{0,40}\b(long |short )?story\b/i,
    reply: ([, length]) =>
      say(`Once upon a time: ${tale(length === "short " ? 40 : 400)}`, "A story is wanted."),
  },
  {
    pattern: /\b(?:what|who|where|which|know|remember|remind|tell)\b/i,
    reply: ({ input = "" }, scene) => {
      const told = scene.recall(input);
      return told?.value === undefined ? null : say(told.sentence, "I was told this before.");
    },
  },
  {
    pattern: /\b(?:what|tell|give|show|say|which)\b[^.?!\n]{0,40}\b(?:time|date|today)\b/i,
    reply: (_match, { offered, toldTime }) => {
      if (offered.has("clock")) return use([{ name: "clock", inputJson: "{}" }]);
      return say(toldTime === "" ? "I have no clock." : `I have no clock; I was told ${toldTime}.`);
    },
  },
  {
    pattern:
      /\b(?:compute|calculate|evaluate|what is|what's|how much is)\s{1,4}([-+(\s]{0,20}\d[-+*/^%().\d\s]{0,400})/i,
    reply: ([, expression = ""], { offered }) => {
      const tool = offered.get("calculator");
      const written = expression.trim().replace(/[.\s]+$/, "");
      if (tool === undefined) return say(`I have no calculator for ${written}.`);
      return use([{ name: tool.name, inputJson: inputOf(tool, written, "expression") }]);
    },
  },
  {
    pattern: /\b(?:is|are)\b|[=:]/i,
    reply: ({ input = "" }) => {
      const told = statementsIn(input);
      if (told.length === 0) return null;
      return say(`I will remember: ${told.map(({ sentence }) => sentence).join(" ")}`);
    },
  },
  {
    pattern: /^(?:please )?(?:say|repeat|echo|reply with):?\s+([^]+)/i,
    reply: ([, words = ""]) => say(words.trim()),
  },
  {
    pattern: /\b(?:what|who|where|which|know|remember|remind|tell)\b/i,
    reply: ({ input = "" }, scene) => {
      const asked = scene.recall(input);
      return asked === null ? null : say(asked.sentence, "I look for it and do not find it.");
    },
  },
];

const stepOf = (text: string, scene: Scene, otherwise: (text: string) => string): Step => {
  for (const { pattern, reply } of rules) {
    const match = pattern.exec(text);
    const step = match === null ? null : reply(match, scene);
    if (step !== null) return step;
  }
  return say(otherwise(text));
};

const stampPattern =
  /[[(][^\][()\n]{0,120}?(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z)[^\][()\n]{0,120}[\])]/g;
const stampsAtHead = new RegExp(`^(?:\\s{0,4}${stampPattern.source})+\\s*`);
const stampsAtEnd = new RegExp(`(?:${stampPattern.source}\\s{0,4})+$`);

/** A message without the times that the engine put before and after it. */
const withoutStamps = (content: string): string =>
  content
    .slice(0, scriptedLimits.readCharsMax)
    .replace(stampsAtHead, "")
    .replace(stampsAtEnd, "")
    .trim();

const newestTime = (messages: readonly PromptMessage[]): string => {
  const content = messages.findLast(({ role }) => role !== "assistant")?.content ?? "";
  const stamps = [...content.slice(0, scriptedLimits.readCharsMax).matchAll(stampPattern)];
  return stamps.at(-1)?.[1] ?? "";
};

const goalOf = (messages: readonly PromptMessage[]): string => {
  const system = messages.find(({ role }) => role === "system")?.content ?? "";
  const read = system.slice(0, scriptedLimits.readCharsMax);
  return (
    /\bgoal\b[^\n:]{0,40}:\s*([^\n]+)/i.exec(read)?.[1] ??
    read.split("\n", 1)[0] ??
    ""
  ).trim();
};

/** The messages since the model last came to rest: an assistant message ends a turn unless calls belong to it. */
const lastTurn = (messages: readonly PromptMessage[]): readonly PromptMessage[] =>
  messages.slice(
    messages.findLastIndex(
      (message, at) =>
        message.role === "assistant" &&
        message.toolCalls.length === 0 &&
        messages[at + 1]?.role !== "assistant",
    ) + 1,
  );

/** Parts of a request, to be done one after the other. */
const partsOf = (text: string): readonly string[] =>
  text.split(/[,;.]?\s{1,4}(?:and\s{1,4})?then\s{1,4}/i);

const isNote = (text: string): boolean => text.startsWith("(The operator ");

/** What is asked in this turn, in parts to be done one after the other ("…, then …"). */
const requestsOf = (
  messages: readonly PromptMessage[],
  turn: readonly PromptMessage[],
): readonly string[] => {
  const worked = turn.findIndex(({ role }) => role === "assistant");
  const asked = turn.findIndex(({ role }) => role === "user");
  const onGoal = asked === -1 || (worked !== -1 && worked < asked);
  // A note of the operator's joins the conversation without asking for anything.
  const texts = turn
    .filter(({ role }) => role === "user")
    .map(({ content }) => withoutStamps(content))
    .filter((text) => !isNote(text));
  return (onGoal ? [goalOf(messages), ...texts] : texts).flatMap(partsOf);
};

const resultSentence = (name: string, content: string): string => {
  const output = withoutStamps(content);
  const failed = /^\W{0,3}(?:error\W{0,3})?(TOOL_[A-Z_]{1,40})\b\W{0,3}/i.exec(output);
  if (failed === null) return `The tool ${name} says: ${quote(output)}.`;
  return `The tool ${name} failed with ${failed[1]}: ${quote(output.slice(failed[0].length))}`;
};

/** Tool results and images that came since the model last spoke. */
const seenSince = (turn: readonly PromptMessage[]): readonly string[] => {
  const fresh = turn.slice(turn.findLastIndex(({ role }) => role === "assistant") + 1);
  return fresh.flatMap((message) => {
    if (message.role === "tool") return [resultSentence(message.name, message.content)];
    if (message.role !== "user" || message.images.length === 0) return [];
    return [`I see ${message.images.length} image${message.images.length === 1 ? "" : "s"}.`];
  });
};

/** What the user told, as far as there is room: it is what the rules can recall. */
const condensed = (system: string, conversation: string): string => {
  const charsMax = Number(/at most (\d{1,9}) characters/.exec(system)?.[1] ?? 0);
  const parts = conversation.split(/^(?=(?:User|Operator|Agent|Result of \S+|Summary so far):\n)/m);
  const told = parts
    .filter((part) => part.startsWith("User:") || part.startsWith("Summary so far:"))
    .map((part) => part.slice(part.indexOf("\n") + 1));
  const lines = [...tellingSentences(told.join("\n"))];
  while (lines.join("\n").length > charsMax) lines.shift();
  return lines.join("\n");
};

/** The text that has to satisfy a schema: the JSON that is asked for, else a sample; wrong where it is asked to be. */
const textInFormat = (messages: readonly PromptMessage[], format: JsonObject): string => {
  const texts = messages
    .filter(({ role }) => role === "user")
    .map(({ content }) => withoutStamps(content))
    .filter((text) => !isNote(text));
  const asked = texts.findLastIndex((text) => !text.startsWith("Your answer was not taken"));
  const parts = partsOf(texts[asked] ?? goalOf(messages));
  const part = parts[Math.min(texts.length - 1 - asked, parts.length - 1)] ?? "";
  if (wronglyPattern.test(part)) return JSON.stringify(wrongSampleOf(format));
  const given = objectOf(jsonAtHead(part.slice(Math.max(0, part.indexOf("{")))));
  return JSON.stringify(given ?? sampleOf(format));
};

/**
 * What the scripted model answers to these messages, whole. Requests are answered by the rules above; calls are made
 * one part of a request after the other, and the last part's reply names the results that came in.
 */
export const scriptedReply = (
  messages: readonly PromptMessage[],
  tools: readonly ToolDefinition[],
  format: JsonObject | null = null,
): ScriptedReply => {
  const [first, second] = messages;
  if (first?.role === "system" && first.content.startsWith(condensingHead))
    return { thinking: "", text: condensed(first.content, second?.content ?? ""), calls: [] };
  if (format !== null) {
    const text = textInFormat(messages, format);
    return { thinking: "I fill in the form.", text, calls: [] };
  }
  const turn = lastTurn(messages);
  const spokenTo = turn.some(({ role }) => role === "user");
  const scene: Scene = {
    offered: new Map(tools.map((tool) => [tool.name, tool])),
    recall: (question) =>
      recall(
        question,
        messages.map(({ role, content }) =>
          role === "user" || role === "system" ? withoutStamps(content) : "",
        ),
      ),
    toldTime: newestTime(messages),
  };
  const otherwise = (text: string): string =>
    spokenTo ? `You said: ${quote(text)}` : `I will work on this goal: ${quote(text)}`;
  let done = turn.filter((m) => m.role === "assistant" && m.toolCalls.length > 0).length;
  let steps: Step[] = [];
  for (const request of requestsOf(messages, turn)) {
    const step = stepOf(request, scene, otherwise);
    if (step.calls.length > 0 && done > 0 && !step.endless) {
      done--;
      steps = [];
      continue;
    }
    steps.push(step);
    if (step.calls.length > 0) break;
  }
  const calls = steps.flatMap((step) => step.calls);
  const texts = [...(calls.length === 0 ? seenSince(turn) : []), ...steps.map(({ text }) => text)];
  const thoughts = steps.map(({ thought }) => thought);
  return {
    thinking: thoughts.join(" ") || "I have what I need.",
    text: texts.join(" ").trim(),
    calls,
  };
};
