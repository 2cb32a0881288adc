import { isJsonObject, isTooDeep, type JsonObject } from "../../agent/json.ts";
import { EngramError } from "../../errors.ts";
import { turnLimits } from "../../limits.ts";
import { unreadable } from "./failure.ts";
import { modelServerLimits } from "../server-limits.ts";

/** Collects the tool calls of one reply from their pieces. */
export type CallCollector = {
  readonly take: (deltas: unknown) => void;
  /** Characters of their names and inputs so far. */
  readonly chars: () => number;
  /** The calls in the order of their first pieces; `cut`: the reply ended before the model did. */
  readonly calls: (
    cut: boolean,
  ) => readonly { readonly name: string; readonly inputJson: string }[];
};

type Call = {
  readonly index: number | null;
  id: string | null;
  name: string;
  readonly input: string[];
  /** Of its name and input. */
  chars: number;
  /** Began as the name of the call before it did, and may be but that name said again. */
  readonly isEcho: boolean;
  /** Takes the next piece of the input; answers whether it is a whole object or list by now. */
  readonly isWhole: (piece: string) => boolean;
};

type Delta = {
  readonly index: number | null;
  readonly id: string | null;
  readonly name: string | null;
  readonly input: string;
};

const wordIn = (value: unknown): string | null =>
  typeof value === "string" && value !== "" ? value : null;

/** Of some hundred thousand objects in one another no text can be made, and to try takes a second. */
const jsonOf = (input: JsonObject): string => {
  if (isTooDeep(input, modelServerLimits.inputLevelsMax))
    throw unreadable("a tool call whose input is nested without end");
  return JSON.stringify(input);
};

const deltaIn = (value: unknown): Delta => {
  if (!isJsonObject(value)) throw unreadable("a tool call that is not an object");
  const of = isJsonObject(value["function"]) ? value["function"] : {};
  const { arguments: input = null } = of;
  if (input !== null && typeof input !== "string" && !isJsonObject(input))
    throw unreadable("a tool call whose input is not text");
  const index = value["index"];
  return {
    index: typeof index === "number" ? index : null,
    id: wordIn(value["id"]),
    name: wordIn(of["name"]),
    input: isJsonObject(input) ? jsonOf(input) : (input ?? ""),
  };
};

/** Follows the braces of JSON text that comes in pieces, each character looked at once. */
const makeBraces = (): ((piece: string) => boolean) => {
  let depth = 0;
  let begun = false;
  let inString = false;
  let escaped = false;
  return (piece) => {
    for (const char of piece) {
      if (escaped) escaped = false;
      else if (inString && char === "\\") escaped = true;
      else if (char === '"') inString = !inString;
      else if (!inString && (char === "{" || char === "[")) depth++;
      else if (!inString && (char === "}" || char === "]")) depth--;
      begun ||= depth > 0;
    }
    return begun && depth <= 0;
  };
};

/**
 * A call comes in pieces that share an index; its id and name come with the first. Servers differ in all of it: whole
 * calls that all have the index 0, or none; a new id with each piece; names in pieces, or repeated; so what tells one
 * call from the next is a piece with a name that cannot belong to the call before. `offered` are the names of the tools.
 */
export const collectCalls = (offered: ReadonlySet<string>): CallCollector => {
  const calls: Call[] = [];
  const whole = new Set<Call>();

  const open = ({ index, id, name }: Delta): Call => {
    if (calls.length === turnLimits.toolCallsPerReplyMax)
      throw tooMuch(`asked for more than ${turnLimits.toolCallsPerReplyMax} tool calls at once`);
    const before = calls.at(-1);
    const isEcho = id === null && before?.name === name && before.index === index;
    const call = { index, id, name: "", input: [], chars: 0, isEcho, isWhole: makeBraces() };
    calls.push(call);
    return call;
  };

  const beginsAnother = (call: Call, { id, name }: Delta): boolean => {
    if (name === null) return false;
    if (id !== null && call.id !== null) return id !== call.id;
    return whole.has(call) || (name !== call.name && offered.has(call.name) && offered.has(name));
  };

  const callOf = (delta: Delta): Call => {
    const { index, id, name } = delta;
    const known =
      index === null
        ? (calls.findLast((call) => id !== null && call.id === id) ?? calls.at(-1))
        : calls.findLast((call) => call.index === index);
    // A piece without anything of its own belongs to what came last, whatever its index.
    const call = known ?? (id === null && name === null ? calls.at(-1) : undefined);
    return call === undefined || beginsAnother(call, delta) ? open(delta) : call;
  };

  const add = (delta: Delta): void => {
    const call = callOf(delta);
    const { id, name, input } = delta;
    call.id ??= id;
    const more = name === null || name === call.name ? "" : name;
    call.name += more;
    call.input.push(input);
    call.chars += more.length + input.length;
    if (call.chars > turnLimits.toolInputCharsMax)
      throw tooMuch(`wrote a tool call of more than ${turnLimits.toolInputCharsMax} characters`);
    if (call.isWhole(input)) whole.add(call);
    else whole.delete(call);
  };

  return {
    take: (deltas) => {
      if (deltas === undefined || deltas === null) return;
      if (!Array.isArray(deltas)) throw unreadable("tool calls that are not a list");
      for (const delta of deltas) add(deltaIn(delta));
    },
    chars: () => calls.reduce((sum, call) => sum + call.chars, 0),
    calls: (cut) =>
      calls.flatMap(({ name, input, isEcho }) => {
        if (name === "") throw unreadable("a tool call without a name");
        const inputJson = input.join("");
        const isBlank = inputJson.trim() === "";
        if (isBlank && isEcho) return [];
        return [{ name, inputJson: isBlank && !cut ? "{}" : inputJson }];
      }),
  };
};

const tooMuch = (what: string): EngramError =>
  new EngramError("model_error", `the model ${what}`, { transient: true });
