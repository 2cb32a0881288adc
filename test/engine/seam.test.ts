import { expect, test } from "bun:test";
import { makeSeam } from "../../src/engine/seam.ts";

/** What is new of a continuation that comes in pieces. */
const joined = (begun: string, ...pieces: readonly string[]): string =>
  pieces.map(makeSeam(begun)).join("");

test("a continuation is taken as it is, but for blanks that the text has already", () => {
  expect(joined("one two", " three")).toBe(" three");
  expect(joined("one two ", " three")).toBe("three");
  expect(joined("one two \n", " ", "\n", "three")).toBe("three");
  expect(joined("one two ", " \nthree")).toBe("\nthree");
  expect(joined("one two ")).toBe("");
});

test("what a continuation says again of the text is said twice", () => {
  const words = Array.from({ length: 20 }, (_, n) => `word-${n} `).join("");
  expect(joined(words, words, "and on")).toBe(`${words}and on`);
});
