import { messageOf } from "../errors.ts";
import { requestLimits, turnLimits } from "../limits.ts";
import { answerLimits } from "./answer-limits.ts";
import type { AgentSpec, ToolDefinition } from "./event.ts";
import { isJsonObject, type JsonObject, type JsonValue, valuesIn } from "./json.ts";
import { withNames } from "./schema.ts";
import { bytesOf } from "./spec.ts";

/** The built-in tool by which a model ends its goal, as it is where the agent has no schema for the answer. */
export const finalAnswerTool = {
  name: "final_answer",
  description:
    "Ends the goal with its final answer. Call it only when the goal is reached or cannot be; for anything else answer in plain text.",
  parameters: {
    type: "object",
    properties: {
      content: { type: "string", description: "The answer, for a human reader." },
      structured: { type: "object", description: "The answer as data." },
    },
    required: ["content"],
  },
} as const;

/**
 * The same as an agent's model is offered it: where the agent has a schema, the answer must have data that satisfy it. The
 * schema stands in the description too: Ollama leaves out of a tool's parameters what it does not know.
 */
export function finalAnswerToolOf({ config: { responseSchema } }: AgentSpec): ToolDefinition {
  if (responseSchema === null) return finalAnswerTool;
  const { description, parameters } = finalAnswerTool;
  const structured = ofObjects(moved(responseSchema));
  return {
    ...finalAnswerTool,
    description: `${description} Its structured part has to satisfy this JSON Schema: ${JSON.stringify(responseSchema)}`,
    parameters: {
      ...parameters,
      properties: { ...parameters.properties, structured },
      required: ["content", "structured"],
    },
  };
}

/** What a reply's whole text has to satisfy: the schema of an agent that has no tools to answer by; null: anything. */
export const formatOf = ({ config }: AgentSpec): JsonObject | null =>
  config.noTools && config.responseSchema !== null ? ofObjects(config.responseSchema) : null;

/** An answer's data are an object, also where a schema does not say so. */
const ofObjects = (schema: JsonObject): JsonObject => ({ ...schema, type: "object" });

/** Holds values that are no schemas. */
const valueKeywords = new Set(["const", "enum", "default", "examples"]);

/** The schema as it has to be inside of the tool's own: references go by the way from the root. */
function moved(schema: JsonObject): JsonObject {
  // References within a schema that has a name start from there.
  if (typeof schema["$id"] === "string") return schema;
  return Object.fromEntries(
    Object.entries(schema).map(([key, value]) => [key, movedValue(key, value)]),
  );
}

/** Under names of any kind, those of keywords too. */
const movedAll = (schemas: JsonObject): JsonObject =>
  Object.fromEntries(
    Object.entries(schemas).map(([name, schema]) => [name, movedValue("", schema)]),
  );

function movedValue(key: string, value: JsonValue): JsonValue {
  if (key === "$ref" && typeof value === "string" && /^#(\/|$)/.test(value))
    return `#/properties/structured${value.slice(1)}`;
  if (valueKeywords.has(key)) return value;
  if (withNames.has(key) && isJsonObject(value)) return movedAll(value);
  if (Array.isArray(value)) return value.map((item: JsonValue) => movedValue("", item));
  return isJsonObject(value) ? moved(value) : value;
}

export type FinalAnswer = { readonly content: string; readonly structured: JsonObject | null };

/** What a model gave as its final answer, or what is wrong with it, in words for the model. */
export type ReadAnswer =
  | { readonly answer: FinalAnswer; readonly fault: null }
  | { readonly answer: null; readonly fault: string };

/** Parsers quote half a character too, which servers do not take back in a prompt. */
const wrong = (fault: string): ReadAnswer => ({ answer: null, fault: fault.toWellFormed() });

/** Reads the input of a call of final_answer, or the text that stands for it; whether its data satisfy the schema is not looked at. */
export function readAnswer(spec: AgentSpec, input: string): ReadAnswer {
  const read = formatOf(spec) === null ? readCall(spec, input) : readText(input);
  if (read.answer === null) return read;
  const { content, structured } = read.answer;
  if (structured === null) return read;
  const { jsonLevelsMax, answerBytesMax } = requestLimits;
  const values = valuesIn(structured);
  if (values === Infinity)
    return wrong(
      `the data have more than ${jsonLevelsMax} objects and lists in one another; make them flatter`,
    );
  // A text that is the answer is sent as both.
  const texts = formatOf(spec) === null ? 1 : 2;
  const bytes = texts * bytesOf(content) + bytesOf(JSON.stringify(structured));
  return bytes + values * answerLimits.bytesPerValue <= answerBytesMax
    ? read
    : wrong("the answer is too large for whoever asked; give less data");
}

function readCall({ config }: AgentSpec, input: string): ReadAnswer {
  const isNeeded = config.responseSchema !== null;
  const shape = isNeeded
    ? `final_answer takes {"content": string, "structured": object}, both of them`
    : `final_answer takes {"content": string, "structured"?: object}`;
  const { value, fault } = parsed(input);
  if (fault !== null) return wrong(`the input ${fault}; ${shape}`);
  if (!isJsonObject(value) || typeof value["content"] !== "string") return wrong(shape);
  const structured = value["structured"] ?? null;
  if (structured === null && isNeeded) return wrong(shape);
  if (structured !== null && !isJsonObject(structured)) return wrong(shape);
  return { answer: { content: value["content"].toWellFormed(), structured }, fault: null };
}

function readText(text: string): ReadAnswer {
  const shape = "answer with one JSON object, and nothing else";
  const { toolInputCharsMax } = turnLimits;
  if (text.length > toolInputCharsMax)
    return wrong(`the answer is longer than ${toolInputCharsMax} characters; give less data`);
  const { value, fault } = parsed(withoutFence(text));
  if (fault !== null) return wrong(`the answer ${fault}; ${shape}`);
  if (!isJsonObject(value)) return wrong(`the answer is no JSON object; ${shape}`);
  return { answer: { content: text, structured: value }, fault: null };
}

/** Models put a fence around JSON although nobody asked for one. */
function withoutFence(text: string): string {
  const trimmed = text.trim();
  const isFenced = trimmed.startsWith("```") && trimmed.endsWith("```");
  return isFenced ? trimmed.slice(3, -3).replace(/^json\b/i, "") : text;
}

function parsed(json: string): { readonly value: JsonValue; readonly fault: string | null } {
  try {
    return { value: JSON.parse(json), fault: null };
  } catch (error) {
    return { value: null, fault: `is not valid JSON (${messageOf(error)})` };
  }
}
