/** Stands for an engine that is killed while a tool computes: argv gives the tools folder, the cache and the tool. */
import { systemClock } from "../../src/clock.ts";
import { openSandbox } from "../../src/sandbox/wasm-sandbox.ts";
import { childCommand, defaults, endlessFuel, noLimits } from "./harness.ts";

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
await sandbox.run(
  { name, inputJson: "{}", parameters: null, limits },
  new AbortController().signal,
);
