import type { JsonObject } from "./json.ts";

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
