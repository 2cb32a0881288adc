import { expect, test } from "bun:test";
import { makeTranscript } from "../../src/cli/transcript.ts";

const all = (fresh: string) => ({ fresh, isAnew: false });
const anew = (fresh: string) => ({ fresh, isAnew: true });

test("pieces join, and what a new stream sends again is nothing new", () => {
  const transcript = makeTranscript();
  expect(transcript.write(0, "grün ")).toEqual(all("grün "));
  expect(transcript.write(6, "🙂 and")).toEqual(all("🙂 and"));
  transcript.attach();
  expect(transcript.write(0, "grün")).toEqual(all(""));
  expect(transcript.write(5, " 🙂 and more")).toEqual(all(" more"));
  expect(transcript.text()).toBe("grün 🙂 and more");
  expect(transcript.end("grün 🙂 and more.")).toEqual(all("."));
  expect(transcript.text()).toBe("");
  expect(transcript.write(0, "next")).toEqual(all("next"));
});

test("an answer begun anew takes back what was shown, on the same stream or another", () => {
  const transcript = makeTranscript();
  transcript.write(0, "one two");
  // The same beginning does not make it the same answer.
  expect(transcript.write(0, "one")).toEqual(anew("one"));
  expect(transcript.write(3, " three")).toEqual(all(" three"));
  transcript.attach();
  expect(transcript.write(0, "four")).toEqual(anew("four"));
  expect(transcript.text()).toBe("four");
});

test("the whole has the last word", () => {
  const transcript = makeTranscript();
  expect(transcript.end("never seen in pieces")).toEqual(all("never seen in pieces"));
  transcript.write(0, "one two");
  transcript.attach();
  expect(transcript.end("one")).toEqual(anew("one"));
  transcript.write(0, "one two");
  expect(transcript.end("one, two")).toEqual(anew("one, two"));
});

test("a long answer costs no copy of all of it with each piece", () => {
  const transcript = makeTranscript();
  const piece = "0123456789abcdef";
  for (let n = 0; n < 100_000; n++) transcript.write(n * piece.length, piece);
  expect(transcript.text()).toBe(piece.repeat(100_000));
});
