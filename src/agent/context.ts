import { contextLimits } from "../limits.ts";
import { formatOf } from "./answer.ts";
import type { AgentSpec, ToolDefinition } from "./event.ts";
import { formatWords, type PromptMessage } from "./prompt.ts";
import { bytesOf } from "./spec.ts";
import type { AgentState, TranscriptItem } from "./state.ts";

/*
 * How a conversation is kept within what the model can read. Where the next prompt would not fit, the oldest part of the
 * transcript is condensed into a summary, which an event records; the goal and the system prompt stay, tool exchanges
 * stay whole, the newest part stays to the letter. Half of the room is freed at once, so that prompts only grow at their
 * end for many turns and servers can reuse what they have read.
 */

/** What has to be done before the next model call: the first `items` of the transcript condensed; null: nothing. */
export type ContextPlan = { readonly items: number } | "overflow" | null;

/** Whether the next prompt fits, and what is to be condensed where it does not; `overflow` where nothing helps. */
export function planContext(state: AgentState): ContextPlan {
  const { transcript } = state;
  const limit = contextTokensOf(state);
  const budget = limit - Math.min(limit / 4, contextLimits.replyTokens);
  const scale = tokenScale(state);
  const before = tokensBefore(transcript, scale);
  const whole = scale * fixedTokens(state) + (before.at(-1) ?? 0);
  if (whole <= budget) return null;
  const places = boundaries(transcript);
  const last = places.at(-1) ?? 0;
  /** What the prompt is without all that stands before a place. */
  const from = (place: number): number => whole - (before[place] ?? 0);
  const newest = from(last);
  const isPromised = state.spec.config.contextTokensMax > 0;
  if (newest > limit && isPromised) return "overflow";
  // What cannot be helped is sent as it is, and a short conversation before it is no burden.
  const isLight = newest > budget / 2 && whole - newest <= budget / 4;
  if (last === 0 || (isLight && (!isPromised || whole <= limit))) return null;
  // Whole turns where that is enough.
  const ofTurns = places.filter((place) => transcript[place]?.kind !== "assistant");
  const isEnough = (place: number): boolean => from(place) <= budget / 2;
  const place = ofTurns.find(isEnough) ?? places.find(isEnough) ?? last;
  // As much of it as one call can read, beside the summaries of before and after; the rest is condensed by the next.
  const isReadable = (it: number): boolean =>
    it <= place && (before[it] ?? 0) <= limit * contextLimits.readableShare;
  const items = ofTurns.findLast(isReadable) ?? places.findLast(isReadable) ?? places[0];
  return { items: items ?? last };
}

/** Of each place in the transcript, its end too, the tokens of all that stands before it. */
function tokensBefore(transcript: readonly TranscriptItem[], scale: number): readonly number[] {
  let total = 0;
  return [0, ...transcript.map((item) => (total += scale * itemTokens(item)))];
}

/** Tokens that the model may be sent, its reply included. */
const contextTokensOf = ({ spec, reach }: AgentState): number =>
  Math.min(
    spec.config.contextTokensMax || contextLimits.tokensDefault,
    reach.told ?? Infinity,
    reach.learnt ?? Infinity,
  );

/** Tokens that the model can read at most, as far as is known, once it has refused the prompt of a call behind `afterSequence`. */
export function reachBelow(state: AgentState, afterSequence: number): number {
  const refused = tokenScale(state) * promptTokens(state, afterSequence);
  const share = contextLimits.refusedShare * Math.min(refused, contextTokensOf(state));
  return Math.max(1, Math.floor(share));
}

/** The same once a reply to that prompt has run out of room: all that was sent and written could be read. */
export const reachOf = (state: AgentState, afterSequence: number, written: string): number =>
  Math.ceil(tokenScale(state) * (promptTokens(state, afterSequence) + textTokens(written)));

/** Where the transcript can be cut: not between a reply and the results of its tools. Something always stays. */
const boundaries = (transcript: readonly TranscriptItem[]): readonly number[] =>
  transcript.flatMap(({ kind }, index) => (index > 0 && kind !== "tool" ? [index] : []));

/** How many of the model's tokens an estimated one is, by its own count of the latest prompt where it gave one. */
export function tokenScale(state: AgentState): number {
  const { counted } = state;
  if (counted === null) return state.tokenScale;
  const estimate = promptTokens(state, counted.afterSequence);
  const { scaleLeast, scaleMost } = contextLimits;
  return Math.min(Math.max(counted.promptTokens / estimate, scaleLeast), scaleMost);
}

/** An estimate, before it is scaled, of what a call was sent that knew the log up to `afterSequence`. */
function promptTokens(state: AgentState, afterSequence: number): number {
  const known = state.transcript.filter((item) => item.sequence <= afterSequence);
  return fixedTokens(state) + sum(known.map(itemTokens));
}

const fixedTokens = ({ spec, summary, offeredTools }: AgentState): number =>
  contextLimits.systemTokens +
  specTokens(spec) +
  textTokens(summary) +
  sum(offeredTools.map(toolTokens));

const specTokens = onceFor((spec: AgentSpec) => {
  const format = formatOf(spec);
  const words = format === null ? "" : formatWords + JSON.stringify(format);
  return textTokens(spec.goal) + textTokens(spec.systemPrompt) + textTokens(words);
});

const sum = (numbers: readonly number[]): number =>
  numbers.reduce((total, number) => total + number, 0);

/** An estimate of the tokens in a text, before the model has counted any. */
export const textTokens = (text: string): number => weightOf(text) / contextLimits.charsPerToken;

/**
 * A text's length in characters of English: another alphabet's letters, of two bytes each, count two and a half of them,
 * and what has three bytes, such as Chinese, four.
 */
const weightOf = (text: string): number =>
  text.length + contextLimits.weightPerByte * (bytesOf(text) - text.length);

/** What is measured never changes, so that once is enough: a step asks several times. */
function onceFor<T extends object>(measure: (it: T) => number): (it: T) => number {
  const measured = new WeakMap<T, number>();
  return (it) => {
    const known = measured.get(it);
    if (known !== undefined) return known;
    const tokens = measure(it);
    measured.set(it, tokens);
    return tokens;
  };
}

const toolTokens = onceFor(({ name, description, parameters }: ToolDefinition) =>
  textTokens(name + description + JSON.stringify(parameters)),
);

const itemTokens = onceFor((item: TranscriptItem) => contextLimits.messageTokens + partsOf(item));

function partsOf(item: TranscriptItem): number {
  const text = textTokens(item.content);
  if (item.kind === "assistant")
    return text + sum(item.toolCalls.map((call) => textTokens(call.inputJson)));
  if (item.kind !== "user") return text;
  return (
    text +
    sum(
      item.attachments.map(({ mimeType, base64 }) =>
        mimeType.startsWith("image/")
          ? contextLimits.imageTokens
          : (base64.length * 3) / 4 / contextLimits.charsPerToken,
      ),
    )
  );
}

/** How the system message of a condensing call begins. */
export const condensingHead = "Condense the beginning of a conversation";

/** What the model is sent to condense the first `items` of the transcript, together with the summary of before. */
export function condensingPrompt(state: AgentState, items: number): readonly PromptMessage[] {
  const earlier = state.summary === "" ? [] : [`Summary so far:\n${state.summary}`];
  const weightOfItem = itemWeightMax(state);
  const lines = state.transcript.slice(0, items).map((item) => lineOf(item, weightOfItem));
  const content = [...earlier, ...lines].join("\n\n");
  const charsMax = Math.round((summaryWeightMax(state) * content.length) / weightOf(content));
  const system =
    `${condensingHead} between a user and an agent with this goal:\n${state.spec.goal}\n\n` +
    "The agent goes on from your summary alone. Keep every fact, name, number, decision, promise and open question; " +
    `leave out greetings and repetitions. Answer with the summary only, in at most ${charsMax} characters.`;
  return [
    { role: "system", content: system },
    { role: "user", content, images: [] },
  ];
}

function lineOf(item: TranscriptItem, weightMax: number): string {
  const content = shortened(item.content, weightMax);
  switch (item.kind) {
    case "user": {
      const names = item.attachments.map(
        ({ name, mimeType }) => `\n(attached: ${name}, ${mimeType})`,
      );
      return `User:\n${content}${names.join("")}`;
    }
    case "operator":
      return `Operator:\n${content}`;
    case "tool":
      return `Result of ${item.name}:\n${content}`;
    case "assistant": {
      const calls = item.toolCalls.map(
        ({ name, inputJson }) => `\n(called ${name} with ${inputJson})`,
      );
      return `Agent:\n${content}${shortened(calls.join(""), weightMax)}`;
    }
  }
}

/** The summary as it is kept: the model's, or where it wrote none, the beginnings of what is condensed. */
export function summaryOf(state: AgentState, items: number, written: string): string {
  const weightMax = summaryWeightMax(state);
  if (written.trim() !== "") return shortened(written.trim().toWellFormed(), weightMax);
  const parts = [
    ...(state.summary === "" ? [] : [state.summary]),
    ...state.transcript.slice(0, items).map((item) => lineOf(item, contextLimits.quotedCharsMax)),
  ];
  return shortened(parts.join("\n"), weightMax);
}

/** A quarter of the room at most. */
const itemWeightMax = (state: AgentState): number =>
  Math.min(contextLimits.condensedItemCharsMax, weightIn(state, contextTokensOf(state) / 4));

/** An eighth of the room. */
const summaryWeightMax = (state: AgentState): number => weightIn(state, contextTokensOf(state) / 8);

/** So many tokens, as a weight; where a model has more of them in a text than was estimated, it is less. */
const weightIn = (state: AgentState, tokens: number): number =>
  Math.round((tokens * contextLimits.charsPerToken) / Math.max(1, tokenScale(state)));

/** The beginning and the end, where it is too long. Half a character in a request is no JSON to some servers. */
function shortened(text: string, weightMax: number): string {
  const weight = weightOf(text);
  if (weight <= weightMax) return text;
  const half = Math.max(0, Math.floor(((text.length * weightMax) / weight - 5) / 2));
  return `${text.slice(0, half)} ... ${text.slice(text.length - half)}`.toWellFormed();
}
