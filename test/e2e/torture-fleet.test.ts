import { expect, setDefaultTimeout, test } from "bun:test";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { makeFolder, runBinary } from "../support/engine-process.ts";
import { seeded } from "../support/seed.ts";

setDefaultTimeout(120_000);

/** What the report counts under a name. */
const counted = (report: string, name: string): number =>
  Number(new RegExp(`^ {2}${name} +([\\d,]+)`, "m").exec(report)?.[1]?.replaceAll(",", ""));

test("clients of engines that share a Redis lose and double nothing, whichever of them fails", async () => {
  const folder = await makeFolder();
  const { seed } = seeded(1);
  const tools = join(import.meta.dir, "..", "..", "tools");
  const args = ["torture", "--engines", "3", "--agents", "8", "--kills", "10"];
  const more = ["--seed", String(seed), "--tools-path", tools];
  const { exitCode, stdout, stderr } = await runBinary(folder, [...args, ...more], {
    PATH: Bun.env["PATH"] ?? "",
  });
  await rm(folder, { recursive: true });
  expect(stderr).toBe("");
  expect(stdout).toContain("All of it held");
  expect(exitCode).toBe(0);
  expect(counted(stdout, "violations")).toBe(0);
  expect(counted(stdout, "faults")).toBe(10);
  expect(counted(stdout, "engines that tell all alike")).toBe(3);
  for (const name of [
    "kills",
    "freezes of engines",
    "agents",
    "turns",
    "deltas seen",
    "reconnects",
  ])
    expect(counted(stdout, name)).toBeGreaterThan(0);
});

test("without a redis-server it is told what to install", async () => {
  const folder = await makeFolder();
  const { exitCode, stdout, stderr } = await runBinary(folder, ["torture", "--engines", "2"], {
    PATH: folder,
  });
  await rm(folder, { recursive: true });
  expect(exitCode).toBe(1);
  expect(stdout).toBe("");
  expect(stderr).toContain("apt-get install redis-server");
  expect(stderr.trim()).not.toContain("\n");
});
