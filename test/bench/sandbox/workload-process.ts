/**
 * Runs one module, raw or metered, for the bench: `workload-process.ts FILE`. Each message names an export and its size;
 * the answer has the time of that call alone, made in a new instance, and what it gave.
 */
import { readFileSync } from "node:fs";
import { hostExport } from "../../../src/sandbox/meter/shape.ts";
import { type Guest, written } from "../../../src/sandbox/wasi/guest.ts";
import { wasiImports } from "../../../src/sandbox/wasi/wasi.ts";
import { openRawGuest } from "../../support/raw-guest.ts";

export type Request = { readonly name: string; readonly size: number };
export type Answer = { readonly ms: number; readonly result: number; readonly output: string };

/** More than any workload uses. */
const fuel = 2n ** 60n;

const module = new WebAssembly.Module(readFileSync(process.argv[2] ?? ""));

type Call = (...args: (number | bigint)[]) => unknown;

/** A command may end by proc_exit, which unwinds it. */
const callCommand = (guest: Guest, call: () => unknown): number => {
  try {
    return Number(call() ?? 0);
  } catch (error) {
    if (guest.ending?.kind === "exit" && guest.ending.code === 0) return 0;
    throw error;
  }
};

const answer = ({ name, size }: Request): Answer => {
  const guest = openRawGuest();
  const imports = { wasi_snapshot_preview1: wasiImports(guest) };
  const exports = new WebAssembly.Instance(module, imports).exports as Record<string, Call> & {
    memory: WebAssembly.Memory;
  };
  const fuelGet = exports[hostExport.fuelGet];
  const fuelSet = exports[hostExport.fuelSet];
  guest.exports = {
    memory: exports.memory,
    // The raw module has none: host calls still do what they do for the metered one.
    fuelGet: () => (fuelGet?.() as bigint | undefined) ?? fuel,
    fuelSet: (left) => void fuelSet?.(left),
  };
  fuelSet?.(fuel);
  exports[hostExport.start]?.();
  // What an AssemblyScript module does at its start is no part of a workload.
  if (name !== "_start") callCommand(guest, () => exports["_start"]?.());
  const work = exports[name];
  if (work === undefined) throw new Error(`the module exports no ${name}`);
  const startMs = performance.now();
  const result = callCommand(guest, () => work(size));
  const ms = performance.now() - startMs;
  if (fuelGet !== undefined && Number(fuelGet()) === Number(fuel)) {
    throw new Error(`${name} used no fuel: it is not metered`);
  }
  return { ms, result, output: new TextDecoder().decode(written(guest.stdout)) };
};

process.on("message", (request: Request) => {
  const answered = answer(request);
  Bun.gc(true);
  process.send?.(answered);
});
process.on("disconnect", () => process.exit(0));
