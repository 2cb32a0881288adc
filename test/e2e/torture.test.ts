import { expect, setDefaultTimeout, test } from "bun:test";
import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { makeFolder, runBinary } from "../support/engine-process.ts";
import { seeded } from "../support/seed.ts";

setDefaultTimeout(90_000);

/** What the report counts under a name. */
const counted = (report: string, name: string): number =>
  Number(new RegExp(`^ {2}${name} +([\\d,]+)`, "m").exec(report)?.[1]?.replaceAll(",", ""));

test("clients of an engine that is killed again and again lose and double nothing", async () => {
  const folder = await makeFolder();
  const { seed } = seeded(1);
  const tools = join(import.meta.dir, "..", "..", "tools");
  const args = ["torture", "--kills", "15", "--agents", "8", "--seed", String(seed)];
  const { exitCode, stdout, stderr } = await runBinary(folder, [...args, "--tools-path", tools]);
  await rm(folder, { recursive: true });
  expect(stderr).toBe("");
  expect(stdout).toContain(`seed ${seed}`);
  expect(stdout).toContain("All of it held");
  expect(exitCode).toBe(0);
  expect(counted(stdout, "violations")).toBe(0);
  expect(counted(stdout, "kills")).toBeGreaterThanOrEqual(15);
  for (const name of [
    "agents",
    "turns",
    "messages acknowledged",
    "events seen",
    "deltas seen",
    "tool results",
    "reconnects",
  ])
    expect(counted(stdout, name)).toBeGreaterThan(0);
  const left = /data in (\S+)/.exec(stdout)?.[1] ?? "";
  expect(left).not.toBe("");
  expect(existsSync(left)).toBe(false);
});

test("bad usage is told in one line", async () => {
  const folder = await makeFolder();
  const { exitCode, stdout, stderr } = await runBinary(folder, ["torture", "--agents", "none"]);
  await rm(folder, { recursive: true });
  expect(exitCode).toBe(2);
  expect(stdout).toBe("");
  expect(stderr).toStartWith('engram: --agents is "none"');
  expect(stderr.trim()).not.toContain("\n");
});
