import { formatOf } from "./answer.ts";
import type { Attachment, ModelCall } from "./event.ts";
import { isJsonObject, isTooDeep, type JsonObject, type JsonValue } from "./json.ts";
import { turnLimits } from "../limits.ts";
import { type AgentState, newestStamped, type TranscriptItem } from "./state.ts";
import { callText, resultText, toolsInWords, toolWords } from "./text-tools.ts";

/** A message as a model server takes it; the adapters only change its spelling. */
export type PromptMessage =
  | { readonly role: "system"; readonly content: string }
  | {
      readonly role: "user";
      readonly content: string;
      /** Base64, without a data: prefix. */
      readonly images: readonly string[];
    }
  | {
      readonly role: "assistant";
      readonly content: string;
      readonly toolCalls: readonly PromptToolCall[];
    }
  | {
      readonly role: "tool";
      readonly callId: string;
      readonly name: string;
      readonly content: string;
    };

export type PromptToolCall = {
  readonly callId: string;
  readonly name: string;
  readonly input: JsonObject;
};

/**
 * What the model is sent by a call that knew the log up to `afterSequence` and was told `nowMs`. `partial` is the
 * beginning of an answer to go on with (empty: none); its trailing white space is left out, since models that are
 * given it answer with garbage. Equal arguments give equal prompts, and a later call's prompt begins with an earlier one's
 * where both are for models that take tools, or both for ones that do not.
 */
export function buildPrompt(
  state: AgentState,
  call: ModelCall,
  partial = "",
): readonly PromptMessage[] {
  const newest = newestStamped(state.transcript, call.afterSequence);
  const protocol = call.abilities?.tools === false ? "text" : "native";
  const messages: PromptMessage[] = [{ role: "system", content: systemText(state, call) }];
  for (const [index, item] of state.transcript.entries()) {
    if (item.sequence > call.afterSequence) continue;
    const message =
      index === newest ? messageOfItem(item, protocol, call.nowMs) : writtenMessage(item, protocol);
    if (message !== null) messages.push(message);
  }
  const beginning = partial.trimEnd();
  if (beginning !== "") messages.push({ role: "assistant", content: beginning, toolCalls: [] });
  return messages;
}

/** What stands before the schema that an answer has to satisfy. */
export const formatWords =
  "Answer with one JSON object that satisfies this JSON Schema, and with nothing else:";

function systemText(state: AgentState, call: ModelCall): string {
  const { spec, summary } = state;
  const tools = toolsInWords(state, call);
  const parts = [`You are an agent with this goal:\n${spec.goal}`];
  if (spec.systemPrompt !== "") parts.push(spec.systemPrompt);
  parts.push(
    "Messages and tool results begin with the time at which they came, in square brackets. Use tools where they help; do not make up their results.",
  );
  if (tools.length > 0) parts.push(toolWords(tools));
  const format = formatOf(spec);
  if (format !== null) parts.push(`${formatWords}\n${JSON.stringify(format)}`);
  if (summary !== "") parts.push(`What was said before, in short:\n${summary}`);
  return parts.join("\n\n");
}

/** How calls and their results are spelled: with fields of their own, or in words. */
type Protocol = "native" | "text";

type Written = WeakMap<TranscriptItem, PromptMessage | null>;

/** Of items that stay as they are, call after call: a long conversation is spelled out once. */
const written: Readonly<Record<Protocol, Written>> = { native: new WeakMap(), text: new WeakMap() };

function writtenMessage(item: TranscriptItem, protocol: Protocol): PromptMessage | null {
  const known = written[protocol].get(item);
  if (known !== undefined) return known;
  const message = messageOfItem(item, protocol, null);
  written[protocol].set(item, message);
  return message;
}

function messageOfItem(
  item: TranscriptItem,
  protocol: Protocol,
  nowMs: number | null,
): PromptMessage | null {
  switch (item.kind) {
    case "user":
      return {
        role: "user",
        content: timed(item, nowMs, [item.content, ...inlined(item.attachments)].join("\n\n")),
        images: item.attachments
          .filter(({ mimeType }) => mimeType.startsWith("image/"))
          .map(({ base64 }) => base64),
      };
    case "operator":
      return noteOf(item, nowMs, `(The operator has changed this agent: ${item.content})`);
    case "tool":
      if (item.isAboutText)
        return noteOf(item, nowMs, `Your answer was not taken. ${item.content}`);
      if (protocol === "text") {
        const result = resultText(item.name, item.callId, item.content);
        return noteOf(item, nowMs, result);
      }
      return {
        role: "tool",
        callId: item.callId,
        name: item.name,
        content: timed(item, nowMs, item.content),
      };
    case "assistant":
      // A reply of thinking alone leaves nothing to feed back.
      if (item.content === "" && item.toolCalls.length === 0) return null;
      if (protocol === "text") {
        const calls = item.toolCalls.map(({ name, inputJson }) => callText(name, inputJson));
        const lines = item.content === "" ? calls : [item.content, ...calls];
        return { role: "assistant", content: lines.join("\n"), toolCalls: [] };
      }
      return {
        role: "assistant",
        content: item.content,
        toolCalls: item.toolCalls.map(({ callId, name, inputJson }) => ({
          callId,
          name,
          input: objectOf(inputJson),
        })),
      };
  }
}

const noteOf = (item: Timed, nowMs: number | null, words: string): PromptMessage => ({
  role: "user",
  content: timed(item, nowMs, words),
  images: [],
});

/** Servers take a call's input as an object only; what the model wrote instead is shown to it under a name of its own. */
function objectOf(inputJson: string): JsonObject {
  try {
    const value: JsonValue = JSON.parse(inputJson);
    if (isTooDeep(value, turnLimits.toolInputLevelsMax)) return { input: inputJson };
    return isJsonObject(value) ? value : { input: value };
  } catch {
    return { input: inputJson };
  }
}

type Timed = { readonly atMs: number; readonly nowMs: number | null };

function timed(item: Timed, nowMs: number | null, content: string): string {
  const told = item.nowMs ?? nowMs;
  const now = told === null ? "" : ` (now: ${timeText(told)})`;
  return `[${timeText(item.atMs)}]${now} ${content}`;
}

// oxlint-disable-next-line no-restricted-globals -- it formats a time that is given, and reads no clock
const timeText = (ms: number): string => new Date(ms).toISOString().replace(/\.\d+Z$/, "Z");

const inlined = (attachments: readonly Attachment[]): readonly string[] =>
  attachments
    .filter(({ mimeType }) => !mimeType.startsWith("image/"))
    .map(({ name, base64 }) => `Attachment ${name}:\n${textOfBase64(base64)}`);

const textOfBase64 = (base64: string): string =>
  new TextDecoder().decode(Uint8Array.fromBase64(base64));
