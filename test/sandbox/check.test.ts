import { afterAll, beforeAll, expect, test } from "bun:test";
import { answerLimits } from "../../src/agent/answer-limits.ts";
import type { JsonObject } from "../../src/agent/json.ts";
import { turnLimits } from "../../src/limits.ts";
import { type Harness, noLimits, openHarness, echoText } from "./harness.ts";

let harness: Harness;
beforeAll(async () => {
  harness = await openHarness();
  await harness.put("echo", echoText);
});
afterAll(() => harness.close());

const forever = new AbortController().signal;
const check = (value: JsonObject, schema: JsonObject): Promise<string | null> =>
  harness.sandbox.check(value, schema, forever);

const schema = {
  type: "object",
  properties: {
    n: { type: "integer", minimum: 1 },
    tags: { type: "array", items: { $ref: "#/$defs/tag" } },
  },
  required: ["n"],
  additionalProperties: false,
  $defs: { tag: { type: "string", maxLength: 3 } },
};

/** Takes longer than anybody waits: the engine gives each text up only after some hundred ms. */
const hostile = { properties: { s: { items: { pattern: "^(a+)+$" } } } };
const slow = { s: Array(1_000).fill(`${"a".repeat(60)}!`) };

test("a value that matches has no fault; else each fault names its place and its rule", async () => {
  expect(await check({ n: 3, tags: ["a", "b"] }, schema)).toBeNull();
  expect(await check({ n: "3" }, schema)).toMatch(/#\/n: .*integer/);
  expect(await check({ n: 0 }, schema)).toMatch(/#\/n: .*1/);
  expect(await check({}, schema)).toMatch(/"n"/);
  expect(await check({ n: 1, more: 1 }, schema)).toContain("more");
  expect(await check({ n: 1, tags: ["a", "long"] }, schema)).toMatch(/#\/tags\/1: /);
});

test("of many faults the first few are named, and half a character of none", async () => {
  const fault = await check({ n: 1, tags: Array(1_000).fill("\u{1f600}".repeat(1_000)) }, schema);
  expect(fault!.length).toBeLessThan(2_000);
  expect(fault!.isWellFormed()).toBe(true);
});

test("a check that takes too long is a fault that says so, and holds up nothing else", async () => {
  const long = check(slow, hostile);
  expect(await check({ n: 3 }, schema)).toBeNull();
  expect((await harness.run("echo", "{}")).error).toBeNull();
  expect(await long).toContain(`${answerLimits.checkMs} ms`);
});

test("a check that is aborted ends at once", async () => {
  const stopping = new AbortController();
  const long = harness.sandbox.check(slow, hostile, stopping.signal);
  const reason = new Error("enough");
  setImmediate(() => stopping.abort(reason));
  expect(await long.catch((error: unknown) => error)).toBe(reason);
});

test("the largest answer is checked", async () => {
  const s = "a".repeat(turnLimits.toolInputCharsMax);
  expect(await check({ s }, { type: "object", properties: { s: { maxLength: 9 } } })).toMatch(
    /#\/s/,
  );
});

test("an input that is wrong for a tool is still told so", async () => {
  const call = { name: "echo", inputJson: "{}", parameters: schema, limits: noLimits };
  const { error } = await harness.sandbox.run(call, forever);
  expect(error).toMatchObject({ code: "TOOL_INVALID_INPUT" });
});
