import type { Usage } from "../../src/agent/event.ts";
import type { PromptMessage } from "../../src/agent/prompt.ts";
import { EngramError } from "../../src/errors.ts";
import { abilitiesUnknown, type ModelRequest } from "../../src/agent/request.ts";
import type { Model, ModelPiece } from "../../src/llm/model.ts";

/** What the model has to say to one prompt. */
export type PlayedReply = {
  readonly thinking?: readonly string[];
  readonly text?: readonly string[];
  readonly calls?: readonly { readonly name: string; readonly input: unknown }[];
  /** Before each piece and before the end; `index` counts the pieces given by this call. A rejection is the model's. */
  readonly before?: (index: number, signal: AbortSignal) => Promise<void>;
};

export type PlayedModel = Model & {
  /** Each call as it began. */
  readonly calls: ModelRequest[];
  /** Calls that run at the moment, and the most that ever did. */
  readonly running: () => number;
  readonly runningMost: () => number;
};

export const playedUsage: Usage = { promptTokens: 7, completionTokens: 3 };

/** One turn of the event loop: what was queued before has had its chance. */
export const turn = async (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

/** Rejects with the signal's reason when it aborts. */
export const aborted = async (signal: AbortSignal): Promise<never> =>
  new Promise((_, reject) => {
    const fail = (): void => reject(signal.reason as Error);
    if (signal.aborted) fail();
    else signal.addEventListener("abort", fail, { once: true });
  });

/** What an aborted wait leaves is nobody's. */
export const unlessAborted = async <T>(waited: Promise<T>, signal: AbortSignal): Promise<T> => {
  const stop = aborted(signal);
  stop.catch(() => {});
  return Promise.race([waited, stop]);
};

/**
 * A model that answers each prompt as `reply` says. The pieces come one a turn of the event loop and more, so that
 * each becomes durable by itself. A partial answer is gone on with, or, with `continues` false, not taken.
 */
export function makePlayedModel(
  reply: (request: ModelRequest, number: number) => PlayedReply,
  continues = true,
): PlayedModel {
  const calls: ModelRequest[] = [];
  let running = 0;
  let most = 0;

  async function* play(request: ModelRequest, signal: AbortSignal): AsyncGenerator<ModelPiece> {
    signal.throwIfAborted();
    const number = calls.push(request);
    const { before, ...said } = reply(request, number);
    let index = 0;
    const pause = async (): Promise<void> => {
      await turn();
      await turn();
      await before?.(index, signal);
      signal.throwIfAborted();
      index++;
    };
    for (const piece of piecesOf(said, partialOf(request.messages))) {
      await pause();
      yield piece;
    }
    await pause();
    yield { kind: "done", usage: playedUsage };
  }

  return {
    calls,
    running: () => running,
    runningMost: () => most,
    call: async function* (request, signal) {
      most = Math.max(most, ++running);
      try {
        yield* play(request, signal);
      } finally {
        running--;
      }
    },
    continuesPartial: async () => continues,
    abilities: async () => abilitiesUnknown,
    bodyOf: (request) => JSON.stringify(request),
  };
}

/** The partial answer that a prompt ends with; empty: none. */
export function partialOf(messages: readonly PromptMessage[]): string {
  const last = messages.at(-1);
  return last?.role === "assistant" ? last.content : "";
}

function piecesOf(reply: PlayedReply, partial: string): readonly ModelPiece[] {
  const { thinking = [], text = [], calls = [] } = reply;
  if (!text.join("").startsWith(partial))
    throw new EngramError("model_error", `this model never said ${JSON.stringify(partial)}`);
  const pieces: ModelPiece[] = partial === "" ? thinking.map(asThought) : [];
  let skip = partial.length;
  for (const piece of text) {
    if (piece.length > skip) pieces.push({ kind: "text", text: piece.slice(skip) });
    skip = Math.max(0, skip - piece.length);
  }
  for (const { name, input } of calls)
    pieces.push({ kind: "toolCall", name, inputJson: JSON.stringify(input) });
  return pieces;
}

const asThought = (text: string): ModelPiece => ({ kind: "thinking", text });

/** The model as one that takes no tools as such, and calls them in its text. */
export const callingInText = (model: PlayedModel): PlayedModel => ({
  ...model,
  abilities: async () => ({ ...abilitiesUnknown, tools: false }),
});

/** What the prompt says last, without its time: the message or tool result to be answered. */
export function askedOf(messages: readonly PromptMessage[]): string {
  const last = messages.findLast(({ role }) => role === "user" || role === "tool");
  const content = (last?.content ?? "").replace(/^\[[^\]]*\] (\(now: [^)]*\) )?/, "");
  return content.replace(/^Result of \w+ \(call_\d+\): /, "");
}
