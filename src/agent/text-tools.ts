import { mustFit } from "./call-bounds.ts";
import type { ModelCall, ToolDefinition } from "./event.ts";
import type { AgentState } from "./state.ts";
import { makeTextGaps } from "./text-gaps.ts";

/*
 * The text protocol, by which a model that takes no tools as such calls them all the same: it is told of them in words,
 * and writes its calls into its answer.
 */

/** The tools that the text protocol offers in `call`; none: the model takes tools as such, or there are none. */
export const toolsInWords = (
  { offeredTools }: AgentState,
  { abilities, tools }: ModelCall,
): readonly ToolDefinition[] => (abilities?.tools === false ? (tools ?? offeredTools) : []);

/** What the system prompt says of the tools, each as one line of JSON. */
export const toolWords = (tools: readonly ToolDefinition[]): string =>
  [
    "These are your tools, with the JSON Schema of their input:",
    ...tools.map(({ name, description, parameters }) =>
      JSON.stringify({ name, description, parameters }),
    ),
    "",
    `To call one, write a line of this form, its name and then its input as JSON:\n${callText("NAME", '{"key": "value"}')}`,
    'Write several such lines for several calls, and end your answer behind them. Their results come in the next messages, as "Result of NAME"; never write a result yourself.',
  ].join("\n");

/** A call as later prompts spell it, its input as it was written. */
export const callText = (name: string, inputJson: string): string =>
  `[TOOL_CALL:${name}:${inputJson.trim() || "{}"}]`;

/** A call's result as later prompts spell it, without its time. */
export const resultText = (name: string, callId: string, content: string): string =>
  `Result of ${name} (${callId}): ${content}`;

/** A part of an answer, in the order in which it was written; `inputJson` is what stood there, JSON or not. */
export type AnswerPart =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "toolCall"; readonly name: string; readonly inputJson: string };

export type CallReader = {
  /** What is known of the answer with this delta: text is never taken back. */
  read(delta: string): readonly AnswerPart[];
  /** What was held back. A call that is not whole is one with a broken input. */
  end(): readonly AnswerPart[];
};

const opening = "[TOOL_CALL:";
const nameCharsMax = 64;
/** In each place where a model may put a blank or a line break. */
const blanksMax = 16;
/** A call up to its input. */
const head = /\[TOOL_CALL:\s{0,16}([\w-]{1,64})\s{0,16}:\s{0,16}(?=[{[])/y;
const headCharsMax = opening.length + nameCharsMax + 1 + 3 * blanksMax;
/** What stands behind `opening` at the end of what was written so far, if a call may still come of it. */
const headBegun = /^\s{0,16}(?:[\w-]{1,64}\s{0,16}(?::\s{0,16})?)?$/;
/** Behind the input; the end of what was written so far, if the bracket may still come. */
const foot = /\s{0,16}(?:\]|$)/y;

/**
 * Reads an answer as it is written, cut anywhere, and takes the calls out of it: `[TOOL_CALL:name:{json}]`, the input an
 * object or a list, which ends with the brace or bracket that closes it, strings aside. The bracket behind it may be
 * missing. What only looks like the beginning of a call is text. `begun` is the text that the answer goes on from. Takes
 * linear time; fails with a transient model_error where an input, or what is held back, is too long.
 */
export function makeCallReader(begun: string): CallReader {
  const parts = makeParts();
  const gaps = makeTextGaps(begun, parts.text);
  /** Perhaps the beginning of a call or, behind one, white space before its bracket. */
  let held = "";
  let open: OpenCall | null = null;
  let isBehind = false;

  const inText = (text: string, from: number): number => {
    for (let at = text.indexOf("[", from); at !== -1; at = text.indexOf("[", at + 1)) {
      head.lastIndex = at;
      const name = head.exec(text)?.[1];
      if (name === undefined && !mayBegin(text, at)) continue;
      gaps.text(text.slice(from, at));
      if (name !== undefined) {
        open = { name, isClosing: makeClosing(), inputJson: "" };
        return head.lastIndex;
      }
      held = text.slice(at);
      return text.length;
    }
    gaps.text(text.slice(from));
    return text.length;
  };
  const inInput = (call: OpenCall, text: string, from: number): number => {
    let end = from;
    while (end < text.length && !isBehind) isBehind = call.isClosing(text.charCodeAt(end++));
    call.inputJson += text.slice(from, end);
    mustFit(call.inputJson.length);
    if (isBehind) close(call);
    return end;
  };
  const close = ({ name, inputJson }: OpenCall): void => {
    gaps.call();
    parts.call(name, inputJson);
    open = null;
  };
  const behind = (text: string, from: number): number => {
    foot.lastIndex = from;
    const found = foot.exec(text)?.[0];
    isBehind = found !== undefined && !found.endsWith("]");
    if (isBehind) held = text.slice(from);
    return found === undefined ? from : from + found.length;
  };

  return {
    read: (delta) => {
      const text = held + delta;
      held = "";
      for (let at = 0; at < text.length;) {
        if (open !== null) at = inInput(open, text, at);
        else at = isBehind ? behind(text, at) : inText(text, at);
      }
      return parts.take();
    },
    end: () => {
      if (open !== null) close(open);
      gaps.text(held);
      gaps.end();
      return parts.take();
    },
  };
}

function makeParts() {
  let parts: AnswerPart[] = [];
  let shown = "";
  const flush = (): void => {
    if (shown !== "") parts.push({ kind: "text", text: shown });
    shown = "";
  };
  return {
    text: (text: string): void => void (shown += text),
    call: (name: string, inputJson: string): void => {
      flush();
      parts.push({ kind: "toolCall", name, inputJson });
    },
    take: (): readonly AnswerPart[] => {
      flush();
      const all = parts;
      parts = [];
      return all;
    },
  };
}

type OpenCall = {
  readonly name: string;
  /** Told the input's characters one after the other: whether this one closes it. */
  readonly isClosing: (char: number) => boolean;
  inputJson: string;
};

function mayBegin(text: string, at: number): boolean {
  if (text.length - at > headCharsMax) return false;
  const rest = text.slice(at);
  if (rest.length <= opening.length) return opening.startsWith(rest);
  return rest.startsWith(opening) && headBegun.test(rest.slice(opening.length));
}

const codes = { quote: 0x22, backslash: 0x5c, bracket: 0x5b, brace: 0x7b } as const;
/** A closing bracket or brace stands so far behind the opening one. */
const closes = 2;

function makeClosing(): OpenCall["isClosing"] {
  let depth = 0;
  let isQuoted = false;
  let isEscaped = false;
  return (char) => {
    if (isEscaped) isEscaped = false;
    else if (isQuoted) {
      isEscaped = char === codes.backslash;
      isQuoted = char !== codes.quote;
    } else if (char === codes.quote) isQuoted = true;
    else if (char === codes.bracket || char === codes.brace) depth++;
    else if (char === codes.bracket + closes || char === codes.brace + closes) return --depth === 0;
    return false;
  };
}
