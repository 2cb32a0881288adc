import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import { type Harness, openHarness } from "./harness.ts";

let harness: Harness;
beforeAll(async () => {
  harness = await openHarness();
  const build = join(import.meta.dir, "../../tools/build.ts");
  await Bun.$`${process.execPath} ${build} ${harness.toolsPath}`.quiet();
}, 60_000);
afterAll(() => harness.close());

const run = (name: string, input: unknown) => harness.run(name, JSON.stringify(input));

const gives = async (name: string, input: unknown): Promise<string> => {
  const { output, error } = await run(name, input);
  expect(error).toBeNull();
  return output;
};

const fails = async (name: string, input: unknown): Promise<string> => {
  const { error } = await run(name, input);
  expect(error?.code).toBe("TOOL_EXITED");
  return error?.message ?? "";
};

test("all of them are usable and describe themselves", async () => {
  const tools = await harness.sandbox.list();
  expect(tools.map(({ name, error }) => [name, error])).toEqual([
    ["calculator", null],
    ["clock", null],
    ["dates", null],
    ["json_query", null],
    ["text_stats", null],
  ]);
  for (const { description, parameters } of tools) {
    expect(description.length).toBeGreaterThan(40);
    expect(Object.keys(parameters["properties"] ?? {})).not.toBeEmpty();
  }
});

test("clock tells the time in UTC, to the second", async () => {
  const before = Math.floor(Date.now() / 1000);
  const text = await gives("clock", {});
  const after = Math.floor(Date.now() / 1000);
  expect(text).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
  expect(Date.parse(text) / 1000).toBeWithin(before, after + 1);
});

test("clock tells the time at an offset", async () => {
  const offsets = [
    ["+02:00", "+02:00"],
    ["-0530", "-05:30"],
    ["+14", "+14:00"],
    ["Z", "Z"],
    ["utc", "Z"],
  ] as const;
  for (const [offset, shown] of offsets) {
    const text = await gives("clock", { offset });
    expect(text).toEndWith(shown);
    expect(Math.abs(Date.parse(text) - Date.now())).toBeLessThan(60_000);
  }
  for (const offset of ["Berlin", "+2", "+25:00", "+02:60", "+02:00h", "02:00"]) {
    expect(await fails("clock", { offset })).toInclude("is not an offset from UTC");
  }
});

test("calculator computes", async () => {
  const results: Readonly<Record<string, string>> = {
    "2+3*4": "14",
    "(2 + 3) * sqrt(16) / 2^3": "2.5",
    "10 / 4": "2.5",
    "-2^2": "-4",
    "2^-2": "0.25",
    "2**3**2": "512",
    "-7 % 3": "-1",
    "20!": "2432902008176640000",
    "123456789 * 987654321": "121932631112635269",
    "2^64": "1.8446744073709552e+19",
    "0.1 + 0.2": "0.3",
    "1 / 3": "0.3333333333333333",
    "1 - 0.9": "0.1",
    "1.5e-7": "1.5e-7",
    "0x1F": "31",
    "max(1, 2.5, -3) + min(4, 2)": "4.5",
    "round(-2.5) + floor(2.9) + abs(-1)": "0",
    "log10(1000) + log2(8) + ln(e)": "7",
    "hypot(3, 4) + pow(2, 0.5)^2": "7",
    "sin(pi / 6)": "0.5",
  };
  for (const [expression, result] of Object.entries(results)) {
    expect([expression, await gives("calculator", { expression })]).toEqual([expression, result]);
  }
});

test("calculator says what is wrong", async () => {
  const problems: Readonly<Record<string, string>> = {
    "1/0": "division by zero",
    "sqrt(-1)": "square root",
    "foo(1)": `no function "foo"`,
    "2 +": "ends too early",
    "2 3": `unexpected "3" at position 3`,
    "(1 + 2": "expected )",
    "x + 1": `"x" is not a known constant`,
    "171!": "too large",
    "1e400": "too large",
    [`${"(".repeat(3000)}1${")".repeat(3000)}`]: "nested too deep",
  };
  for (const [expression, problem] of Object.entries(problems)) {
    expect(await fails("calculator", { expression })).toInclude(problem);
  }
  expect((await run("calculator", {})).error?.code).toBe("TOOL_INVALID_INPUT");
  expect((await run("calculator", { expression: 5 })).error?.code).toBe("TOOL_INVALID_INPUT");
});

const book = [
  { title: "A", price: 8.95 },
  { title: "B", price: 12.99, isbn: "x" },
  { title: '\u00c7 "q"\n', price: 22.99 },
];
const shop = { store: { book, bicycle: { price: 399 } } };

test("json_query finds", async () => {
  const results: Readonly<Record<string, unknown>> = {
    $: [shop],
    "$.store.book[0].title": ["A"],
    "$..price": [8.95, 12.99, 22.99, 399],
    "$.store.book[*].title": book.map(({ title }) => title),
    "$.store.book[-1:].price": [22.99],
    "$.store.book[::-1].price": [22.99, 12.99, 8.95],
    "$.store.book[0, 2].price": [8.95, 22.99],
    "$['store'][\"bicycle\"]": [{ price: 399 }],
    "$.store.book[?@.price < 10 || @.isbn == 'x'].title": ["A", "B"],
    "$.store.book[?(@.price > 10 && !@.isbn)].price": [22.99],
    "$.store.book[?@.isbn].title": ["B"],
    "$.store.book[?@.price >= $.store.book[1].price].price": [12.99, 22.99],
    "$.store.*.price": [399],
    "$.nothing": [],
    "$.store.book[9]": [],
  };
  for (const [query, result] of Object.entries(results)) {
    const output = await gives("json_query", { query, document: shop });
    expect([query, JSON.parse(output)]).toEqual([query, result]);
  }
});

test("json_query reads a document that is text, and keeps its numbers", async () => {
  const document = `{"a": 12345678901234567890, "b": [1.50, "\\u00e9"]}`;
  expect(await gives("json_query", { query: "$.a", document })).toBe("[12345678901234567890]");
  expect(await gives("json_query", { query: "$.b[*]", document })).toBe(`[1.50,"\u00e9"]`);
});

test("json_query says what is wrong", async () => {
  const problems: Readonly<Record<string, string>> = {
    store: "must begin with $",
    "$.a[": "at position 5",
    "$.a b": `unexpected "b"`,
    "$[?@.a == ]": "expected",
    "$['a": "does not end",
  };
  for (const [query, problem] of Object.entries(problems)) {
    expect(await fails("json_query", { query, document: shop })).toInclude(problem);
  }
  const broken = await fails("json_query", { query: "$.a", document: "{bad" });
  expect(broken).toInclude(`"document" is not valid JSON`);
  const deep = `${"[".repeat(2000)}${"]".repeat(2000)}`;
  expect(await fails("json_query", { query: "$", document: deep })).toInclude("nested deeper");
});
