import { mkdir, readdir, rm, stat } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join, resolve } from "node:path";
import type { ToolErrorCode, ToolLimits, ToolOutcome } from "../agent/event.ts";
import type { JsonObject } from "../agent/json.ts";
import type { Clock } from "../clock.ts";
import { EngramError, messageOf } from "../errors.ts";
import { sandboxLimits, turnLimits } from "../limits.ts";
import type { Log } from "../log.ts";
import { runCheck } from "./check.ts";
import { readOption, writeOption } from "./confine.ts";
import { type Folder, type Preparation, type Tool, openFolder } from "./folder.ts";
import { numberOf, objectOf, optional, textOf } from "./frame.ts";
import { resolveLimits } from "./metadata.ts";
import { type ModuleInfo, cacheFileOf, infoFromJson } from "./module-cache.ts";
import { pageBytes } from "./meter/shape.ts";
import { type Pool, type PoolLoad, openPool } from "./pool.ts";
import { failures } from "./run-module.ts";
import type { ToolFile } from "../agent/toolbox.ts";
import type { Sandbox, ToolCall } from "./sandbox.ts";
import { type Job, type JobEnd, closedError } from "./worker.ts";

export type SandboxOptions = {
  /** Need not exist. */
  readonly toolsPath: string;
  /** Metered modules are kept here; made when it is needed. Several engines may share it. */
  readonly cacheDir: string;
  /** Starts this binary as a sandbox child, absolute paths only: its last word is `__sandbox`. */
  readonly childCommand: readonly string[];
  readonly clock: Clock;
  /** Limits of a call where neither its agent nor its tool has a wish. */
  readonly defaults: ToolLimits;
  readonly log: Log;
};

/** What is known of a tool's file. `info` null: it is unusable, `file.error` says why. */
export type ToolInspection = { readonly file: ToolFile; readonly info: ModuleInfo | null };

export type WasmSandbox = Sandbox & {
  /** One tool of the folder; null: there is none of that name. */
  inspect(name: string): Promise<ToolInspection | null>;
  /** The children that tools run in, and the calls that wait for one. */
  load(): PoolLoad;
  /** What the operator should know of the tools folder. */
  warnings(): Promise<readonly string[]>;
};

const forever = new AbortController().signal;

/** `work`, but not waited for any longer than `signal` lets. */
const unlessAborted = async <T>(work: Promise<T>, signal: AbortSignal): Promise<T> => {
  signal.throwIfAborted();
  const { promise, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
};

/** A message that was cut may end in half a character, which protobuf does not take. */
const errorOf = (code: ToolErrorCode, message: string): ToolOutcome["error"] => ({
  code,
  message: message.toWellFormed(),
});

const failure = (code: ToolErrorCode, message: string, durationMs = 0): ToolOutcome => ({
  output: "",
  error: errorOf(code, message),
  fuelUsed: 0,
  memoryBytes: 0,
  durationMs: Math.round(durationMs),
});

const preparationOf = (end: JobEnd): Preparation => {
  switch (end.kind) {
    case "tooSlow":
      return { problem: "it takes too long to check and compile", isLasting: true };
    case "tooLarge":
      return { problem: "it takes too much memory to check and compile", isLasting: true };
    case "crashed":
      return { problem: "the process that checked it died", isLasting: false };
    case "answered": {
      const { header } = end.frame;
      if (textOf(header, "kind") === "unreadable") {
        return { problem: textOf(header, "message"), isLasting: false };
      }
      const info = optional(header, "info", objectOf);
      return {
        sha256: textOf(header, "sha256"),
        sizeBytes: numberOf(header, "sizeBytes"),
        error: optional(header, "error", textOf),
        info: info === null ? null : infoFromJson(info),
      };
    }
  }
};

const prepareJob = (path: string, cacheDir: string): Job => ({
  header: { kind: "prepare", path, cacheDir },
  key: path,
  loadMs: sandboxLimits.prepareMsMax,
  runMs: 0,
  memoryBytesMax: sandboxLimits.prepareMemoryBytesMax,
});

/** A call whose tool was found usable and whose limits are settled. */
type ReadyCall = {
  readonly call: ToolCall;
  readonly file: ToolFile;
  readonly info: ModuleInfo;
  readonly limits: ToolLimits;
  readonly cacheDir: string;
};

/** Some models send nothing at all where a tool takes no parameters. */
const inputOf = ({ inputJson }: ToolCall): string => (inputJson.trim() === "" ? "{}" : inputJson);

const runHeader = ({ call, file, info, limits, cacheDir }: ReadyCall): JsonObject => ({
  kind: "run",
  name: file.name,
  inputJson: inputOf(call),
  parameters: call.parameters ?? file.parameters,
  cacheFile: cacheFileOf(cacheDir, file.sha256),
  pagesMin: info.pagesMin,
  ...limits,
});

const runJob = (ready: ReadyCall): Job => ({
  header: runHeader(ready),
  key: ready.file.sha256,
  loadMs: sandboxLimits.loadMsMax,
  runMs: ready.limits.timeoutMs,
  memoryBytesMax:
    sandboxLimits.childMemoryBytesMax + ready.limits.memoryBytes + 8 * ready.info.meteredBytes,
});

const errorCodes: Readonly<Record<string, ToolErrorCode>> = {
  TOOL_INVALID_INPUT: "TOOL_INVALID_INPUT",
  TOOL_INVALID_MODULE: "TOOL_INVALID_MODULE",
  TOOL_OUT_OF_FUEL: "TOOL_OUT_OF_FUEL",
  TOOL_OUT_OF_MEMORY: "TOOL_OUT_OF_MEMORY",
  TOOL_TIMEOUT: "TOOL_TIMEOUT",
  TOOL_TRAPPED: "TOOL_TRAPPED",
  TOOL_EXITED: "TOOL_EXITED",
  TOOL_OUTPUT_TOO_LARGE: "TOOL_OUTPUT_TOO_LARGE",
};

const fromUtf8 = new TextDecoder();

/** null: the cache has lost the module. */
const answeredOutcome = (end: JobEnd & { readonly kind: "answered" }): ToolOutcome | null => {
  const { header, body } = end.frame;
  if (textOf(header, "kind") === "notCached") return null;
  const code = optional(header, "code", textOf);
  const known = code === null ? null : errorCodes[code];
  if (known === undefined) throw new Error(`the sandbox child answered with the code ${code}`);
  return {
    output: fromUtf8.decode(body),
    error: known === null ? null : errorOf(known, textOf(header, "message")),
    fuelUsed: numberOf(header, "fuelUsed"),
    memoryBytes: numberOf(header, "memoryBytes"),
    durationMs: Math.round(end.durationMs),
  };
};

const outcomeOf = ({ call, limits }: ReadyCall, end: JobEnd): ToolOutcome | null => {
  const order = { name: call.name, inputJson: call.inputJson, ...limits };
  const { durationMs } = end;
  switch (end.kind) {
    case "answered":
      return answeredOutcome(end);
    case "tooSlow": {
      const { code, message } = failures.timeout(order);
      const whileLoading = "the tool's input could not be checked and its code be loaded in time";
      return failure(code, end.hasStarted ? message : whileLoading, durationMs);
    }
    case "tooLarge": {
      const { code, message } = failures.memory(order, "was stopped");
      return failure(code, message, durationMs);
    }
    case "crashed": {
      // Nobody here sent that signal: it is how the kernel frees memory.
      if (end.end.signal === "SIGKILL") {
        const { code, message } = failures.memory(order, "was stopped by the system");
        return failure(code, message, durationMs);
      }
      return failure("TOOL_TRAPPED", "the process that ran the tool died", durationMs);
    }
  }
};

/** Lets the cache not grow for ever: the files that were written first go first. */
const pruneCache = async (cacheDir: string): Promise<void> => {
  const files = await readdir(cacheDir);
  if (files.length <= sandboxLimits.cacheFilesMax) return;
  const aged = await Promise.all(
    files.map(async (file) => {
      const path = join(cacheDir, file);
      return { path, mtimeMs: (await stat(path)).mtimeMs };
    }),
  );
  const oldest = aged
    .toSorted((a, b) => a.mtimeMs - b.mtimeMs)
    .slice(0, -sandboxLimits.cacheFilesMax);
  await Promise.all(oldest.map(({ path }) => rm(path, { force: true })));
};

type Parts = { readonly options: SandboxOptions; readonly folder: Folder; readonly runners: Pool };

const attempt = async (
  { options, folder, runners }: Parts,
  call: ToolCall,
  signal: AbortSignal,
): Promise<ToolOutcome | null> => {
  if (call.inputJson.length > turnLimits.toolInputCharsMax) {
    const message = `the input is longer than ${turnLimits.toolInputCharsMax} characters; send less`;
    return failure("TOOL_INVALID_INPUT", message);
  }
  const tool = await unlessAborted(folder.find(call.name), signal);
  if (tool === null) {
    return failure("TOOL_NOT_FOUND", `there is no tool named "${call.name.slice(0, 100)}"`);
  }
  const { file, info } = tool;
  if (file.error !== null || info === null) {
    return failure("TOOL_INVALID_MODULE", file.error ?? "the tool cannot be used");
  }
  const wished = resolveLimits(call.limits, file.limits);
  const memoryBytes = Math.max(pageBytes, wished.memoryBytes - (wished.memoryBytes % pageBytes));
  const limits = { ...wished, memoryBytes };
  const ready: ReadyCall = { call, file, info, limits, cacheDir: options.cacheDir };
  return outcomeOf(ready, await runners.run(runJob(ready), signal));
};

/** A call whose metered module has vanished from the cache has it made anew, once. */
const run = async (parts: Parts, call: ToolCall, signal: AbortSignal): Promise<ToolOutcome> => {
  const first = await attempt(parts, call, signal);
  if (first !== null) return first;
  parts.folder.forget(call.name);
  const second = await attempt(parts, call, signal);
  const { cacheDir } = parts.options;
  return (
    second ?? failure("TOOL_INVALID_MODULE", `the cache in ${cacheDir} does not keep its files`)
  );
};

const inspectionOf = ({ file, info }: Tool): ToolInspection => ({ file, info });

/** What stands at a path; null: nothing. */
const kindAt = async (path: string): Promise<"folder" | "file" | null> => {
  try {
    return (await stat(path)).isDirectory() ? "folder" : "file";
  } catch {
    return null;
  }
};

/**
 * Opens the tools folder; starts no child before there is something to do. Fails as unavailable where the cache's
 * folder cannot be made, and with invalid_argument where the tools folder is none. Close it.
 */
export const openSandbox = async (given: SandboxOptions): Promise<WasmSandbox> => {
  // Children have another working folder.
  const options = { ...given, cacheDir: resolve(given.cacheDir) };
  const { childCommand: command, clock, log, cacheDir, toolsPath } = options;
  if ((await kindAt(toolsPath)) === "file")
    throw new EngramError("invalid_argument", `TOOLS_PATH is ${toolsPath}, which is no folder`);
  try {
    await mkdir(cacheDir, { recursive: true });
  } catch (error) {
    const message = `the folder ${cacheDir} for prepared tools cannot be made: ${messageOf(error)}`;
    throw new EngramError("unavailable", message, { cause: error });
  }
  pruneCache(cacheDir).catch((error: unknown) =>
    log("debug", "the cache of tools was not pruned", { error: messageOf(error) }),
  );
  const cores = availableParallelism();
  const max = Math.max(sandboxLimits.childrenMaxLeast, cores * sandboxLimits.childrenMaxPerCore);
  // Guests never ran in the children that meter, and what meters never runs guests. A tools folder may come, go and be
  // replaced while a child lives, so that those which only read it may read anything; a guest's own child sees the cache.
  const preparers = openPool({
    command: [...command, `${readOption}/`, `${writeOption}${cacheDir}`],
    warm: 0,
    max: sandboxLimits.preparersMax,
    clock,
    log,
  });
  const runners = openPool({
    command: [...command, `${readOption}${cacheDir}`],
    warm: cores,
    max,
    clock,
    log,
  });
  const folder = openFolder({
    path: options.toolsPath,
    defaults: options.defaults,
    prepare: async (path) =>
      preparationOf(await preparers.run(prepareJob(path, cacheDir), forever)),
    clock,
    log,
  });
  const parts: Parts = { options, folder, runners };
  let isClosed = false;
  return {
    list: async () => (await folder.list()).map(({ file }) => file),
    run: async (call, signal) => {
      if (isClosed) throw closedError();
      return run(parts, call, signal);
    },
    check: async (value, schema, signal) => {
      if (isClosed) throw closedError();
      return runCheck(runners, { value, schema }, signal);
    },
    inspect: async (name) => {
      const tool = await folder.find(name);
      return tool === null ? null : inspectionOf(tool);
    },
    load: runners.load,
    warnings: async () => {
      if ((await kindAt(toolsPath)) === "folder") return [];
      return [`TOOLS_PATH is ${toolsPath}, where no folder is: there are no tools until one is`];
    },
    close: async () => {
      isClosed = true;
      folder.close();
      await Promise.all([preparers.close(), runners.close()]);
    },
  };
};
