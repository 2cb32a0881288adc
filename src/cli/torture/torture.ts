import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { EngramError, messageOf } from "../../errors.ts";
import { tortureLimits } from "../../limits.ts";
import { reportText, violationsText } from "./report.ts";
import { runTorture, type TortureOptions } from "./run.ts";

const usage =
  "usage: engram torture [--minutes N] [--agents M] [--kills K] [--seed S] [--tools-path DIR]";
const print = (text: string): void => void process.stdout.write(text);

/** The options of a command line. Fails with invalid_argument. */
export function tortureOptions(args: readonly string[]): TortureOptions {
  const text = { type: "string" } as const;
  const options = { minutes: text, agents: text, kills: text, seed: text, "tools-path": text };
  let values;
  try {
    ({ values } = parseArgs({ args: [...args], options, strict: true }));
  } catch (cause) {
    throw new EngramError("invalid_argument", `${messageOf(cause)}; ${usage}`, { cause });
  }
  const { minutesMax, agentsMax, killsMax } = tortureLimits;
  const number = (
    name: "minutes" | "agents" | "kills" | "seed",
    otherwise: number,
    max: number,
  ): number => {
    const given = values[name];
    if (given === undefined) return otherwise;
    const parsed = (name === "minutes" ? /^\d{1,6}(\.\d{1,6})?$/ : /^\d{1,10}$/).test(given)
      ? Number(given)
      : Number.NaN;
    if ((parsed > 0 || name === "seed") && parsed <= max) return parsed;
    throw new EngramError(
      "invalid_argument",
      `--${name} is ${JSON.stringify(given)}: it must be a number up to ${max}; ${usage}`,
    );
  };
  const toolsPath = resolve(values["tools-path"] ?? process.env["TOOLS_PATH"] ?? "tools");
  if (values["tools-path"] !== undefined && !existsSync(toolsPath))
    throw new EngramError(
      "invalid_argument",
      `--tools-path is ${JSON.stringify(toolsPath)}, which is not there`,
    );
  return {
    minutes: number("minutes", values.kills === undefined ? 1 : minutesMax, minutesMax),
    agents: number("agents", 20, agentsMax),
    kills: number("kills", killsMax, killsMax),
    seed: number("seed", crypto.getRandomValues(new Uint32Array(1))[0] ?? 0, 2 ** 32 - 1),
    toolsPath,
  };
}

/**
 * `engram torture`: kills and restarts an engine under load, and holds what its clients saw to what was promised.
 * Resolves with 0 where all of it held. Fails with invalid_argument on bad usage.
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
