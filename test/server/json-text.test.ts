import { fromJsonString } from "@bufbuild/protobuf";
import { StructSchema } from "@bufbuild/protobuf/wkt";
import { expect, test } from "bun:test";
import fc from "fast-check";
import { seeded } from "../support/seed.ts";

/*
 * .ci/patches has a change to protobuf's reader of JSON: its search for keys that come twice looked at each character of
 * each text by itself, which took 150 ms of the event loop for a message of 4 MiB that is not all Latin. And "1second" is
 * no duration of a second any more.
 */

test("protobuf is installed as it is patched here", async () => {
  const { patchedDependencies } = await Bun.file("package.json").json();
  expect(Object.keys(patchedDependencies)).toEqual(["@bufbuild/protobuf@2.17.0"]);
  const patch = await Bun.file(Object.values<string>(patchedDependencies)[0] ?? "").text();
  const file = await Bun.file("node_modules/@bufbuild/protobuf/dist/esm/from-json.js").text();
  const added = patch.split("\n").filter((line) => line.startsWith("+ "));
  expect(added.length).toBeGreaterThan(10);
  expect(added.filter((line) => !file.includes(line.slice(1)))).toEqual([]);
});

/** A key or a text in JSON, as a client may write it: with quotes, backslashes, and each character escaped or not. */
const letters = fc.constantFrom(
  "a",
  "b",
  '"',
  "\\",
  "\u00e9",
  "\u017c",
  "\ud83d\ude00",
  "{",
  ",",
  ":",
);
const text = fc.array(fc.tuple(letters, fc.boolean()), { maxLength: 4 }).map((all) => ({
  means: all.map(([letter]) => letter).join(""),
  written: `"${all.map(([letter, escaped]) => writtenAs(letter, escaped)).join("")}"`,
}));

const writtenAs = (letter: string, escaped: boolean): string =>
  escaped
    ? Array.from(
        { length: letter.length },
        (_, at) => `\\u${letter.charCodeAt(at).toString(16).padStart(4, "0")}`,
      ).join("")
    : JSON.stringify(letter).slice(1, -1);

const entries = fc.array(fc.tuple(text, text), { maxLength: 5 });
const objectOf = (all: readonly (readonly [{ written: string }, { written: string }])[]): string =>
  `{${all.map(([key, value]) => `${key.written} : ${value.written}`).join(" , ")}}`;

const isTaken = (json: string): boolean => {
  try {
    fromJsonString(StructSchema, json);
    return true;
  } catch (error) {
    expect(String(error)).toContain("duplicate object key");
    return false;
  }
};

test("a key that comes twice is refused, however it is written, and nothing else is", () => {
  fc.assert(
    fc.property(entries, entries, (outer, inner) => {
      const isTwice = (all: typeof outer): boolean =>
        new Set(all.map(([{ means }]) => means)).size < all.length;
      const nested = `[1, ${objectOf(inner)}, "x"]`;
      const json = `{"outer": ${objectOf(outer)}, "inner": ${nested}}`;
      expect(isTaken(json)).toBe(!isTwice(outer) && !isTwice(inner));
    }),
    seeded(500),
  );
});
