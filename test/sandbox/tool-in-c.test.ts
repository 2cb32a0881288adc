import { afterAll, beforeAll, expect, test } from "bun:test";
import { cp, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Harness, openHarness } from "./harness.ts";

const tools = join(import.meta.dir, "../../tools");
const prebuilt = join(tools, "src/prebuilt");
/** Debian 12 has it; elsewhere the module is used as it is. Where all is to be tested it must be there. */
const hasCompiler = Bun.which("clang-14") !== null || Bun.env["CI"] !== undefined;

let harness: Harness;
beforeAll(async () => {
  harness = await openHarness();
  await cp(join(prebuilt, "text_stats.wasm"), join(harness.toolsPath, "text_stats.wasm"));
  await cp(join(tools, "src/text_stats.json"), join(harness.toolsPath, "text_stats.json"));
});
afterAll(() => harness.close());

const counts = async (input: { text: string; find?: string }, json = JSON.stringify(input)) => {
  const { output, error } = await harness.run("text_stats", json);
  expect(error).toBeNull();
  return JSON.parse(output);
};

/** Each character as its escapes, so that nothing of the text comes as it is. */
const escaped = (text: string): string =>
  `"${text.replaceAll(/[^]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)}"`;

test.skipIf(!hasCompiler)(
  "the C tools are what their sources give, to the byte (needs clang-14 of Debian 12)",
  async () => {
    const folder = await mkdtemp(join(tmpdir(), "engram-c-"));
    try {
      await Bun.$`${process.execPath} ${join(tools, "prebuilt.ts")} ${folder}`.quiet();
      const names = (await readdir(folder)).toSorted();
      expect(names).toEqual((await readdir(prebuilt)).toSorted());
      expect(names).toContain("text_stats.wasm");
      for (const name of names)
        expect(await readFile(join(folder, name))).toEqual(await readFile(join(prebuilt, name)));
    } finally {
      await rm(folder, { recursive: true });
    }
  },
);

test("text_stats counts as Unicode has it, however the text is escaped", async () => {
  const texts = [
    "strawberry",
    'Say "hi" to \\ and / \b\f\r\t!\n\nThe naïve café: 3.14 € is 😀🎉.  «Oui?» it said…\n',
    "日本語。 二つ目！\n \n三",
    "\u00a0\u2003 \n",
    "",
  ];
  for (const text of texts) {
    const words = text.split(/\s+/u).filter((word) => word !== "");
    const expected = {
      characters: Array.from(text).length,
      characters_without_spaces: Array.from(text.replaceAll(/\s/gu, "")).length,
      words: words.length,
      lines: text.split("\n").length - (text === "" || text.endsWith("\n") ? 1 : 0),
      paragraphs: text.split(/\n\s*\n/u).filter((it) => it.trim() !== "").length,
      found: text.split("é").length - 1,
    };
    expect(await counts({ text, find: "é" })).toMatchObject(expected);
    const json = `{"find": ${escaped("é")}, "text": ${escaped(text)}}`;
    expect(await counts({ text }, json)).toMatchObject(expected);
  }
});

test("text_stats tells sentences and finds texts without overlaps", async () => {
  const text = 'He said "stop." Then 3.14 came! Why?\nNo end\n\nA new paragraph... is (one.) Last';
  expect((await counts({ text })).sentences).toBe(7);
  expect((await counts({ text: "strawberry", find: "r" })).found).toBe(3);
  expect((await counts({ text: "aaaaa", find: "aa" })).found).toBe(2);
  expect(await counts({ text: "half \ud800 a pair" })).toMatchObject({ characters: 13 });
});

test("text_stats counts a large text, and says what is wrong with an input", async () => {
  const text = "word ".repeat(100_000);
  expect(await counts({ text, find: "d w" })).toMatchObject({ words: 100_000, found: 99_999 });
  const wrong = { "{}": "text", '{"text":1}': "string", '{"text":"a","find":""}': "find" };
  for (const [json, word] of Object.entries(wrong)) {
    const { error } = await harness.run("text_stats", json);
    expect(error?.code).toBe("TOOL_INVALID_INPUT");
    expect(error?.message).toContain(word);
  }
});
