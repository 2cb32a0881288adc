import { systemClock } from "../../src/clock.ts";
import { openSandbox } from "../../src/sandbox/wasm-sandbox.ts";
import { childCommand, defaults, endlessFuel, noLimits } from "./harness.ts";

/**
 * Run by itself, this file stands for an engine that is killed while a tool computes: its arguments are the tools
 * folder, the cache and the tool.
 */
export const engineEntry = import.meta.path;

const serve = async (): Promise<void> => {
  const [, , toolsPath = "", cacheDir = "", name = ""] = process.argv;
  const sandbox = await openSandbox({
    toolsPath,
    cacheDir,
    childCommand,
    clock: systemClock,
    defaults,
    log: () => undefined,
  });
  const limits = { ...noLimits, fuel: endlessFuel, timeoutMs: 60_000 };
  const call = { name, inputJson: "{}", parameters: null, limits };
  await sandbox.run(call, new AbortController().signal);
};

if (import.meta.main) await serve();
