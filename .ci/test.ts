/**
 * Runs `bun test` with the arguments given and ends with its totals on a line of their own. They come from the
 * report file, which is missing where a test ends the process: exit code 0 alone does not say that tests ran.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const folder = await mkdtemp(join(tmpdir(), "engram-test-"));
const report = join(folder, "report.xml");
const given = Bun.argv.slice(2).filter((argument) => argument !== "--");
/** For a test that hangs; a slow machine is no failure. */
const timeoutMs = 120_000;
const options = ["--reporter=junit", `--reporter-outfile=${report}`, `--timeout=${timeoutMs}`];
const child = Bun.spawn(["bun", "test", ...options, ...given], {
  stdio: ["ignore", "inherit", "inherit"],
});
const exitCode = await child.exited;
const head = await Bun.file(report)
  .text()
  .catch(() => "");
await rm(folder, { recursive: true });

const total = (name: string): number =>
  Number(new RegExp(`<testsuites [^>]*\\b${name}="(\\d+)"`).exec(head)?.[1] ?? Number.NaN);
const skipped = total("skipped");
const reported = total("failures");
// A file that cannot be loaded fails the run without a failure in the report.
const failed = exitCode !== 0 && reported === 0 ? 1 : reported;
const passed = total("tests") - skipped - reported;

if (Number.isNaN(passed)) {
  console.error(`bun test left no report (exit code ${exitCode}): its tests cannot be counted`);
  process.exitCode = 1;
} else {
  console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`);
  process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
}
