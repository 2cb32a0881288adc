import type { ModelAbilities, ModelCall } from "../agent/event.ts";
import type { ModelReply } from "../agent/reply.ts";
import { requestOf } from "../agent/request.ts";
import type { AgentState } from "../agent/state.ts";
import { toolsInWords } from "../agent/text-tools.ts";
import { EngramError } from "../errors.ts";
import { turnLimits } from "../limits.ts";
import type { Draft, Holder } from "../store/store.ts";
import { type DraftWriter, makeDraftWriter } from "./draft-writer.ts";
import type { Parts } from "./parts.ts";
import { makeReply } from "./collect-reply.ts";
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
  const reply = makeReply({
    thinking: textOf(begun, "thinking"),
    text: partial,
    callsInText: toolsInWords(state, call).length > 0,
  });
  for await (const piece of model.call(requestOf(state, call, partial), signal)) {
    const delta = reply.take(piece);
    if (delta !== null) await writer.add(delta.kind, delta.content);
  }
  const whole = reply.end();
  await writer.drop();
  return whole;
}
