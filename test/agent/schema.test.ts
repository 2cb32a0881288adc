import { Validator } from "@cfworker/json-schema";
import { describe, expect, test } from "bun:test";
import type { JsonObject } from "../../src/agent/json.ts";
import { schemaFault } from "../../src/agent/schema.ts";
import { finalAnswerTool } from "../../src/agent/answer.ts";

const good: Readonly<Record<string, JsonObject>> = {
  "an empty one": {},
  "that of the final answer": finalAnswerTool.parameters,
  "all kinds of keywords": {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    title: "t",
    type: ["object", "null"],
    properties: {
      type: { const: 17 },
      required: { enum: ["a", 1, null] },
      n: { type: "integer", minimum: 1, exclusiveMaximum: 9.5, multipleOf: 0.5 },
      s: { type: "string", minLength: 0, maxLength: 8, pattern: "^\\p{L}+$", format: "date" },
      l: { type: "array", items: { type: "number" }, minItems: 1, uniqueItems: true },
      pair: { prefixItems: [true, { type: "null" }], items: false, minContains: 0, contains: {} },
      old: { items: [{ type: "string" }], additionalItems: true },
    },
    patternProperties: { "^x-": {} },
    required: ["n"],
    dependentRequired: { n: ["s"] },
    dependentSchemas: { s: { maxProperties: 3 } },
    additionalProperties: false,
    if: { properties: { n: { const: 1 } } },
    // oxlint-disable-next-line no-thenable -- a keyword
    then: true,
    else: { not: { required: ["l"] } },
    "x-own": { type: 17, anyOf: "whatever" },
    default: { type: 17 },
    examples: [{ $ref: "#/nowhere" }],
  },
  "references that lead somewhere": {
    $defs: { "a/b~c d": { type: "string" }, named: { $anchor: "here" }, "100%": true },
    components: { thing: { type: "number" } },
    properties: {
      a: { $ref: "#/$defs/a~1b~0c%20d" },
      b: { $ref: "#here" },
      c: { $ref: "#/components/thing" },
      d: { $ref: "#/$defs/100%25" },
      e: { allOf: [{ $ref: "#/properties/a" }, { $ref: "#/properties/a" }] },
      first: { $ref: "#/properties/e/allOf/1" },
    },
  },
  "a tree, which goes round through its children": {
    properties: { left: { $ref: "#" }, right: { anyOf: [{ type: "null" }, { $ref: "#" }] } },
    items: { $ref: "#" },
  },
  "names of its own": {
    $id: "https://example.com/a",
    properties: { b: { $ref: "b" } },
    $defs: { b: { $id: "b", type: "string" } },
  },
};

const bad: readonly (readonly [string, JsonObject])[] = [
  [".type ", { type: 17 }],
  [".type ", { type: [] }],
  [".type ", { type: "string" }],
  [".type ", { type: ["string", "null"] }],
  [".properties.n.type ", { properties: { n: { type: "float" } } }],
  [".properties.n ", { properties: { n: "string" } }],
  [".properties ", { properties: ["n"] }],
  [".properties.n.required ", { properties: { n: { required: true } } }],
  [".required ", { required: "n" }],
  [".required ", { required: [1] }],
  [".items.enum ", { items: { enum: "a" } }],
  [".items[1].pattern ", { items: [{}, { pattern: "(" }] }],
  [".additionalProperties.pattern ", { additionalProperties: { pattern: "[\\w-.]" } }],
  [".patternProperties ", { patternProperties: { "(": {} } }],
  [".additionalProperties ", { additionalProperties: "no" }],
  [".allOf ", { allOf: [] }],
  [".anyOf ", { anyOf: { type: "object" } }],
  [".oneOf[0].minimum ", { oneOf: [{ minimum: "1" }] }],
  [".not.exclusiveMinimum ", { not: { exclusiveMinimum: true } }],
  [".if.maxLength ", { if: { maxLength: -1 } }],
  // oxlint-disable-next-line no-thenable -- a keyword
  [".then.minItems ", { then: { minItems: 1.5 } }],
  [".else.multipleOf ", { else: { multipleOf: 0 } }],
  [".dependentRequired ", { dependentRequired: { a: "b" } }],
  [".dependentSchemas.a ", { dependentSchemas: { a: [] } }],
  [".propertyNames.format ", { propertyNames: { format: 1 } }],
  [".contains.uniqueItems ", { contains: { uniqueItems: 1 } }],
  [".$defs.x.$ref ", { $defs: { x: { $ref: 7 } } }],
  [" has the reference ", { $ref: "#/definitions/nope" }],
  [" has the reference ", { properties: { a: { $ref: "#nowhere" } } }],
  [" has the reference ", { $ref: "https://example.com/schema.json" }],
  [" has the reference ", { $ref: "#/properties/a/toString", properties: { a: {} } }],
  [" has the reference ", { $ref: "#/allOf/length", allOf: [{}] }],
  [" has references ", { $ref: "#" }],
  [" has references ", { allOf: [{ anyOf: [{ $ref: "#" }] }, { $ref: "#" }] }],
  [
    " has references ",
    { $ref: "#/$defs/a", $defs: { a: { $ref: "#/$defs/b" }, b: { $ref: "#/$defs/a" } } },
  ],
];

describe("a schema is taken:", () => {
  test.each(Object.entries(good))("%s", (_what, schema) => {
    expect(schemaFault(schema)).toBeNull();
    // And the validator can do with it.
    const validator = new Validator(structuredClone(schema), "2020-12", false);
    validator.validate({ n: 1, s: "é", left: { right: {} }, a: "x", first: 2, pair: [1, null] });
  });
});

describe("a schema is refused, naming what is wrong in it:", () => {
  test.each(bad)("%s%j", (begin, schema) => {
    expect(schemaFault(schema)).toStartWith(begin);
  });
});

test("a schema of schemas that each name the next one twice is looked at once", () => {
  const next = (at: number) => [{ $ref: `#/$defs/d${at}` }, { $ref: `#/$defs/d${at}` }];
  const $defs = Object.fromEntries(
    Array.from({ length: 40 }, (_, at) => [`d${at}`, at === 39 ? {} : { allOf: next(at + 1) }]),
  );
  expect(schemaFault({ $ref: "#/$defs/d0", $defs })).toBeNull();
});
