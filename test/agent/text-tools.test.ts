import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { EngramError } from "../../src/errors.ts";
import { type AnswerPart, callText, makeCallReader } from "../../src/agent/text-tools.ts";
import { turnLimits } from "../../src/limits.ts";
import { seeded } from "../support/seed.ts";

type Read = { readonly text: string; readonly calls: readonly (readonly [string, string])[] };

/** What is read of the answer in these pieces. */
function readAll(pieces: readonly string[], begun = ""): Read {
  const reader = makeCallReader(begun);
  const parts: AnswerPart[] = [];
  for (const piece of pieces) parts.push(...reader.read(piece));
  parts.push(...reader.end());
  return {
    text: parts.map((part) => (part.kind === "text" ? part.text : "")).join(""),
    calls: parts.flatMap((part) =>
      part.kind === "toolCall" ? [[part.name, part.inputJson] as const] : [],
    ),
  };
}

/** Cut at these places, each a share of the length. */
function cutAt(text: string, shares: readonly number[]): readonly string[] {
  const places = [0, ...shares.map((share) => Math.floor(share * text.length)), text.length];
  const sorted = places.toSorted((one, other) => one - other);
  return sorted.slice(1).map((to, index) => text.slice(sorted[index], to));
}

const call = (name: string, inputJson: string) => [name, inputJson] as const;
const a = call("a", "{}");

type Case = readonly [
  answer: string,
  text: string,
  ...calls: readonly (readonly [string, string])[],
];

const cases: readonly Case[] = [
  // Inputs.
  ["[TOOL_CALL:a:{}]", "", a],
  ['[TOOL_CALL:get-it_2:{"x":1}]', "", call("get-it_2", '{"x":1}')],
  ['[TOOL_CALL:a:{"x":"}]"}]', "", call("a", '{"x":"}]"}')],
  ['[TOOL_CALL:a:{"x":"\\"}\\\\"}]', "", call("a", '{"x":"\\"}\\\\"}')],
  ['[TOOL_CALL:a:{"x":{"y":[{"z":[]}]}}]', "", call("a", '{"x":{"y":[{"z":[]}]}}')],
  ['[TOOL_CALL:a:[1,[2],{"x":"]"}]]', "", call("a", '[1,[2],{"x":"]"}]')],
  ['[TOOL_CALL:a:{\n  "x": "1\n2"\n}]', "", call("a", '{\n  "x": "1\n2"\n}')],
  ['[TOOL_CALL: a :\n{"x": 1}\n]', "", call("a", '{"x": 1}')],
  // A call in the input of another is a string of it.
  ['[TOOL_CALL:a:{"x":"[TOOL_CALL:b:{}]"}]', "", call("a", '{"x":"[TOOL_CALL:b:{}]"}')],
  // Not whole.
  ['[TOOL_CALL:a:{"x": "y', "", call("a", '{"x": "y')],
  ['so [TOOL_CALL:a:{"x": {"y":1}] and on', "so and on", call("a", '{"x": {"y":1}]')],
  ['[TOOL_CALL:a:{"x": "it"s"}] and on', "", call("a", '{"x": "it"s"}] and on')],
  ["[TOOL_CALL:a:{}", "", a],
  ["[TOOL_CALL:a:{}\n", "", a],
  ["[TOOL_CALL:a:{} and so on]", "and so on]", a],
  // Text.
  ["", ""],
  [" \n", " \n"],
  ["\n one\n\n", "\n one\n\n"],
  ["[TOOL_CALL", "[TOOL_CALL"],
  ["[TOOL_CALL:", "[TOOL_CALL:"],
  ["[TOOL_CALL:a", "[TOOL_CALL:a"],
  ["[TOOL_CALL:a:", "[TOOL_CALL:a:"],
  ["[TOOL_CALL:a: \n ", "[TOOL_CALL:a: \n "],
  ["[TOOL_CALL:a]", "[TOOL_CALL:a]"],
  ["[TOOL_CALL:a:1]", "[TOOL_CALL:a:1]"],
  ["[TOOL_CALL::{}]", "[TOOL_CALL::{}]"],
  ["[TOOL_CALL:a b:{}]", "[TOOL_CALL:a b:{}]"],
  ["[TOOL_CALL:a.b:{}]", "[TOOL_CALL:a.b:{}]"],
  ["[tool_call:a:{}]", "[tool_call:a:{}]"],
  [`[TOOL_CALL:${"a".repeat(65)}:{}]`, `[TOOL_CALL:${"a".repeat(65)}:{}]`],
  [`[TOOL_CALL:${"a".repeat(64)}:{}]`, "", call("a".repeat(64), "{}")],
  ["[TOOL_[TOOL_CALL:a:{}]", "[TOOL_", a],
  ["[[TOOL_CALL:a:{}]]", "[]", a],
  ["`x` and ``` y", "`x` and ``` y"],
  ["``` js\n", "``` js\n"],
  // Several, and what stands between them.
  ["[TOOL_CALL:a:{}][TOOL_CALL:b:[]]", "", a, call("b", "[]")],
  ["[TOOL_CALL:a:{}]\n\n[TOOL_CALL:b:[]]\n", "", a, call("b", "[]")],
  ["one\n[TOOL_CALL:a:{}]\ntwo\n[TOOL_CALL:a:{}]\nthree", "one\ntwo\nthree", a, a],
  // White space.
  ["one\n\n[TOOL_CALL:a:{}]\n", "one", a],
  ["\n\n[TOOL_CALL:a:{}]\n\none", "one", a],
  ["one [TOOL_CALL:a:{}] two", "one two", a],
  ["one[TOOL_CALL:a:{}] two", "one two", a],
  ["one [TOOL_CALL:a:{}], two", "one , two", a],
  ["one [TOOL_CALL:a:{}]\n\ntwo", "one\n\ntwo", a],
  ["one\n\n[TOOL_CALL:a:{}]\ntwo", "one\n\ntwo", a],
  // Blocks of code.
  ["```\n[TOOL_CALL:a:{}]\n```", "", a],
  [
    "one\n\n```json\n[TOOL_CALL:a:{}]\n[TOOL_CALL:b:[]]\n```\n\ntwo",
    "one\n\ntwo",
    a,
    call("b", "[]"),
  ],
  ["```\n[TOOL_CALL:a:{}]\n```\n```\n[TOOL_CALL:a:{}]\n```\nok", "ok", a, a],
  ["one\n```\n[TOOL_CALL:a:{}]", "one", a],
  ["```\ncode\n```\n[TOOL_CALL:a:{}]", "```\ncode\n```", a],
  ["```\ncode\n[TOOL_CALL:a:{}]\n```", "```\ncode\n```", a],
  ["```\n[TOOL_CALL:a:{}]\ncode\n```", "```\ncode\n```", a],
  ["````\n[TOOL_CALL:a:{}]\n```\n", "````\n```\n", a],
  ["`[TOOL_CALL:a:{}]`", "", a],
  ["now `[TOOL_CALL:a:{}]`.", "now .", a],
  ["use `x` [TOOL_CALL:a:{}]", "use `x`", a],
  ["a ` [TOOL_CALL:a:{}]", "a `", a],
];

describe("an answer with calls in it", () => {
  test.each(cases)("%j", (answer, text, ...calls) => {
    const whole = readAll([answer]);
    expect(whole).toEqual({ text, calls });
    expect(readAll(answer.split(""))).toEqual(whole);
    for (let at = 0; at <= answer.length; at++)
      expect(readAll([answer.slice(0, at), answer.slice(at)])).toEqual(whole);
  });
});

test.each([
  ["one", "\n[TOOL_CALL:a:{}]\ntwo", "\ntwo"],
  ["```\ncode", "\n```\n[TOOL_CALL:a:{}]", "\n```"],
  ["```\ncode\n```\nso", "\n```\n[TOOL_CALL:a:{}]", ""],
])("an answer that goes on from %j", (begun, rest, text) => {
  expect(readAll([rest], begun)).toEqual({ text, calls: [a] });
  expect(readAll(rest.split(""), begun)).toEqual({ text, calls: [a] });
});

/** What answers are made of, and what may be taken for it. */
const anyShard = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(" ", "\n", "\n\n", "word", "`", "``", "```", "```js\n") },
  {
    weight: 3,
    arbitrary: fc.constantFrom("[", "[TOOL", "[TOOL_CALL:", "a", ":", "]", "{", "}", '"'),
  },
  {
    weight: 3,
    arbitrary: fc
      .tuple(
        fc.constantFrom("a", "b"),
        fc.oneof(fc.dictionary(fc.string(), fc.jsonValue()), fc.array(fc.jsonValue())),
      )
      .map(([name, input]) => callText(name, JSON.stringify(input))),
  },
  { weight: 1, arbitrary: fc.string() },
);
const anyAnswer = fc
  .array(anyShard, { maxLength: 12, size: "max" })
  .map((shards) => shards.join(""));
const anyShares = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 20 });

describe("any answer", () => {
  test("is the same in whatever pieces it comes", () => {
    let withCalls = 0;
    fc.assert(
      fc.property(anyAnswer, anyShares, (answer, shares) => {
        const whole = readAll([answer]);
        if (whole.calls.length > 0) withCalls++;
        expect(readAll(cutAt(answer, shares))).toEqual(whole);
        expect(readAll(answer.split(""))).toEqual(whole);
      }),
      seeded(500),
    );
    expect(withCalls).toBeGreaterThan(100);
  });

  test("without a call is text, to the letter", () => {
    let compared = 0;
    fc.assert(
      fc.property(anyAnswer, anyShares, (answer, shares) => {
        const { text, calls } = readAll(cutAt(answer, shares));
        if (calls.length > 0) return;
        compared++;
        expect(text).toBe(answer);
      }),
      seeded(500),
    );
    expect(compared).toBeGreaterThan(100);
  });

  test("begins, before its first call, as it was written", () => {
    fc.assert(
      fc.property(anyAnswer, (answer) => {
        const reader = makeCallReader("");
        let shown = "";
        for (const char of answer)
          for (const part of reader.read(char)) {
            if (part.kind === "toolCall") return;
            shown += part.text;
            expect(answer.startsWith(shown)).toBe(true);
          }
      }),
      seeded(300),
    );
  });

  test("that was broken off before its first call goes on where it was", () => {
    fc.assert(
      fc.property(anyAnswer, fc.nat(), (answer, cut) => {
        const reader = makeCallReader("");
        let shown = "";
        let isCalled = false;
        for (const part of reader.read(answer.slice(0, cut % (answer.length + 1)))) {
          if (part.kind === "toolCall") isCalled = true;
          else if (!isCalled) shown += part.text;
        }
        if (shown === "") return;
        const rest = readAll([answer.slice(shown.length)], shown);
        const whole = readAll([answer]);
        expect({ ...rest, text: shown + rest.text }).toEqual(whole);
      }),
      seeded(500),
    );
  });

  test("gives back each call that is spelled out, whatever its input says", () => {
    fc.assert(
      fc.property(fc.array(fc.dictionary(fc.string(), fc.jsonValue())), (inputs) => {
        const calls = inputs.map((input) => call("echo", JSON.stringify(input)));
        const lines = calls.map(([name, inputJson]) => callText(name, inputJson));
        expect(readAll([["so", ...lines].join("\n")])).toEqual({ text: "so", calls });
      }),
      seeded(300),
    );
  });
});

describe("what is held back is bounded", () => {
  const { toolInputCharsMax } = turnLimits;
  const failure = (pieces: Iterable<string>): unknown => {
    const reader = makeCallReader("");
    try {
      for (const piece of pieces) reader.read(piece);
      return null;
    } catch (error) {
      return error instanceof EngramError ? [error.code, error.transient] : error;
    }
  };
  const times = (count: number, piece: string) =>
    Array.from({ length: count }, () => piece.repeat(1024));

  test.each([
    ["an input", "[TOOL_CALL:a:{", "x"],
    ["lists in one another", "[TOOL_CALL:a:", "["],
    ["white space", "one", " "],
    ["white space behind a call", "[TOOL_CALL:a:{}]", "\n"],
    ["a fence", "```js", " "],
    ["backticks", "", "`"],
  ])("%s", (_, first, piece) => {
    expect(failure([first, ...times(toolInputCharsMax / 1024 - 1, piece)])).toBeNull();
    expect(failure([first, ...times(toolInputCharsMax / 1024 + 1, piece)])).toEqual([
      "model_error",
      true,
    ]);
  });
});
