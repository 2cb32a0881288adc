import { describe, expect, test } from "bun:test";
import {
  finalAnswerTool,
  finalAnswerToolOf,
  formatOf,
  readAnswer,
} from "../../src/agent/answer.ts";
import type { AgentSpec } from "../../src/agent/event.ts";
import type { JsonObject } from "../../src/agent/json.ts";
import { schemaFault } from "../../src/agent/schema.ts";
import { requestLimits, turnLimits } from "../../src/limits.ts";
import { nested, plainConfig, plainSpec } from "../support/events.ts";

const specOf = (responseSchema: JsonObject | null, noTools = false): AgentSpec => ({
  ...plainSpec,
  config: { ...plainConfig, responseSchema, noTools },
});
const plain = specOf(null);
const strict = specOf({ type: "object" });
const inFormat = specOf({ type: "object" }, true);
const faultOf = (spec: AgentSpec, input: string): string => {
  const { fault } = readAnswer(spec, input);
  if (fault === null) throw new Error(`nothing is wrong with ${input}`);
  return fault;
};

describe("final_answer as it is offered", () => {
  test("takes whatever data, and none, where the agent has no schema", () => {
    expect(finalAnswerToolOf(plain)).toEqual(finalAnswerTool);
  });
  test("needs the data of the agent's schema, which have to be an object", () => {
    const { description, parameters } = finalAnswerToolOf(specOf({ required: ["n"] }));
    expect(description).toEndWith(' {"required":["n"]}');
    expect(parameters).toMatchObject({
      properties: { structured: { type: "object", required: ["n"] } },
      required: ["content", "structured"],
    });
  });
  test("has the schema's references lead where they led", () => {
    const schema = {
      type: "object",
      $defs: { leaf: { type: "integer" }, own: { $id: "urn:own", $ref: "#/x" } },
      properties: {
        one: { $ref: "#/$defs/leaf" },
        all: { type: "array", items: { anyOf: [{ $ref: "#" }, { $ref: "#anchored" }] } },
        held: { const: { $ref: "#/$defs/leaf" } },
        // A name that data have, not the keyword.
        default: { $ref: "#/$defs/leaf" },
      },
    };
    const { parameters } = finalAnswerToolOf(specOf(schema));
    expect(parameters["properties"]).toHaveProperty("structured", {
      ...schema,
      properties: {
        one: { $ref: "#/properties/structured/$defs/leaf" },
        all: {
          type: "array",
          items: { anyOf: [{ $ref: "#/properties/structured" }, { $ref: "#anchored" }] },
        },
        held: { const: { $ref: "#/$defs/leaf" } },
        default: { $ref: "#/properties/structured/$defs/leaf" },
      },
    });
    const { own: _own, ...$defs } = schema.$defs;
    const known = finalAnswerToolOf(
      specOf({ ...schema, $defs, properties: { ...schema.properties, all: {} } }),
    );
    expect(schemaFault(known.parameters)).toBeNull();
  });
});

test("an agent answers in a format where it has a schema and no tools", () => {
  expect([plain, strict, specOf(null, true)].map(formatOf)).toEqual([null, null, null]);
  expect(formatOf(specOf({ required: ["n"] }, true))).toEqual({ type: "object", required: ["n"] });
});

describe("what a model gave as its answer", () => {
  test("is read from a call's input", () => {
    expect(readAnswer(plain, '{"content":"3"}').answer).toEqual({ content: "3", structured: null });
    expect(readAnswer(strict, '{"content":"3","structured":{"n":3}}').answer).toEqual({
      content: "3",
      structured: { n: 3 },
    });
  });
  test("is the text itself in a format, to the letter", () => {
    for (const text of ['{"n":3}', ' {"n":\n3} ', '```json\n{"n":3}\n```', '```\n{"n":3}```'])
      expect(readAnswer(inFormat, text).answer).toEqual({ content: text, structured: { n: 3 } });
  });
  test("is refused with a word on its shape", () => {
    for (const input of ["{}", "[]", '{"content":3}', '{"content":"3","structured":[]}'])
      expect(faultOf(plain, input)).toContain('"structured"?: object');
    for (const input of ['{"content":"3"}', '{"content":"3","structured":null}'])
      expect(faultOf(strict, input)).toContain("both of them");
    expect(faultOf(plain, '{"content":')).toMatch(/not valid JSON/);
    expect(faultOf(inFormat, "It is 3.")).toMatch(/not valid JSON/);
    for (const text of ["[]", "3", "null", '"{}"', "```json\n[]\n```"])
      expect(faultOf(inFormat, text)).toContain("no JSON object");
    for (const text of ["", "``", "```", "````", "``````", "```json```"])
      expect(faultOf(inFormat, text)).toMatch(/not valid JSON/);
  });
  test("is refused where no client could take it", () => {
    const { jsonLevelsMax, answerBytesMax } = requestLimits;
    expect(readAnswer(inFormat, nested(jsonLevelsMax)).fault).toBeNull();
    for (const levels of [jsonLevelsMax + 1, 100_000])
      expect(faultOf(inFormat, nested(levels))).toContain("flatter");
    const { toolInputCharsMax } = turnLimits;
    const long = (chars: number): string => JSON.stringify({ a: "x".repeat(chars - 8) });
    expect(readAnswer(inFormat, long(toolInputCharsMax)).fault).toBeNull();
    expect(faultOf(inFormat, long(toolInputCharsMax + 1))).toContain("longer than");
    // It is sent three times over.
    expect(faultOf(inFormat, JSON.stringify({ a: "\u4e00".repeat(answerBytesMax / 9) }))).toContain(
      "too large",
    );
    // Each is two letters here, and eleven bytes of a Struct.
    const many = `{"a":[${"1,".repeat(answerBytesMax / 11)}1]}`;
    expect(faultOf(inFormat, many)).toContain("too large");
    expect(faultOf(plain, `{"content":"3","structured":${many}}`)).toContain("too large");
  });
});

test("an answer, and what is said of a wrong one, is of whole characters, though a parser cuts them", () => {
  const { answer } = readAnswer(plain, '{"content":"a\\ud83d"}');
  expect(answer?.content).toBe("a\ufffd");
  expect(faultOf(inFormat, "\u{1f600} of course").isWellFormed()).toBe(true);
  for (const input of [
    "\u{1f600}",
    `{"a":${"\u{20000}".repeat(2_000)}`,
    `x${"\u{20000}".repeat(2_000)}`,
  ])
    expect(faultOf(plain, input).isWellFormed()).toBe(true);
});
