import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { JsonValue } from "../../src/agent/json.ts";
import { collectCalls } from "../../src/llm/openai/calls.ts";

type Call = { readonly name: string; readonly inputJson: string };

const offered = new Set(["get", "get_time", "find"]);

/** What comes of pieces, each list one chunk's. */
const callsOf = (chunks: readonly JsonValue[], cut = false): readonly Call[] => {
  const collector = collectCalls(offered);
  for (const chunk of chunks) collector.take(chunk);
  return collector.calls(cut);
};

const piece = (name: string | null, input: JsonValue, more: { [key: string]: JsonValue } = {}) => ({
  ...more,
  function: { ...(name !== null && { name }), arguments: input },
});

const halves = (text: string): readonly string[] => {
  const middle = Math.ceil(text.length / 2);
  return [text.slice(0, middle), text.slice(middle)];
};

/** The chunks in which servers have sent one or more calls. */
const spellings: Readonly<Record<string, (calls: readonly Call[]) => readonly JsonValue[]>> = {
  "OpenAI: an index in each piece, id and name in the first": (calls) =>
    calls.flatMap(({ name, inputJson }, index) => [
      [piece(name, "", { index, id: `call_${index}`, type: "function" })],
      ...halves(inputJson).map((half) => [piece(null, half, { index })]),
    ]),
  "all calls at the same time": (calls) => [
    ...calls.map(({ name }, index) => [piece(name, "", { index, id: `call_${index}` })]),
    ...[0, 1].map((half) =>
      calls.map(({ inputJson }, index) => piece(null, halves(inputJson)[half] ?? "", { index })),
    ),
  ],
  "Ollama: whole, all of them the first": (calls) =>
    calls.map(({ name, inputJson }, at) => [
      piece(name, inputJson, { index: 0, id: `call_${at}` }),
    ]),
  "whole, all of them the first, without ids": (calls) =>
    calls.map(({ name, inputJson }) => [piece(name, inputJson, { index: 0, id: "" })]),
  "Gemini: whole, in one chunk, without an index": (calls) => [
    calls.map(({ name, inputJson }, at) => piece(name, inputJson, { id: `call_${at}` })),
  ],
  "whole, in one chunk, with nothing": (calls) => [
    calls.map(({ name, inputJson }) => piece(name, inputJson)),
  ],
  "vLLM of old: another id with each piece": (calls) =>
    calls.flatMap(({ name, inputJson }, index) => [
      [piece(name, null, { index, id: `a${index}` })],
      ...halves(inputJson).map((half, at) => [piece(null, half, { index, id: `b${index}${at}` })]),
    ]),
  "names in pieces": (calls) =>
    calls.flatMap(({ name, inputJson }, index) => [
      [piece(name.slice(0, 2), "", { index, id: `call_${index}` })],
      [piece(name.slice(2), "", { index })],
      [piece(null, inputJson, { index })],
    ]),
  "id and name in every piece": (calls) =>
    calls.flatMap(({ name, inputJson }, index) =>
      [...halves(inputJson), ""].map((half) => [piece(name, half, { index, id: `call_${index}` })]),
    ),
  "the name in every piece, without ids": (calls) =>
    calls.flatMap(({ name, inputJson }) =>
      [...halves(inputJson), ""].map((half) => [piece(name, half, { index: 0 })]),
    ),
  "pieces with nothing": (calls) =>
    calls.flatMap(({ name, inputJson }) => [
      [piece(name, "")],
      ...halves(inputJson).map((half) => [piece(null, half)]),
    ]),
  "Cerebras: pieces with indexes of no call": (calls) =>
    calls.flatMap(({ name, inputJson }, index) => [
      [piece(name, "", { index: index * 100, id: `call_${index}` })],
      ...halves(inputJson).map((half, at) => [piece(null, half, { index: index * 100 + at + 1 })]),
    ]),
};

describe("no call is lost, merged or split", () => {
  const input = fc
    .dictionary(fc.string({ maxLength: 4 }), fc.jsonValue({ maxDepth: 2 }), { maxKeys: 3 })
    .map((value) => JSON.stringify(value));
  const call = fc.record({ name: fc.constantFrom(...offered), inputJson: input });

  test.each(Object.entries(spellings))("%s", (_, chunksOf) => {
    fc.assert(
      fc.property(fc.array(call, { minLength: 1, maxLength: 5 }), (calls) => {
        expect(callsOf(chunksOf(calls))).toEqual(calls);
      }),
      { numRuns: 200 },
    );
  });
});

test("braces in texts do not end an input", () => {
  const inputs = ['{"a":"}{","b":"\\"}"}', '{"a":["\\\\"]}'];
  const pieces = inputs.flatMap((text) => [
    piece("get", text.slice(0, 7)),
    piece(null, text.slice(7)),
  ]);
  expect(callsOf(pieces.map((one) => [one]))).toEqual(
    inputs.map((inputJson) => ({ name: "get", inputJson })),
  );
});

test("an input may be an object, absent, or none", () => {
  expect(
    callsOf([
      [piece("get", { a: [1, "é"] })],
      [piece("find", null)],
      [{ id: "1", function: { name: "get_time" } }],
      null,
      [],
    ]),
  ).toEqual([
    { name: "get", inputJson: '{"a":[1,"é"]}' },
    { name: "find", inputJson: "{}" },
    { name: "get_time", inputJson: "{}" },
  ]);
});

test("calls without inputs are as many as were made", () => {
  const names = (...chunks: readonly JsonValue[]) => callsOf(chunks).map(({ name }) => name);
  const twice = [0, 1].map((index) => piece("get", "", { index }));
  expect(names(twice)).toEqual(["get", "get"]);
  expect(names([piece("get", "", { id: "1" }), piece("get", "", { id: "2" })])).toHaveLength(2);
  expect(names([piece("get", "{}")], [piece("get", "")])).toEqual(["get"]);
  expect(names([piece("get", "")], [piece("find", "")])).toEqual(["get", "find"]);
});

test("what a model did not write to its end is not made whole", () => {
  expect(callsOf([[piece("get", '{"a":')], [piece("find", "", { id: "2" })]], true)).toEqual([
    { name: "get", inputJson: '{"a":' },
    { name: "find", inputJson: "" },
  ]);
});

test("a name that was not offered stays as it is", () => {
  expect(callsOf([[piece("rm", "{}", { index: 0 })], [piece("rf", "{}", { index: 1 })]])).toEqual([
    { name: "rm", inputJson: "{}" },
    { name: "rf", inputJson: "{}" },
  ]);
});

test("a megabyte in small pieces is looked at once", () => {
  const pieces = Array.from({ length: 100_000 }, () => [piece("get", '{"a":"}{",', { index: 0 })]);
  expect(callsOf(pieces)).toHaveLength(1);
});
