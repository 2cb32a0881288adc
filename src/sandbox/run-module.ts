import type { ToolErrorCode } from "../agent/event.ts";
import { messageOf } from "../errors.ts";
import { sandboxLimits } from "../limits.ts";
import { hostExport } from "./meter/shape.ts";
import { type Ending, type Guest, type GuestExports, openSink, written } from "./wasi/guest.ts";
import { wasiImports } from "./wasi/wasi.ts";

export type RunOrder = {
  readonly name: string;
  readonly inputJson: string;
  readonly fuel: number;
  readonly memoryBytes: number;
  readonly timeoutMs: number;
  readonly outputBytesMax: number;
};

export type RunResult = {
  readonly error: { readonly code: ToolErrorCode; readonly message: string } | null;
  readonly stdout: Uint8Array<ArrayBuffer>;
  readonly fuelUsed: number;
  readonly memoryBytes: number;
};

type Failure = { readonly code: ToolErrorCode; readonly message: string };

/** Exports of a metered module, checked one by one. */
type MeteredExports = GuestExports & {
  readonly growFailed: () => boolean;
  readonly start: () => void;
};

const functionOf = (
  exports: Readonly<Record<string, unknown>>,
  name: string,
): ((...args: bigint[]) => unknown) => {
  const value: unknown = exports[name];
  if (typeof value !== "function") throw new Error(`the metered module does not export ${name}`);
  return (...args) => Reflect.apply(value, undefined, args);
};

const exportsOf = (instance: WebAssembly.Instance): MeteredExports => {
  const { exports } = instance;
  const memory: unknown = exports["memory"];
  if (!(memory instanceof WebAssembly.Memory)) throw new Error("the module exports no memory");
  const fuelGet = functionOf(exports, hostExport.fuelGet);
  const fuelSet = functionOf(exports, hostExport.fuelSet);
  const growFailed = functionOf(exports, hostExport.growFailed);
  const main = functionOf(exports, "_start");
  const first = hostExport.start in exports ? functionOf(exports, hostExport.start) : null;
  return {
    memory,
    fuelGet: () => BigInt(String(fuelGet())),
    fuelSet: (fuel) => void fuelSet(fuel),
    growFailed: () => growFailed() === 1,
    start: () => {
      first?.();
      main();
    },
  };
};

const utf8 = new TextEncoder();
const fromUtf8 = new TextDecoder();

const openGuest = (order: RunOrder): Guest => {
  const input = utf8.encode(order.inputJson);
  const startedAtMs = performance.now();
  return {
    exports: null,
    args: [utf8.encode(order.name), input],
    stdin: input,
    stdinAt: 0,
    stdout: openSink(order.outputBytesMax, false),
    stderr: openSink(sandboxLimits.stderrBytesMax, true),
    isOpen: [true, true, true],
    startedAtMs,
    deadlineMs: startedAtMs + order.timeoutMs,
    ending: null,
    fuelAtEnding: 0n,
  };
};

const stderrTail = (guest: Guest): string =>
  fromUtf8.decode(written(guest.stderr)).trim().slice(-sandboxLimits.stderrTailChars);

const withStderr = (message: string, guest: Guest): string => {
  const tail = stderrTail(guest);
  return tail === "" ? message : `${message}: ${tail}`;
};

const mebibytes = (bytes: number): string => `${Math.round((bytes / 1024 / 1024) * 10) / 10} MiB`;

export const failures = {
  fuel: (order: RunOrder): Failure => ({
    code: "TOOL_OUT_OF_FUEL",
    message: `the tool used up its fuel of ${order.fuel} units before it finished; give it a smaller task`,
  }),
  memory: (order: RunOrder, how: string): Failure => ({
    code: "TOOL_OUT_OF_MEMORY",
    message: `the tool asked for more than its ${mebibytes(order.memoryBytes)} of memory and ${how}; give it a smaller task`,
  }),
  timeout: (order: RunOrder): Failure => ({
    code: "TOOL_TIMEOUT",
    message: `the tool did not finish within ${order.timeoutMs} ms`,
  }),
  output: (order: RunOrder): Failure => ({
    code: "TOOL_OUTPUT_TOO_LARGE",
    message: `the tool wrote more than ${order.outputBytesMax} bytes; ask it for less`,
  }),
} as const;

const stackFailure: Failure = {
  code: "TOOL_TRAPPED",
  message: "the tool's call stack overflowed",
};

const endingFailure = (order: RunOrder, guest: Guest, ending: Ending): Failure | null => {
  switch (ending.kind) {
    case "exit":
      if (ending.code === 0) return null;
      return {
        code: "TOOL_EXITED",
        message: withStderr(`the tool exited with code ${ending.code}`, guest),
      };
    case "fuel":
      return failures.fuel(order);
    case "timeout":
      return failures.timeout(order);
    case "output":
      return failures.output(order);
    case "stack":
      return stackFailure;
    case "host":
      return {
        code: "TOOL_TRAPPED",
        message: `the tool made a system call fail: ${ending.message}`,
      };
  }
};

const trapFailure = (guest: Guest, error: unknown): Failure => {
  if (error instanceof RangeError) return stackFailure;
  const what =
    error instanceof Error
      ? error.message.replace(/ \(evaluating[^]*$/, "")
      : "an uncaught exception";
  return { code: "TOOL_TRAPPED", message: withStderr(`the tool trapped: ${what}`, guest) };
};

/** A tool that got no memory and then failed in whatever way ran out of memory: compilers turn it into traps and exits. */
const blameMemory = (order: RunOrder, failure: Failure): Failure => {
  const how = {
    TOOL_TRAPPED: "trapped",
    TOOL_EXITED: "gave up",
    TOOL_OUT_OF_FUEL: "then used up its fuel",
  };
  const { code } = failure;
  if (code !== "TOOL_TRAPPED" && code !== "TOOL_EXITED" && code !== "TOOL_OUT_OF_FUEL")
    return failure;
  return failures.memory(order, how[code]);
};

type Ended = { readonly failure: Failure | null; readonly fuelLeft: bigint };

const call = (order: RunOrder, guest: Guest, exports: MeteredExports): Ended => {
  let thrown: unknown = null;
  let hasThrown = false;
  try {
    exports.start();
  } catch (error) {
    thrown = error;
    hasThrown = true;
  }
  if (guest.ending !== null) {
    return { failure: endingFailure(order, guest, guest.ending), fuelLeft: guest.fuelAtEnding };
  }
  const fuelLeft = exports.fuelGet();
  // Metering's invariants 3 and 4: below zero means exhausted, however the run ended.
  if (fuelLeft < 0n) return { failure: failures.fuel(order), fuelLeft };
  return { failure: hasThrown ? trapFailure(guest, thrown) : null, fuelLeft };
};

const notStarted = (order: RunOrder, error: unknown): RunResult => {
  const failure: Failure =
    error instanceof RangeError
      ? failures.memory(order, "could not be started")
      : { code: "TOOL_INVALID_MODULE", message: `the tool cannot be started: ${messageOf(error)}` };
  return { error: failure, stdout: new Uint8Array(0), fuelUsed: 0, memoryBytes: 0 };
};

/** Runs a metered module once, in a new instance, to its end: at most `timeoutMs` only if it makes system calls. */
export const runModule = (module: WebAssembly.Module, order: RunOrder): RunResult => {
  const guest = openGuest(order);
  let exports: MeteredExports;
  try {
    const imports = { wasi_snapshot_preview1: wasiImports(guest) };
    exports = exportsOf(new WebAssembly.Instance(module, imports));
  } catch (error) {
    return notStarted(order, error);
  }
  guest.exports = exports;
  exports.fuelSet(BigInt(order.fuel));
  const { failure, fuelLeft } = call(order, guest, exports);
  const error = failure !== null && exports.growFailed() ? blameMemory(order, failure) : failure;
  // How deep the stack goes depends on how the code was compiled so far; what was used must not.
  const isSpent = failure === stackFailure || fuelLeft < 0n;
  const used = BigInt(order.fuel) - (isSpent ? 0n : fuelLeft);
  return {
    error,
    stdout: error?.code === "TOOL_OUTPUT_TOO_LARGE" ? new Uint8Array(0) : written(guest.stdout),
    fuelUsed: Number(used),
    memoryBytes: exports.memory.buffer.byteLength,
  };
};
