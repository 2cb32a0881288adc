import { mustBeFew, mustFit } from "../agent/call-bounds.ts";
import type { Usage } from "../agent/event.ts";
import type { ModelReply } from "../agent/reply.ts";
import { bytesOf } from "../agent/spec.ts";
import { type AnswerPart, makeCallReader } from "../agent/text-tools.ts";
import { EngramError } from "../errors.ts";
import { turnLimits } from "../limits.ts";
import type { ModelPiece } from "../llm/model.ts";
import { makeSeam } from "./seam.ts";

export type Delta = { readonly kind: "thinking" | "text"; readonly content: string };

/** The beginning of a reply to go on from (empty: none), and whether its text may have calls in it. */
type Begun = { readonly thinking: string; readonly text: string; readonly callsInText: boolean };

type ReplyMaker = {
  /** The delta to be shown; null: none. */
  take(piece: ModelPiece): Delta | null;
  /** The whole reply. Fails with a transient model_error where it is none. */
  end(): ModelReply;
};

/**
 * Collects a reply's pieces into the whole, within its bounds. Behind a call nothing is shown before the whole is there:
 * an answer that breaks off is gone on with from what was shown, and the call would be missing from it.
 */
export function makeReply(begun: Begun): ReplyMaker {
  const thinking = [begun.thinking];
  const text = [begun.text];
  const toolCalls: { name: string; inputJson: string }[] = [];
  let bytes = bytesOf(begun.thinking) + bytesOf(begun.text);
  let usage: Usage | null = null;
  const seam = makeSeam(begun.text);
  const halves = { thinking: makeWholeChars(), text: makeWholeChars() };
  const reader = begun.callsInText ? makeCallReader(begun.text) : null;

  const add = (kind: Delta["kind"], content: string): Delta | null => {
    bytes += bytesOf(content);
    if (bytes > turnLimits.replyBytesMax)
      throw new EngramError(
        "model_error",
        `the model wrote more than ${turnLimits.replyBytesMax} bytes in one reply`,
      );
    (kind === "text" ? text : thinking).push(content);
    return toolCalls.length === 0 ? { kind, content } : null;
  };
  const addCall = (name: string, inputJson: string): void => {
    mustFit(name.length + inputJson.length);
    mustBeFew(toolCalls.push({ name: name.toWellFormed(), inputJson: inputJson.toWellFormed() }));
  };
  const addParts = (parts: readonly AnswerPart[]): Delta | null => {
    let delta: Delta | null = null;
    for (const part of parts) {
      if (part.kind === "toolCall") addCall(part.name, part.inputJson);
      else delta = add("text", part.text) ?? delta;
    }
    return delta;
  };

  return {
    take: (piece) => {
      switch (piece.kind) {
        case "thinking":
          return add("thinking", halves.thinking(piece.text));
        case "text": {
          const content = halves.text(seam(piece.text));
          return reader === null ? add("text", content) : addParts(reader.read(content));
        }
        case "toolCall":
          addCall(piece.name, piece.inputJson);
          return null;
        case "done":
          usage = piece.usage;
          return null;
      }
    },
    end: () => {
      if (usage === null)
        throw new EngramError("model_error", "the model's answer ended before it was whole", {
          transient: true,
        });
      if (reader !== null) addParts(reader.end());
      const whole = { thinking: thinking.join(""), text: text.join(""), toolCalls, usage };
      if (whole.text === "" && toolCalls.length === 0)
        throw new EngramError("model_error", "the model's answer was empty", { transient: true });
      return whole;
    },
  };
}

/**
 * Holds a first half of a surrogate pair back until its second comes: each piece is whole characters, so UTF-8 of its own.
 * A half without the other would make later prompts JSON that some servers refuse.
 */
function makeWholeChars(): (content: string) => string {
  let held = "";
  return (content) => {
    const joined = held + content;
    const last = joined.charCodeAt(joined.length - 1);
    held = last >= 0xd800 && last <= 0xdbff ? joined.slice(-1) : "";
    return (held === "" ? joined : joined.slice(0, -1)).toWellFormed();
  };
}
