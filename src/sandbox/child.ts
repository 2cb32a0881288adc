/**
 * The sandbox's child process: the same binary, started as
 * `engram __sandbox --read=PATH --write=PATH PID`. It reads one request at a time from
 * stdin, answers on stdout and has no event loop while a tool runs; whoever is above it kills it when it takes too long.
 * Each call gets a new instance. Nothing but frames may go to stdout.
 */
import { readSync, writeFileSync, writeSync } from "node:fs";
import type { JsonObject } from "../agent/json.ts";
import { messageOf } from "../errors.ts";
import { sandboxLimits } from "../limits.ts";
import {
  type Frame,
  decodeFrame,
  encodeFrame,
  numberOf,
  objectOf,
  prefixBytes,
  readPrefix,
  textOf,
} from "./frame.ts";
import { type Places, readOption, writeOption } from "./confine.ts";
import { guardProcess } from "./guard.ts";
import { checkAnswer, checkInput } from "./input.ts";
import { limitMemory } from "./meter/metered.ts";
import { pageBytes } from "./meter/shape.ts";
import { infoToJson, readCached } from "./module-cache.ts";
import type { PreparedFile } from "./prepare.ts";
import { type RunOrder, type RunResult, failures, runModule } from "./run-module.ts";

const stdin = 0;
const stdout = 1;
const retryMs = 1;
const cell = new Int32Array(new SharedArrayBuffer(4));

/** A pipe that is set to not block says EAGAIN; then it is tried again a moment later. */
const patiently = (io: () => number): number => {
  for (;;) {
    try {
      return io();
    } catch (error) {
      const isBusy = error instanceof Error && "code" in error && error.code === "EAGAIN";
      if (!isBusy) throw error;
      Atomics.wait(cell, 0, 0, retryMs);
    }
  }
};

/** Fills `bytes`; false: the engine closed the pipe or is gone. */
const readFully = (bytes: Uint8Array): boolean => {
  let at = 0;
  while (at < bytes.length) {
    const from = at;
    const count = patiently(() => readSync(stdin, bytes, from, bytes.length - from, null));
    if (count === 0) return false;
    at += count;
  }
  return true;
};

const readRequest = (): Frame | null => {
  const prefix = new Uint8Array(prefixBytes);
  if (!readFully(prefix)) return null;
  const { head, body } = readPrefix(prefix);
  const bytes = new Uint8Array(head + body);
  return readFully(bytes) ? decodeFrame(bytes, head) : null;
};

const send = (header: JsonObject, body?: Uint8Array): void => {
  const frame = encodeFrame(header, body);
  let at = 0;
  while (at < frame.length) {
    const from = at;
    at += patiently(() => writeSync(stdout, frame, from, frame.length - from));
  }
};

/** Compiled modules by digest and memory limit, the least recently used first. */
const modules = new Map<string, WebAssembly.Module>();

const remember = (key: string, module: WebAssembly.Module): void => {
  modules.delete(key);
  modules.set(key, module);
  for (const oldest of modules.keys()) {
    if (modules.size <= sandboxLimits.modulesPerChildMax) return;
    modules.delete(oldest);
  }
};

/** Compiles a cached module with its memory bounded; null: the cache does not have it (any more). */
const loadModule = (cacheFile: string, memoryBytes: number): WebAssembly.Module | null => {
  const key = `${cacheFile}:${memoryBytes}`;
  const known = modules.get(key);
  if (known !== undefined) {
    remember(key, known);
    return known;
  }
  const cached = readCached(cacheFile);
  if (cached === null) return null;
  const { bytes, memoryMaxAt, info } = cached;
  const pagesMax = info.pagesMax ?? Infinity;
  limitMemory({ bytes, memoryMaxAt, pagesMax }, Math.floor(memoryBytes / pageBytes));
  const module = new WebAssembly.Module(bytes);
  remember(key, module);
  return module;
};

const orderOf = (header: JsonObject): RunOrder => ({
  name: textOf(header, "name"),
  inputJson: textOf(header, "inputJson"),
  fuel: numberOf(header, "fuel"),
  memoryBytes: numberOf(header, "memoryBytes"),
  timeoutMs: numberOf(header, "timeoutMs"),
  outputBytesMax: numberOf(header, "outputBytesMax"),
});

const nothing = new Uint8Array(0);

const failed = (
  code: "TOOL_INVALID_INPUT" | "TOOL_INVALID_MODULE",
  message: string,
): RunResult => ({
  error: { code, message },
  stdout: nothing,
  fuelUsed: 0,
  memoryBytes: 0,
});

const runCall = (header: JsonObject): RunResult | null => {
  const order = orderOf(header);
  const problem = checkInput(order.inputJson, objectOf(header, "parameters"));
  if (problem !== null) {
    const code = problem.isSchemaWrong ? "TOOL_INVALID_MODULE" : "TOOL_INVALID_INPUT";
    return failed(code, problem.message);
  }
  if (numberOf(header, "pagesMin") * pageBytes > order.memoryBytes) {
    const error = failures.memory(order, "cannot be started");
    return { error, stdout: nothing, fuelUsed: 0, memoryBytes: 0 };
  }
  const module = loadModule(textOf(header, "cacheFile"), order.memoryBytes);
  if (module === null) return null;
  send({ kind: "started" });
  return runModule(module, order);
};

/** Answers, and gives the bytes that the call left behind. */
const answerRun = (header: JsonObject): number => {
  const result = runCall(header);
  if (result === null) {
    send({ kind: "notCached" });
    return 0;
  }
  const { error, fuelUsed, memoryBytes } = result;
  send(
    {
      kind: "ran",
      code: error?.code ?? null,
      message: error?.message ?? null,
      fuelUsed,
      memoryBytes,
    },
    result.stdout,
  );
  return memoryBytes + result.stdout.length;
};

const answerCheck = (header: JsonObject): void => {
  send({ kind: "started" });
  const fault = checkAnswer(objectOf(header, "value"), objectOf(header, "schema"));
  send({ kind: "checked", fault });
};

const answerPrepare = async (header: JsonObject): Promise<void> => {
  // Children that run guests are smaller without the meter.
  const { prepareFile } = await import("./prepare.ts");
  let prepared: PreparedFile;
  try {
    prepared = prepareFile(textOf(header, "path"), textOf(header, "cacheDir"));
  } catch (error) {
    return send({ kind: "unreadable", message: messageOf(error) });
  }
  const { info, sha256, sizeBytes, error } = prepared;
  send({
    kind: "prepared",
    sha256,
    sizeBytes,
    error,
    info: info === null ? null : infoToJson(info),
  });
};

/** Gives the bytes that are left behind; Infinity: many. */
const answer = async ({ header }: Frame): Promise<number> => {
  const kind = textOf(header, "kind");
  if (kind === "run") return answerRun(header);
  if (kind === "check") {
    answerCheck(header);
    return 0;
  }
  if (kind !== "prepare") throw new Error(`a request of the kind ${kind} is unknown`);
  await answerPrepare(header);
  return Infinity;
};

/**
 * Gives memory back now, not some day: at once after a large call, else with that of a few small ones, for a collection
 * takes longer than they do, and the next call waits for it.
 */
const openCollector = (): ((bytes: number) => void) => {
  let calls = 0;
  let leftBytes = 0;
  return (bytes) => {
    calls++;
    leftBytes += bytes;
    const { uncollectedCallsMax, uncollectedBytesMax } = sandboxLimits;
    if (calls < uncollectedCallsMax && leftBytes < uncollectedBytesMax) return;
    calls = 0;
    leftBytes = 0;
    Bun.gc(true);
  };
};

/** Whatever prints by mistake must not break the frames. */
const divertConsole = (): void => {
  const toStderr = (...args: readonly unknown[]): void => {
    writeFileSync(2, `${args.map(String).join(" ")}\n`);
  };
  Object.assign(console, {
    log: toStderr,
    info: toStderr,
    debug: toStderr,
    dir: toStderr,
    table: toStderr,
  });
};

/** The places named on the command line. */
const placesIn = (args: readonly string[]): Places => {
  const named = (option: string): readonly string[] =>
    args.filter((arg) => arg.startsWith(option)).map((arg) => arg.slice(option.length));
  return { read: named(readOption), write: named(writeOption) };
};

/**
 * Serves requests until stdin ends, then exits. Signals that a terminal or a service manager sends to the whole group
 * are ignored: the engine decides when its children end.
 */
export const runSandboxChild = async (): Promise<never> => {
  divertConsole();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
    process.on(signal, () => undefined);
  const places = placesIn(process.argv);
  if (!guardProcess(Number(process.argv.at(-1)), places)) process.exit(0);
  const collect = openCollector();
  for (;;) {
    const request = readRequest();
    if (request === null) process.exit(0);
    // After the answer, while the engine goes on.
    collect(await answer(request));
  }
};
