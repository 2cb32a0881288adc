import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import wabt from "wabt";
import type { ToolLimits, ToolOutcome } from "../../src/agent/event.ts";
import { childEntry } from "./child-entry.ts";
import { systemClock } from "../../src/clock.ts";
import {
  type SandboxOptions,
  type WasmSandbox,
  openSandbox,
} from "../../src/sandbox/wasm-sandbox.ts";

const features = {
  mutable_globals: true,
  sign_extension: true,
  sat_float_to_int: true,
  multi_value: true,
  bulk_memory: true,
  reference_types: true,
  simd: true,
  tail_call: true,
  exceptions: true,
  threads: true,
  memory64: true,
  multi_memory: true,
  extended_const: true,
  relaxed_simd: true,
} as const;

/** Assembles text into a module, without checking it: tests need broken ones too. */
export const assemble = async (text: string): Promise<Uint8Array<ArrayBuffer>> => {
  const { parseWat } = await wabt();
  const module = parseWat("test.wat", text, features);
  try {
    return new Uint8Array(module.toBinary({}).buffer);
  } finally {
    module.destroy();
  }
};

const functionTypes = {
  fd_write: "(param i32 i32 i32 i32) (result i32)",
  fd_read: "(param i32 i32 i32 i32) (result i32)",
  proc_exit: "(param i32)",
  random_get: "(param i32 i32) (result i32)",
  poll_oneoff: "(param i32 i32 i32 i32) (result i32)",
  sched_yield: "(result i32)",
  clock_time_get: "(param i32 i64 i32) (result i32)",
  path_open: "(param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)",
  args_get: "(param i32 i32) (result i32)",
  args_sizes_get: "(param i32 i32) (result i32)",
  fd_prestat_get: "(param i32 i32) (result i32)",
  sock_send: "(param i32 i32 i32 i32 i32) (result i32)",
  fd_close: "(param i32) (result i32)",
} as const;

type SystemCall = keyof typeof functionTypes;

export const importing = (...names: readonly SystemCall[]): string =>
  names
    .map(
      (name) =>
        `(import "wasi_snapshot_preview1" "${name}" (func $${name} ${functionTypes[name]}))`,
    )
    .join("\n");

const oneMemory = `(memory (export "memory") 1)`;

/** A module with one memory around `body`. */
export const moduleText = (body: string, imports = "", memory = oneMemory): string =>
  `(module ${imports} ${memory} ${body})`;

/** A module whose _start has the code `code`. */
export const startText = (code: string, imports = "", memory = oneMemory): string =>
  moduleText(`(func (export "_start") ${code})`, imports, memory);

export const defaults: ToolLimits = {
  fuel: 1_000_000_000,
  memoryBytes: 64 * 1024 * 1024,
  timeoutMs: 10_000,
  outputBytesMax: 256 * 1024,
};
export const noLimits: ToolLimits = { fuel: 0, memoryBytes: 0, timeoutMs: 0, outputBytesMax: 0 };

export const childCommand = [process.execPath, childEntry] as const;

export type Harness = {
  readonly toolsPath: string;
  readonly cacheDir: string;
  readonly sandbox: WasmSandbox;
  readonly logged: readonly string[];
  /** Puts a tool into the folder. */
  put(name: string, module: Uint8Array | string): Promise<void>;
  run(name: string, inputJson?: string, limits?: Partial<ToolLimits>): Promise<ToolOutcome>;
  close(): Promise<void>;
};

/** Prints each of its arguments and then stdin, with a `|` behind each. */
export const echoText = moduleText(
  `(data (i32.const 0) "|")
  (func $put (param $at i32) (param $length i32)
    (i32.store (i32.const 16) (local.get $at)) (i32.store (i32.const 20) (local.get $length))
    (drop (call $fd_write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 8)))
    (i32.store (i32.const 16) (i32.const 0)) (i32.store (i32.const 20) (i32.const 1))
    (drop (call $fd_write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 8))))
  (func $length (param $at i32) (result i32) (local $n i32)
    (block $end (loop $next
      (br_if $end (i32.eqz (i32.load8_u (i32.add (local.get $at) (local.get $n)))))
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (br $next)))
    (local.get $n))
  (func (export "_start") (local $i i32) (local $at i32)
    (drop (call $args_sizes_get (i32.const 24) (i32.const 28)))
    (drop (call $args_get (i32.const 1024) (i32.const 2048)))
    (loop $next
      (local.set $at (i32.load (i32.add (i32.const 1024) (i32.mul (local.get $i) (i32.const 4)))))
      (call $put (local.get $at) (call $length (local.get $at)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $i) (i32.load (i32.const 24)))))
    (i32.store (i32.const 16) (i32.const 32768)) (i32.store (i32.const 20) (i32.const 32768))
    (drop (call $fd_read (i32.const 0) (i32.const 16) (i32.const 1) (i32.const 8)))
    (call $put (i32.const 32768) (i32.load (i32.const 8))))`,
  importing("args_sizes_get", "args_get", "fd_read", "fd_write"),
);

/** Computes until it is killed. */
export const spinText = startText("(loop $l (br $l))");
/** More fuel than any test waits for. */
export const endlessFuel = 100_000_000_000;

/** A tool that prints `text`. */
export const printing = (text: string): string =>
  moduleText(
    `(data (i32.const 64) "${text}") (func (export "_start")
      (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const ${text.length}))
      (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))`,
    importing("fd_write"),
  );

/** A sandbox over a folder of its own. */
export const openHarness = async (change: Partial<SandboxOptions> = {}): Promise<Harness> => {
  const root = await mkdtemp(join(tmpdir(), "engram-sandbox-"));
  const toolsPath = join(root, "tools");
  const cacheDir = join(root, "cache");
  await Bun.write(join(toolsPath, ".keep"), "");
  const logged: string[] = [];
  const sandbox = await openSandbox({
    toolsPath,
    cacheDir,
    childCommand,
    clock: systemClock,
    defaults,
    log: (level, message, fields) =>
      logged.push(`${level} ${message} ${JSON.stringify(fields ?? {})}`),
    ...change,
  });
  return {
    toolsPath,
    cacheDir,
    sandbox,
    logged,
    put: async (name, module) => {
      const bytes = typeof module === "string" ? await assemble(module) : module;
      await writeFile(join(toolsPath, `${name}.wasm`), bytes);
    },
    run: (name, inputJson = "{}", limits = {}) =>
      sandbox.run(
        { name, inputJson, parameters: null, limits: { ...noLimits, ...limits } },
        new AbortController().signal,
      ),
    close: async () => {
      await sandbox.close();
      await rm(root, { recursive: true, force: true });
    },
  };
};
