import { access, constants, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { systemClock } from "../clock.ts";
import { EngramError } from "../errors.ts";
import { sandboxLimits } from "../limits.ts";
import { openSandbox, type WasmSandbox } from "../sandbox/wasm-sandbox.ts";
import { makeLog } from "./log.ts";
import { print } from "./print.ts";
import { childCommand } from "./self.ts";
import { readToolSettings, type ToolSettings } from "./settings.ts";
import { inspectionText, listText, outcomeText, plainText } from "./tool-text.ts";

const usage = `usage: engram tool list | run NAME ['{"JSON": "input"}'] | inspect FILE.wasm`;
const extension = ".wasm";

/**
 * `engram tool list|run|inspect`: works on the tools folder, or on one file, beside a running engine or without one.
 * Resolves with the exit code: 1 for a failed call or a refused file. Fails with invalid_argument on bad usage.
 */
export async function tool(args: readonly string[]): Promise<number> {
  const { words, settings } = readToolSettings(args, process.env);
  const [command, first = "", second = ""] = words;
  const count = words.length - 1;
  if (command === "list" && count === 0)
    return withSandbox(settings, (sandbox) => list(sandbox, settings));
  if (command === "run" && (count === 1 || count === 2))
    return withSandbox(settings, (sandbox) => run(sandbox, first, second));
  if (command === "inspect" && count === 1)
    return withSandbox({ ...settings, toolsPath: dirname(resolve(first)) }, (sandbox) =>
      inspect(sandbox, first),
    );
  throw new EngramError("invalid_argument", usage);
}

async function list(sandbox: WasmSandbox, { toolsPath }: ToolSettings): Promise<number> {
  const files = await sandbox.list();
  if (files.length === 0) complain(`there are no tools in ${toolsPath}`);
  await print(listText(files));
  return 0;
}

async function run(sandbox: WasmSandbox, name: string, inputJson: string): Promise<number> {
  const limits = { fuel: 0, memoryBytes: 0, timeoutMs: 0, outputBytesMax: 0 };
  const call = { name, inputJson, parameters: null, limits };
  const outcome = await sandbox.run(call, new AbortController().signal);
  // Into a pipe or a file goes what the tool wrote, to the byte; a terminal would obey what is written to it.
  await print(process.stdout.isTTY ? plainText(`${outcome.output.trimEnd()}\n`) : outcome.output);
  process.stderr.write(outcomeText(outcome));
  return outcome.error === null ? 0 : 1;
}

async function inspect(sandbox: WasmSandbox, path: string): Promise<number> {
  const fileName = basename(path);
  const inspection = fileName.endsWith(extension)
    ? await sandbox.inspect(fileName.slice(0, -extension.length))
    : null;
  if (inspection === null) {
    const rule = `NAME of at most ${sandboxLimits.toolNameCharsMax} letters, digits, _ and -`;
    complain(
      (await Bun.file(path).exists())
        ? `${path} cannot be used: a tool's file is named NAME.wasm, ${rule}; rename it`
        : `there is no file ${path}`,
    );
    return 1;
  }
  await print(inspectionText(inspection));
  return inspection.file.error === null ? 0 : 1;
}

const complain = (problem: string): void => void process.stderr.write(`engram: ${problem}\n`);

/** Does the work with a sandbox of its own; SIGTERM and SIGINT end it, and leave nothing behind. */
async function withSandbox(
  settings: ToolSettings,
  work: (sandbox: WasmSandbox) => Promise<number>,
): Promise<number> {
  const stop = stopped();
  const cache = await openCache(settings.dbPath);
  try {
    const sandbox = await openSandbox({
      toolsPath: settings.toolsPath,
      cacheDir: cache.path,
      childCommand,
      clock: systemClock,
      defaults: settings.toolLimits,
      log: makeLog("warn", "text"),
    });
    try {
      return await Promise.race([work(sandbox), stop]);
    } finally {
      await sandbox.close();
    }
  } finally {
    await cache.close();
  }
}

/** Rejects with the first signal. */
function stopped(): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>();
  for (const name of ["SIGTERM", "SIGINT"] as const)
    process.once(name, () => reject(new EngramError("canceled", `stopped by ${name}`)));
  // It may come before anybody waits for it.
  promise.catch(() => undefined);
  return promise;
}

/**
 * Where metered modules are kept meanwhile: the engine's cache where there is one that may be written, else a folder of
 * this command alone. One that stayed in the system's temporary folder could be filled by others.
 */
async function openCache(
  dbPath: string,
): Promise<{ readonly path: string; close(): Promise<void> }> {
  const shared = resolve(dbPath, "tools-cache");
  try {
    await access(shared, constants.R_OK | constants.W_OK | constants.X_OK);
    return { path: shared, close: async () => undefined };
  } catch {
    const path = await mkdtemp(join(tmpdir(), "engram-tool-"));
    return { path, close: () => rm(path, { recursive: true, force: true }) };
  }
}
