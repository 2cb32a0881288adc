import { afterAll, beforeAll, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { cp, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Harness, openHarness } from "./harness.ts";

const tools = join(import.meta.dir, "../../tools");
const prebuilt = join(tools, "src/prebuilt");
/** Those of Debian 12; elsewhere the modules are used as they are. Where all is to be tested they must be there. */
const hasCompilers =
  ["/usr/include/wasm32-wasi", "/usr/lib/rustlib/wasm32-wasi"].every((path) => existsSync(path)) ||
  Bun.env["CI"] !== undefined;

let harness: Harness;
beforeAll(async () => {
  harness = await openHarness();
  for (const name of ["dates", "text_stats"]) {
    await cp(join(prebuilt, `${name}.wasm`), join(harness.toolsPath, `${name}.wasm`));
    await cp(join(tools, `src/${name}.json`), join(harness.toolsPath, `${name}.json`));
  }
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

test.skipIf(!hasCompilers)(
  "the prebuilt tools are what their sources give, to the byte (needs the compilers of Debian 12)",
  async () => {
    const folder = await mkdtemp(join(tmpdir(), "engram-c-"));
    try {
      await Bun.$`${process.execPath} ${join(tools, "prebuilt.ts")} ${folder}`.quiet();
      const names = (await readdir(folder)).toSorted();
      expect(names).toEqual((await readdir(prebuilt)).toSorted());
      expect(names).toEqual(expect.arrayContaining(["dates.wasm", "text_stats.wasm"]));
      for (const name of names)
        expect(await readFile(join(folder, name))).toEqual(await readFile(join(prebuilt, name)));
    } finally {
      await rm(folder, { recursive: true });
    }
  },
  60_000,
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

const dates = async (input: object) => {
  const { output, error } = await harness.run("dates", JSON.stringify(input));
  return error === null ? JSON.parse(output) : error.message;
};

const dayMs = 86_400_000;
const isoDate = (ms: number): string => new Date(ms).toISOString().slice(0, 10);

test("dates tells weekdays, days between and days ahead as the Gregorian calendar has them", async () => {
  const years = [1, 4, 100, 400, 1582, 1900, 1970, 1999, 2000, 2024, 2026, 2100, 9998];
  const starts = years.flatMap((year) =>
    [`-01-01`, `-02-28`, `-03-01`, `-12-31`].map((rest) => String(year).padStart(4, "0") + rest),
  );
  const calls = starts.map(async (date) => {
    const startMs = Date.parse(date);
    for (const days of [-1, 0, 1, 59, 365]) {
      const endMs = startMs + days * dayMs;
      if (endMs < Date.parse("0001-01-01")) continue;
      const end = new Date(endMs);
      const told = await dates({ date, add_days: days, until: date });
      expect(told).toMatchObject({
        date: isoDate(endMs),
        weekday: end.toLocaleDateString("en", { weekday: "long", timeZone: "UTC" }),
        days_until: 0 - days,
        day_of_year: (endMs - Date.parse(`${isoDate(endMs).slice(0, 4)}-01-01`)) / dayMs + 1,
      });
    }
  });
  await Promise.all(calls);
});

test("dates moves by months to days that exist, and counts weeks as ISO 8601 does", async () => {
  const moves = [
    [{ date: "2026-01-31", add_months: 1 }, "2026-02-28"],
    [{ date: "2024-01-31", add_months: 1, add_days: 1 }, "2024-03-01"],
    [{ date: "2024-02-29", add_years: -1 }, "2023-02-28"],
    [{ date: "2026-01-15", add_months: -13, add_weeks: 2 }, "2024-12-29"],
  ] as const;
  for (const [input, date] of moves) expect((await dates(input)).date).toBe(date);
  const weeks = { "2024-12-30": "2025-W01", "2021-01-03": "2020-W53", "2026-06-15": "2026-W25" };
  for (const [date, week] of Object.entries(weeks))
    expect((await dates({ date })).iso_week).toBe(week);
  // From a Saturday: two working weeks and a Monday; and the same way back.
  const there = await dates({ date: "2026-01-31", until: "2026-02-17" });
  expect(there.working_days_until).toBe(11);
  const back = await dates({ date: "2026-02-17", until: "2026-01-31" });
  expect(back.working_days_until).toBe(-11);
});

test("dates says what is wrong", async () => {
  const wrong = [
    [{ date: "2023-02-29" }, "there is no 2023-02-29"],
    [{ date: "31.1.2026" }, "such as 2026-01-31"],
    [{ date: "2026-1-31" }, "such as 2026-01-31"],
    [{ date: "2026-13-01" }, "there is no"],
    [{ date: "9999-12-31", add_days: 1 }, "10000"],
    [{ date: "0001-01-01", add_months: -1 }, "year 0"],
    [{ date: "2026-01-31", add_days: 1e15 }, "whole number"],
    [{}, "date"],
  ] as const;
  for (const [input, problem] of wrong) expect(await dates(input)).toContain(problem);
});
