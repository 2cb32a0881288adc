/**
 * Seeds one fault after the other into a copy of the sources and demands that the tests named with it find it: what they
 * promise is worth no more than what they can find. Arguments: words of the names of the faults to be tried; none: all.
 */
import { cp, mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Fault } from "./fault.ts";
import { faults } from "./faults.ts";

const root = resolve(import.meta.dir, "../..");
/** Runs beside each other: half of what a small machine has. */
const lanesCount = 2;
/** For all tests of a fault; what loops for ever is a fault that was found. */
const runMsMax = 180_000;
const testMsMax = 30_000;

const passing = "no test fails";

type Finding = { readonly found: boolean; readonly by: string };

const copyTree = async (): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), "engram-mutants-"));
  for (const path of ["src", "test", "package.json", "tsconfig.json", "bunfig.toml"])
    await cp(join(root, path), join(folder, path), { recursive: true });
  await symlink(join(root, "node_modules"), join(folder, "node_modules"));
  return folder;
};

/** The first test that fails. */
async function run(folder: string, tests: readonly string[]): Promise<Finding> {
  const child = Bun.spawn(
    [process.execPath, "test", "--bail", `--timeout=${testMsMax}`, ...tests.map((it) => `./${it}`)],
    { cwd: folder, stdin: "ignore", stdout: "pipe", stderr: "pipe", timeout: runMsMax },
  );
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  const exitCode = await child.exited;
  const [, failed] = /^\(fail\) (.*?)(?: \[[\d.]+ms\])?$/m.exec(stdout + stderr) ?? [];
  if (failed !== undefined) return { found: true, by: failed };
  if (child.signalCode !== null) return { found: true, by: "a test that does not end" };
  return { found: false, by: exitCode === 0 ? passing : `no test runs: ${stderr.slice(-500)}` };
}

async function seed(folder: string, { file, text, by, tests }: Fault): Promise<Finding> {
  const path = join(folder, file);
  const whole = await Bun.file(path).text();
  const [before = "", after, ...more] = whole.split(text);
  if (after === undefined || more.length > 0)
    return { found: false, by: `the text does not stand exactly once in ${file}` };
  await Bun.write(path, before + by + after);
  try {
    return await run(folder, tests);
  } finally {
    await Bun.write(path, whole);
  }
}

/** Without a fault the same tests pass. */
async function control(folder: string, tests: readonly string[]): Promise<Finding> {
  const { found, by } = await run(folder, tests);
  if (found) return { found: false, by: `fails without a fault: ${by}` };
  return { found: by === passing, by };
}

const words = Bun.argv.slice(2).map((word) => word.toLowerCase());
const chosen = faults.filter(({ name }) =>
  words.every((word) => name.toLowerCase().includes(word)),
);
if (chosen.length === 0) throw new Error(`no fault is named ${words.join(" ")}`);
const allTests = [...new Set(chosen.flatMap(({ tests }) => tests))];
const tasks = [
  { name: "(none)", perform: (folder: string) => control(folder, allTests) },
  ...chosen.map((fault) => ({
    name: fault.name,
    perform: (folder: string) => seed(folder, fault),
  })),
];
const survivors: string[] = [];
const width = Math.max(...tasks.map(({ name }) => name.length));

const work = async (): Promise<void> => {
  const folder = await copyTree();
  try {
    for (let task = tasks.shift(); task !== undefined; task = tasks.shift()) {
      const { found, by } = await task.perform(folder);
      if (!found) survivors.push(task.name);
      console.log(`${found ? "found   " : "SURVIVED"} ${task.name.padEnd(width)} ${by}`);
    }
  } finally {
    await rm(folder, { recursive: true });
  }
};

await Promise.all(Array.from({ length: lanesCount }, work));
console.log(
  survivors.length === 0
    ? `${chosen.length} faults, all found`
    : `${survivors.length} of ${chosen.length} faults not found`,
);
process.exitCode = survivors.length === 0 ? 0 : 1;
