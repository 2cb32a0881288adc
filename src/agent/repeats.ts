import { answerLimits } from "./answer-limits.ts";
import { finalAnswerTool } from "./answer.ts";
import type { Event } from "./event.ts";
import { isTooDeep, type JsonValue, orderedJson } from "./json.ts";
import { turnLimits } from "../limits.ts";

/*
 * What a turn does again and again: the same call of a tool, and final answers that are wrong. Both are counted from the
 * latest input or retry on, by replies: what stands in one reply more than once counts once.
 */

/** A call that one of the last two replies asked for. */
export type AskedCall = {
  readonly digest: string;
  /** The latest reply that did, counted over the agent's life. */
  readonly step: number;
  /** Replies in a row. */
  readonly times: number;
};

export type Repeats = {
  readonly asked: readonly AskedCall[];
  /** Replies with a wrong final answer, the latest of them (counted over the agent's life), and what was wrong with it. */
  readonly refused: { readonly times: number; readonly step: number; readonly fault: string };
};

/** Nothing was done again and again yet. */
export const nothingRepeated: Repeats = {
  asked: [],
  refused: { times: 0, step: 0, fault: "" },
};

/**
 * Equal for calls of the same tool with the same input, whatever the order of its keys; empty for final answers, which
 * are counted by what is wrong with them.
 */
export function callDigest({ name, inputJson }: { name: string; inputJson: string }): string {
  return name === finalAnswerTool.name ? "" : fingerprint(`${name} ${comparable(inputJson)}`);
}

/** 53 bits of a text (cyrb53), for texts that nobody gains anything by making alike. */
function fingerprint(text: string): string {
  let [a, b] = [0xdeadbeef, 0x41c6ce57];
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    a = Math.imul(a ^ unit, 2654435761);
    b = Math.imul(b ^ unit, 1597334677);
  }
  a = Math.imul(a ^ (a >>> 16), 2246822507) ^ Math.imul(b ^ (b >>> 13), 3266489909);
  b = Math.imul(b ^ (b >>> 16), 2246822507) ^ Math.imul(a ^ (a >>> 13), 3266489909);
  return (2 ** 32 * (b & 0x1fffff) + (a >>> 0)).toString(36);
}

/** Behind a mark, so that what could not be read is like nothing that could. */
function comparable(inputJson: string): string {
  const asWritten = `?${inputJson}`;
  if (inputJson.length > answerLimits.comparedCharsMax) return asWritten;
  try {
    const input: JsonValue = JSON.parse(inputJson);
    return isTooDeep(input, turnLimits.toolInputLevelsMax) ? asWritten : orderedJson(input);
  } catch {
    return asWritten;
  }
}

/** The calls of the last two replies, with one more of the reply that is the agent's `step`th. */
export function asking(
  asked: readonly AskedCall[],
  digest: string,
  step: number,
): readonly AskedCall[] {
  const recent = asked.filter((call) => call.step >= step - 1);
  const known = recent.find((call) => call.digest === digest);
  if (digest === "" || known?.step === step) return recent;
  const call = { digest, step, times: (known?.times ?? 0) + 1 };
  return [...recent.filter((other) => other !== known), call];
}

type Repeating = { readonly turn: Repeats };
type Asked = { readonly digest: string };

/** In how many replies in a row it was asked for. */
const timesAsked = ({ turn }: Repeating, { digest }: Asked): number =>
  turn.asked.find((call) => call.digest === digest)?.times ?? 0;

/** Such a call is not run. */
export const isAskedTooOften = (state: Repeating, call: Asked): boolean =>
  timesAsked(state, call) > answerLimits.sameCallsMax;

/** What the model is told at the end of a result; empty: nothing. */
export const noteOnRepeat = (state: Repeating, call: Asked): string =>
  timesAsked(state, call) === answerLimits.sameCallsMax
    ? `\n\n(You have asked for this ${answerLimits.sameCallsMax} times in a row, with the same input. It is not done again: do something else.)`
    : "";

/** The count of wrong final answers with this result; other results change nothing. */
export function refusing(
  refused: Repeats["refused"],
  { error }: Extract<Event, { readonly type: "ToolReturned" }>,
  { name, step }: { readonly name: string; readonly step: number },
): Repeats["refused"] {
  if (name !== finalAnswerTool.name || error === null) return refused;
  const times = refused.step === step ? refused.times : refused.times + 1;
  return { times, step, fault: error.message };
}
