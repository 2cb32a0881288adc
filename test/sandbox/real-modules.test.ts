import { afterAll, beforeAll, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { written } from "../../src/sandbox/wasi/guest.ts";
import { wasiImports } from "../../src/sandbox/wasi/wasi.ts";
import { buildGo } from "../support/go.ts";
import { openRawGuest } from "../support/raw-guest.ts";
import { type Harness, openHarness } from "./harness.ts";

let harness: Harness;
beforeAll(async () => {
  harness = await openHarness();
  const build = join(import.meta.dir, "../../tools/build.ts");
  await Bun.$`${process.execPath} ${build} ${harness.toolsPath}`.quiet();
  buildGo("clock", join(harness.toolsPath, "go_clock.wasm"));
  buildGo("grow", join(harness.toolsPath, "go_grow.wasm"));
}, 120_000);
afterAll(() => harness.close());

const utf8 = new TextEncoder();

type Ended = { readonly exitCode: number; readonly output: string; readonly complaint: string };

/** Runs a module as its compiler made it: the same system calls, but nothing counts. */
const runRaw = async (name: string, inputJson: string): Promise<Ended> => {
  const input = utf8.encode(inputJson);
  const guest = openRawGuest([utf8.encode(name), input], input);
  const file = Bun.file(join(harness.toolsPath, `${name}.wasm`));
  const imports = { wasi_snapshot_preview1: wasiImports(guest) };
  const { instance } = await WebAssembly.instantiate(await file.arrayBuffer(), imports);
  const exports = instance.exports as { memory: WebAssembly.Memory } & Record<string, () => void>;
  guest.exports = { memory: exports.memory, fuelGet: () => 2n ** 60n, fuelSet: () => undefined };
  try {
    exports["_start"]?.();
  } catch (error) {
    if (guest.ending?.kind !== "exit") throw error;
  }
  const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
  return {
    exitCode: guest.ending?.kind === "exit" ? guest.ending.code : 0,
    output: text(written(guest.stdout)),
    complaint: text(written(guest.stderr)).trim(),
  };
};

/** What compilers make of AssemblyScript, C, Rust and Go; inputs whose answers do not depend on the time. */
const corpus: readonly (readonly [name: string, ...inputs: readonly unknown[]])[] = [
  [
    "calculator",
    { expression: "(2 + 3) * sqrt(16) / 2^3" },
    { expression: "sin(1) + cos(2) * tan(0.5) - ln(7) ^ log10(1234.5)" },
    { expression: `${"(".repeat(40)}1${" + 7)".repeat(40)} % 11` },
    { expression: "20!" },
    { expression: "1 / (2 - 2) +" },
  ],
  [
    "json_query",
    { query: "$..b[?@.c > 1].c", document: { a: { b: [{ c: 1 }, { c: 2 }, { c: 3.5 }] } } },
    { query: "$.*[-1:]", document: JSON.stringify({ x: [1, "ü€😀", null], y: [[true]] }) },
    { query: "$[*]", document: Array.from({ length: 500 }, (_, i) => ({ i, s: `n${i}` })) },
    { query: "$[", document: 1 },
  ],
  [
    "text_stats",
    { text: "One two three. Four?\n\nFive ünïcode 😀 words!" },
    { text: "ab".repeat(20_000), find: "ba" },
  ],
  [
    "dates",
    { date: "2024-02-29", add_years: 1, add_months: 13, add_days: -400 },
    { date: "0001-01-01", until: "9999-12-31" },
    { date: "2026-02-30" },
  ],
  ["go_clock", { format: 1 }, { format: "no layout of any time" }],
];

const cases = corpus.map(([name, ...inputs]) => ({ name, inputs }));

test.each(cases)("$name does metered what it did", async ({ name, inputs }) => {
  for (const input of inputs) {
    const inputJson = JSON.stringify(input);
    const raw = await runRaw(name, inputJson);
    const { output, error, fuelUsed } = await harness.run(name, inputJson);
    expect({ inputJson, output }).toEqual({ inputJson, output: raw.output });
    expect(error?.code ?? null).toBe(raw.exitCode === 0 ? null : "TOOL_EXITED");
    if (raw.exitCode !== 0) expect(error?.message).toContain(raw.complaint.slice(-100));
    expect(fuelUsed).toBeGreaterThan(0);
  }
});

// Go's runtime looks at the clock and takes random numbers as it starts.
const repeatable = cases.filter(({ name }) => name !== "go_clock");

test.each(repeatable)("$name uses the same fuel on every run", async ({ name, inputs }) => {
  for (const input of inputs) {
    const runs = await Promise.all(
      [1, 2, 3, 4, 5].map(() => harness.run(name, JSON.stringify(input))),
    );
    expect(new Set(runs.map(({ fuelUsed }) => fuelUsed)).size).toBe(1);
  }
});

test("a Go program that allocates until it dies is out of memory", async () => {
  const { error, memoryBytes } = await harness.run("go_grow", "{}", { fuel: 10_000_000_000 });
  expect(error?.code).toBe("TOOL_OUT_OF_MEMORY");
  expect(memoryBytes).toBeLessThanOrEqual(64 * 1024 * 1024);
});

/** Debian 12's; where all is to be tested it must be there. */
const hasRust = existsSync("/usr/lib/rustlib/wasm32-wasi") || Bun.env["CI"] !== undefined;

test.skipIf(!hasRust)("a Rust panic is a trap, with what it said", async () => {
  const source = join(harness.cacheDir, "panic.rs");
  await Bun.write(source, 'fn main() { panic!("out of luck") }');
  const file = join(harness.toolsPath, "rust_panic.wasm");
  await Bun.$`/usr/bin/rustc --target=wasm32-wasi -o ${file} ${source}`.quiet();
  const { error } = await harness.run("rust_panic");
  expect(error?.code).toBe("TOOL_TRAPPED");
  expect(error?.message).toContain("out of luck");
});
