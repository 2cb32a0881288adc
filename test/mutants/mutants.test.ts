import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { faults } from "./faults.ts";

test("each text that a fault replaces stands exactly once in its file", async () => {
  for (const { name, file, text, by } of faults) {
    const parts = (await Bun.file(file).text()).split(text);
    expect(parts.length - 1, name).toBe(1);
    expect(by, name).not.toBe(text);
  }
});

test("each fault has a name of its own, and tests that exist", () => {
  expect(new Set(faults.map(({ name }) => name)).size).toBe(faults.length);
  for (const { tests } of faults) {
    expect(tests.length).toBeGreaterThan(0);
    expect(tests.filter((path) => !existsSync(path))).toEqual([]);
  }
});
