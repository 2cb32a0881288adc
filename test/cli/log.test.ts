import { describe, expect, spyOn, test } from "bun:test";
import { makeLog } from "../../src/cli/log.ts";
import type { Log } from "../../src/log.ts";

const written = (format: "text" | "json", say: (log: Log) => void): string => {
  let all = "";
  const spy = spyOn(process.stderr, "write").mockImplementation((chunk) => {
    all += String(chunk);
    return true;
  });
  say(makeLog("info", format));
  spy.mockRestore();
  return all;
};

// What clients and servers name themselves: a model, for one.
const hostile = "a\u001b]0;b\u0007\n12:00:00.000 error\u009b31m \u202e";

describe("a log's line", () => {
  test("for a reader gives the terminal no orders, and is one", () => {
    const line = written("text", (log) => {
      log("warn", `the model "${hostile}" is not there`, { reason: hostile, count: 2n });
    });
    expect(line).toEndWith(' count="2"\n');
    expect(line.trimEnd()).not.toMatch(/[\p{Cc}\u202e]/u);
    expect(line).toMatch(/^\d\d:\d\d:\d\d\.\d{3} warn  the model "a/);
  });

  test("in JSON holds what was said", () => {
    const line = written("json", (log) => log("warn", hostile, { reason: hostile }));
    expect(line.trimEnd()).not.toContain("\n");
    expect(JSON.parse(line)).toMatchObject({ level: "warn", message: hostile, reason: hostile });
  });

  test("is not written below the level", () => {
    expect(written("text", (log) => log("debug", "a"))).toBe("");
  });
});
