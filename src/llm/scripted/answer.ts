import type { ToolDefinition } from "../../agent/event.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "../../agent/json.ts";
import { scriptedLimits } from "./scripted-limits.ts";

/** A value that satisfies a simple schema: its types, named values and least sizes. References are not followed. */
export function sampleOf(
  schema: JsonValue | undefined,
  itemsMax: number = scriptedLimits.sampleItemsMax,
): JsonValue {
  const { type, properties, items, minItems, minLength, minimum, ...rest } = objectIn(schema);
  const named = [rest["const"], listIn(rest["enum"])[0], rest["default"]];
  const known = named.find((value) => value !== undefined);
  if (known !== undefined) return known;
  const kind = listIn(type)[0] ?? type ?? (properties === undefined ? "string" : "object");
  switch (kind) {
    case "object":
      return Object.fromEntries(
        Object.entries(objectIn(properties)).map(([name, inner]) => [
          name,
          sampleOf(inner, itemsMax),
        ]),
      );
    case "array":
      return Array.from({ length: leastOf(minItems, itemsMax) }, () => sampleOf(items, 1));
    case "integer":
    case "number":
      return typeof minimum === "number" ? Math.ceil(minimum) : 1;
    case "boolean":
      return true;
    case "null":
      return null;
    default:
      return "text".padEnd(leastOf(minLength, scriptedLimits.sampleCharsMax), ".");
  }
}

/** The same with its first field of another type. */
export function wrongSampleOf(schema: JsonValue | undefined): JsonObject {
  const sample = objectIn(sampleOf(schema));
  const [name = "wrong"] = Object.keys(sample);
  return { ...sample, [name]: typeof sample[name] === "string" ? 0 : "wrong" };
}

/** What a text of JSON holds; null: it is no object. */
export const objectOf = (text: string): JsonObject | null => {
  try {
    const value: unknown = JSON.parse(text);
    return isJsonObject(value) ? value : null;
  } catch {
    // Plain words are an answer too.
    return null;
  }
};

/** The schema of the data that a final answer needs; undefined: it needs none. */
const neededData = ({ parameters }: ToolDefinition): JsonValue | undefined => {
  const { required, properties } = parameters;
  const isNeeded = Array.isArray(required) && required.includes("structured");
  return isNeeded && isJsonObject(properties) ? properties["structured"] : undefined;
};

type AnswerCall = { readonly name: string; readonly inputJson: string };

/** A call of final_answer with this content: the data it holds, else a sample where data are needed. */
export const finalAnswer = (content: string, tool: ToolDefinition): AnswerCall => {
  const schema = neededData(tool);
  const structured = objectOf(content) ?? (schema === undefined ? undefined : sampleOf(schema));
  return { name: tool.name, inputJson: JSON.stringify({ content, structured }) };
};

/** The same with data that do not satisfy the schema, or are none. */
export const wrongAnswer = (tool: ToolDefinition): AnswerCall => {
  const schema = neededData(tool);
  const structured = schema === undefined ? "wrong" : wrongSampleOf(schema);
  return { name: tool.name, inputJson: JSON.stringify({ content: "wrong", structured }) };
};

const objectIn = (value: JsonValue | undefined): JsonObject => (isJsonObject(value) ? value : {});

const listIn = (value: JsonValue | undefined): readonly JsonValue[] =>
  Array.isArray(value) ? value : [];

const leastOf = (least: JsonValue | undefined, most: number): number =>
  typeof least === "number" ? Math.min(least, most) : 0;
