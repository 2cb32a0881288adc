import type { ModelAbilities, ModelCall, Usage } from "../agent/event.ts";
import type { ModelReply } from "../agent/reply.ts";
import { requestOf } from "../agent/request.ts";
import { bytesOf } from "../agent/spec.ts";
import type { AgentState } from "../agent/state.ts";
import { EngramError } from "../errors.ts";
import { turnLimits } from "../limits.ts";
import type { ModelPiece } from "../llm/model.ts";
import type { Draft, Holder } from "../store/store.ts";
import { type DraftWriter, makeDraftWriter } from "./draft-writer.ts";
import type { Parts } from "./parts.ts";
import { makeSeam } from "./seam.ts";
import type { Toolbox } from "../agent/toolbox.ts";

/** One model call to be made. */
export type ThinkJob = {
  /** Who writes the draft, as of now. */
  readonly holder: () => Holder;
  readonly state: AgentState;
  readonly call: ModelCall;
  /** The partial answer to go on with; null: none. */
  readonly begun: Draft | null;
};

/** A new call of the model from `state` on, with the tools as they are now. */
export function newCall(
  state: AgentState,
  toolbox: Toolbox,
  { abilities, nowMs }: { readonly abilities: ModelAbilities; readonly nowMs: number },
): ModelCall {
  const offered = state.offeredTools;
  const same = Bun.deepEquals(offered, toolbox.definitions);
  return {
    afterSequence: state.sequence,
    nowMs,
    tools: same ? null : toolbox.definitions,
    continuedLength: 0,
    abilities,
  };
}

/** The call of a draft, made again from `state` on for the model to go on with it. */
export function continuedCall({ sequence }: AgentState, draft: Draft): ModelCall {
  const { continuations = [], ...call } = draft.call;
  const { length } = textOf(draft, "text");
  const all = [...continuations, { length, headSequence: sequence }];
  return {
    ...call,
    continuedLength: length,
    continuations: all.slice(-turnLimits.continuationsKept),
  };
}

export const textOf = (draft: Draft | null, kind: "thinking" | "text"): string =>
  (draft?.pieces ?? [])
    .filter((piece) => piece.kind === kind)
    .map(({ content }) => content)
    .join("");

/**
 * Calls the model and answers its whole reply, each delta made durable on the way. Fails as the model does, and with
 * what it had written kept in the draft; with `signal`'s reason when that ends it, dropping what was not yet durable.
 */
export async function think(parts: Parts, job: ThinkJob, signal: AbortSignal): Promise<ModelReply> {
  const { holder, call, begun } = job;
  const writer = makeDraftWriter(parts.store, holder, call, begun);
  try {
    return await read(parts, job, writer, signal);
  } catch (error) {
    if (signal.aborted || !(error instanceof EngramError)) await writer.drop();
    else await writer.flush();
    throw signal.aborted ? signal.reason : error;
  }
}

async function read(
  { model }: Parts,
  { state, call, begun }: ThinkJob,
  writer: DraftWriter,
  signal: AbortSignal,
): Promise<ModelReply> {
  const partial = textOf(begun, "text");
  const reply = makeReply(textOf(begun, "thinking"), partial);
  for await (const piece of model.call(requestOf(state, call, partial), signal)) {
    const delta = reply.take(piece);
    if (delta !== null) await writer.add(delta.kind, delta.content);
  }
  const whole = reply.end();
  await writer.drop();
  return whole;
}

/** Collects a reply's pieces into the whole, within its bounds. */
function makeReply(thinkingBegun: string, textBegun: string) {
  const thinking = [thinkingBegun];
  const text = [textBegun];
  const toolCalls: { name: string; inputJson: string }[] = [];
  let bytes = bytesOf(thinkingBegun) + bytesOf(textBegun);
  let usage: Usage | null = null;
  const seam = makeSeam(textBegun);
  const halves = { thinking: makeWholeChars(), text: makeWholeChars() };

  const add = (kind: "thinking" | "text", content: string) => {
    const whole = halves[kind](content);
    bytes += bytesOf(whole);
    if (bytes > turnLimits.replyBytesMax)
      throw new EngramError(
        "model_error",
        `the model wrote more than ${turnLimits.replyBytesMax} bytes in one reply`,
      );
    (kind === "text" ? text : thinking).push(whole);
    return { kind, content: whole };
  };

  return {
    /** The delta to be shown; null: none. */
    take: (piece: ModelPiece): { kind: "thinking" | "text"; content: string } | null => {
      switch (piece.kind) {
        case "thinking":
          return add("thinking", piece.text);
        case "text":
          return add("text", seam(piece.text));
        case "toolCall":
          mustFit(
            toolCalls.push({ name: piece.name, inputJson: piece.inputJson }),
            piece.inputJson,
          );
          return null;
        case "done":
          usage = piece.usage;
          return null;
      }
    },
    end: (): ModelReply => {
      if (usage === null)
        throw new EngramError("model_error", "the model's answer ended before it was whole", {
          transient: true,
        });
      const whole = { thinking: thinking.join(""), text: text.join(""), toolCalls, usage };
      if (whole.text === "" && toolCalls.length === 0)
        throw new EngramError("model_error", "the model's answer was empty", { transient: true });
      return whole;
    },
  };
}

function mustFit(calls: number, inputJson: string): void {
  if (calls > turnLimits.toolCallsPerReplyMax)
    throw new EngramError(
      "model_error",
      `the model asked for more than ${turnLimits.toolCallsPerReplyMax} tool calls at once`,
      { transient: true },
    );
  if (inputJson.length > turnLimits.toolInputCharsMax)
    throw new EngramError(
      "model_error",
      `the model wrote a tool input of more than ${turnLimits.toolInputCharsMax} characters`,
      { transient: true },
    );
}

/** Holds a first half of a surrogate pair back until its second comes: each piece is whole characters, so UTF-8 of its own. */
function makeWholeChars(): (content: string) => string {
  let held = "";
  return (content) => {
    const joined = held + content;
    const last = joined.charCodeAt(joined.length - 1);
    held = last >= 0xd800 && last <= 0xdbff ? joined.slice(-1) : "";
    return held === "" ? joined : joined.slice(0, -1);
  };
}
