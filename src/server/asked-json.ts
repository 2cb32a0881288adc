import type { DescMessage, JsonValue } from "@bufbuild/protobuf";
import { createContextKey } from "@connectrpc/connect";
import { misfitIn } from "../api/misfit.ts";

/** A call's message in JSON while it is parsed, since the parser does not say where in it what is wrong stands. */
export type AskedJson = {
  /** This is what is parsed now; null: it was parsed. */
  is(message: Uint8Array | null): void;
  /** What of it the parser refuses, by the field's name; null: nothing is parsed, or no field is wrong by itself. */
  misfit(): string | null;
};

/** Of a call in another form nothing is kept. */
const nothing: AskedJson = { is: () => {}, misfit: () => null };

export const askedJsonKey = createContextKey(nothing, { description: "the message in JSON" });

export function makeAskedJson(type: DescMessage): AskedJson {
  let asked: Uint8Array | null = null;
  return {
    is: (message) => {
      asked = message;
    },
    misfit: () => {
      const value = asked === null ? undefined : parsed(asked);
      return value === undefined ? null : misfitIn(type, value, { path: "", ignoresUnknown: true });
    },
  };
}

/** undefined: it is no JSON. */
function parsed(message: Uint8Array): JsonValue | undefined {
  try {
    const value: JsonValue = JSON.parse(new TextDecoder().decode(message));
    return value;
  } catch {
    return undefined;
  }
}
