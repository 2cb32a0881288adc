import type { ToolLimits } from "../agent/event.ts";
import { type JsonObject, type JsonValue, isJsonObject, isTooDeep } from "../agent/json.ts";
import { schemaFault } from "../agent/schema.ts";
import { messageOf } from "../errors.ts";
import { requestLimits, sandboxLimits, toolCeilings } from "../limits.ts";

/** What a tool says of itself. 0 in a limit: it does not care. */
export type ToolMetadata = {
  readonly description: string;
  readonly parameters: JsonObject;
  readonly requiresConfirmation: boolean;
  readonly limits: ToolLimits;
};

const noLimits: ToolLimits = { fuel: 0, memoryBytes: 0, timeoutMs: 0, outputBytesMax: 0 };

/** Of a tool that says nothing of itself: it takes any object. */
export const noMetadata: ToolMetadata = {
  description: "",
  parameters: { type: "object" },
  requiresConfirmation: false,
  limits: noLimits,
};

/** Caught by parseMetadata. */
const wrong = (message: string): never => {
  throw new Error(message);
};

const countOf = (value: JsonValue | undefined, key: string): number => {
  if (value === undefined || value === null) return 0;
  const count = typeof value === "string" && value.trim() !== "" ? Number(value) : value;
  return typeof count === "number" && Number.isSafeInteger(count) && count >= 0
    ? count
    : wrong(`its limit "${key}" is not a whole number`);
};

const durationMs = (value: JsonValue | undefined): number => {
  if (value === undefined || value === null) return 0;
  const seconds = typeof value === "string" ? /^(\d{1,9}(?:\.\d{1,9})?)s$/.exec(value)?.[1] : null;
  return seconds === null || seconds === undefined
    ? wrong('its limit "timeout" is not a duration such as "2.5s"')
    : Math.ceil(Number(seconds) * 1000);
};

/** As in the ToolLimits message's JSON, in either spelling that protobuf takes. */
const limitKeys = [
  "fuel",
  "memory_bytes",
  "memoryBytes",
  "timeout",
  "max_output_bytes",
  "maxOutputBytes",
];

/** A limit that is not known would be one that is not kept: better no tool than that. */
const limitsOf = (value: JsonValue | undefined): ToolLimits => {
  if (value === undefined || value === null) return noLimits;
  if (!isJsonObject(value)) return wrong('its "limits" is not an object');
  const unknown = Object.keys(value).find((key) => !limitKeys.includes(key));
  if (unknown !== undefined) {
    const known = "fuel, memory_bytes, timeout and max_output_bytes";
    return wrong(`its limit "${unknown.slice(0, 100)}" is unknown; there are ${known}`);
  }
  return {
    fuel: countOf(value["fuel"], "fuel"),
    memoryBytes: countOf(value["memory_bytes"] ?? value["memoryBytes"], "memory_bytes"),
    timeoutMs: durationMs(value["timeout"]),
    outputBytesMax: countOf(
      value["max_output_bytes"] ?? value["maxOutputBytes"],
      "max_output_bytes",
    ),
  };
};

const parametersOf = (value: JsonValue | undefined): JsonObject => {
  if (value === undefined || value === null) return noMetadata.parameters;
  if (!isJsonObject(value)) return wrong('its "parameters" is not a JSON Schema object');
  if (isTooDeep(value)) {
    const most = `${requestLimits.jsonLevelsMax} objects and lists in one another`;
    return wrong(`its "parameters" have more than ${most}`);
  }
  const fault = schemaFault(value);
  if (fault !== null) return wrong(`its "parameters"${fault}`);
  return value["type"] === undefined ? { type: "object", ...value } : value;
};

const read = (value: unknown): ToolMetadata => {
  if (!isJsonObject(value)) return wrong("it is not a JSON object");
  const description = value["description"] ?? "";
  const confirmation = value["requires_confirmation"] ?? value["requiresConfirmation"] ?? false;
  if (typeof description !== "string") return wrong('its "description" is not a string');
  if (description.length > sandboxLimits.descriptionCharsMax) {
    return wrong(
      `its "description" is longer than ${sandboxLimits.descriptionCharsMax} characters`,
    );
  }
  if (typeof confirmation !== "boolean") {
    return wrong('its "requires_confirmation" is neither true nor false');
  }
  return {
    description,
    parameters: parametersOf(value["parameters"]),
    requiresConfirmation: confirmation,
    limits: limitsOf(value["limits"]),
  };
};

/** Reads a tool's description, from where `source` names; a sentence where it is not one. */
export const parseMetadata = (text: string, source: string): ToolMetadata | string => {
  try {
    return read(JSON.parse(text));
  } catch (error) {
    return `the tool's description in ${source} cannot be used: ${messageOf(error)}`;
  }
};

const pick = (ceiling: number, ...wishes: readonly number[]): number =>
  Math.min(ceiling, Math.floor(wishes.find((wish) => wish > 0) ?? ceiling));

/** For each limit the first that is not 0, cut to the engine's ceiling. */
export const resolveLimits = (...wishes: readonly ToolLimits[]): ToolLimits => ({
  fuel: pick(toolCeilings.fuel, ...wishes.map(({ fuel }) => fuel)),
  memoryBytes: pick(toolCeilings.memoryBytes, ...wishes.map(({ memoryBytes }) => memoryBytes)),
  timeoutMs: pick(toolCeilings.timeoutMs, ...wishes.map(({ timeoutMs }) => timeoutMs)),
  outputBytesMax: pick(
    toolCeilings.outputBytesMax,
    ...wishes.map(({ outputBytesMax }) => outputBytesMax),
  ),
});
