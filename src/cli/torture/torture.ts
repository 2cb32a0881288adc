import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { tortureOptions } from "./options.ts";
import { reportText, violationsText } from "./report.ts";
import { runTorture } from "./run.ts";

const print = (text: string): void => void process.stdout.write(text);

/**
 * `engram torture`: kills and restarts one or several engines under load, and holds what its clients saw to what was promised.
 * Resolves with 0 where all of it held. Fails with invalid_argument on bad usage, and with failed_precondition where Redis is asked for and not installed.
 */
export async function torture(args: readonly string[]): Promise<number> {
  const options = tortureOptions(args);
  const folder = mkdtempSync(join(tmpdir(), "engram-torture-"));
  let keepsFolder = false;
  process.once("exit", () => {
    if (!keepsFolder) rmSync(folder, { recursive: true, force: true });
  });
  const stopped = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const)
    process.on(signal, () => {
      if (stopped.signal.aborted) process.exit(1);
      stopped.abort();
    });
  print(`seed ${options.seed}, ${options.agents} agents, data in ${folder}\n`);
  const outcome = await runTorture(options, folder, stopped.signal);
  keepsFolder = outcome.found.length > 0;
  print(`\n${reportText(outcome)}`);
  if (!keepsFolder) {
    print("\nAll of it held: nothing was lost, nothing came twice, nothing was taken back.\n");
    return 0;
  }
  const text = violationsText(outcome.found);
  await Bun.write(join(folder, "violations.txt"), `${reportText(outcome)}${text}`);
  print(`${text}\nThe data and the violations are kept in ${folder}\n`);
  return 1;
}
