/**
 * Runs every check of the sources and says which failed; `--fix` mends what the formatter and the linter can.
 * The settings stand beside this file, in tsconfig.json, buf.yaml and package.json.
 */
import { Glob } from "bun";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

type Outcome = { readonly passed: boolean; readonly output: string };

/** AssemblyScript's compiler takes these files, no other program does. */
const assemblyScript = ["tools/src/**", "test/bench/workloads/**"];
const generated = "src/gen/**";

const format = ["oxfmt", "-c", ".ci/oxfmt.json", ".", "!test/logs/**", "!**/*.md"];
const lint = ["oxlint", "-c", ".ci/oxlint.json", "--format=unix", "--deny-warnings"];
for (const pattern of [generated, ...assemblyScript]) {
  format.push(`!${pattern}`);
  lint.push("--ignore-pattern", pattern);
}

const run = async (command: readonly string[]): Promise<Outcome> => {
  const child = Bun.spawn([...command], { stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  return { passed: (await child.exited) === 0, output: stdout + stderr };
};

const textsIn = async (folder: string): Promise<Map<string, string>> => {
  const paths = (await Array.fromAsync(new Glob("**/*").scan(folder))).toSorted();
  const texts = paths.map((path) => Bun.file(join(folder, path)).text());
  return new Map((await Promise.all(texts)).map((text, at) => [paths[at] ?? "", text]));
};

/** Generates once more, beside the tree, and compares. */
const generatedIsFresh = async (): Promise<Outcome> => {
  const folder = await mkdtemp(join(tmpdir(), "engram-gen-"));
  try {
    const generation = await run(["buf", "generate", "--output", folder]);
    if (!generation.passed) return generation;
    const [made, kept] = await Promise.all([textsIn(join(folder, "src/gen")), textsIn("src/gen")]);
    const stale = [...new Set([...made.keys(), ...kept.keys()])].filter(
      (path) => made.get(path) !== kept.get(path),
    );
    const output = stale.map((path) => `src/gen/${path} is not what proto/ gives: bun run gen\n`);
    return { passed: made.size > 0 && stale.length === 0, output: output.join("") };
  } finally {
    await rm(folder, { recursive: true });
  }
};

const checks: Readonly<Record<string, () => Promise<Outcome>>> = {
  types: () => run(["tsc", "--noEmit"]),
  lint: () => run(lint),
  format: () => run([...format, "--check"]),
  "unused code": () => run(["knip", "--no-progress"]),
  "buf lint": () => run(["buf", "lint"]),
  "generated code": generatedIsFresh,
  layers: () => run(["bun", "test", "test/tidy", "--only-failures"]),
};

if (Bun.argv.includes("--fix")) {
  await run(format);
  await run([...lint, "--fix"]);
}
const started = Object.entries(checks).map(async ([name, check]) => ({ name, ...(await check()) }));
let failures = 0;
for (const outcome of started) {
  const { name, passed, output } = await outcome;
  console.log(`${passed ? "ok    " : "FAILED"} ${name}`);
  if (!passed) {
    console.log(output.trimEnd());
    failures += 1;
  }
}
process.exitCode = failures > 0 ? 1 : 0;
