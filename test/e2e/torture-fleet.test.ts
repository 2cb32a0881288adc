import { expect, setDefaultTimeout, test } from "bun:test";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { makeFolder, runBinary } from "../support/engine-process.ts";
import { seeded } from "../support/seed.ts";

setDefaultTimeout(120_000);

/** What the report counts under a name. */
const counted = (report: string, name: string): number =>
  Number(new RegExp(`^ {2}${name} +([\\d,]+)`, "m").exec(report)?.[1]?.replaceAll(",", ""));

const rows = ["kills", "agents", "turns", "deltas seen", "reconnects"];
/** Which of them goes wrong is up to the seed. */
const clusterRows = [
  "moves of slots",
  "masters handed over",
  "kills of masters",
  "freezes of masters",
  "kills of replicas",
];

test.each([
  { name: "a Redis", store: "redis", faults: 10, some: ["freezes of engines"] },
  { name: "a Redis Cluster", store: "cluster", faults: 7, some: clusterRows },
])(
  "clients of engines that share $name lose and double nothing, whichever of them fails",
  async ({ store, faults, some }) => {
    const folder = await makeFolder();
    const { seed } = seeded(1);
    const tools = join(import.meta.dir, "..", "..", "tools");
    const args = ["torture", "--engines", "3", "--store", store, "--agents", "8"];
    const more = ["--kills", String(faults), "--seed", String(seed), "--tools-path", tools];
    const { exitCode, stdout, stderr } = await runBinary(folder, [...args, ...more], {
      PATH: Bun.env["PATH"] ?? "",
    });
    await rm(folder, { recursive: true });
    expect(stderr).toBe("");
    expect(stdout).toContain("All of it held");
    expect(stdout).toMatch(/^ {2}engram verify .*all is as it was written$/m);
    expect(exitCode).toBe(0);
    expect(counted(stdout, "violations")).toBe(0);
    expect(counted(stdout, "faults")).toBe(faults);
    expect(counted(stdout, "engines that tell all alike")).toBe(3);
    for (const row of rows) expect(counted(stdout, row)).toBeGreaterThan(0);
    const done = some.map((row) => counted(stdout, row));
    expect(done.reduce((sum, count) => sum + count)).toBeGreaterThan(0);
  },
);

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
