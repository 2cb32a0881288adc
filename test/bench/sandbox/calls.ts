import { readFileSync, readdirSync } from "node:fs";
import { copyFile, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { systemClock } from "../../../src/clock.ts";
import { spawnChild } from "../../../src/sandbox/child-process.ts";
import { type WasmSandbox, openSandbox } from "../../../src/sandbox/wasm-sandbox.ts";
import type { Report } from "../report.ts";
import { digits, least, median, quantile } from "../samples.ts";
import type { Built } from "./build-workloads.ts";

const root = join(import.meta.dir, "../../..");
/** The binary as it is shipped. */
const childCommand = [join(root, "dist/engram"), "__sandbox"];
const noLimits = { fuel: 0, memoryBytes: 0, timeoutMs: 0, outputBytesMax: 0 };

const warmUpCalls = 300;
const tinyCalls = 1_000;
const coldStarts = 9;
const laterCalls = 20;
const idleChildren = 5;
const idleMs = 300;

const openOn = (toolsPath: string, cacheDir: string): Promise<WasmSandbox> =>
  openSandbox({
    toolsPath,
    cacheDir,
    childCommand,
    clock: systemClock,
    defaults: {
      fuel: 10_000_000_000,
      memoryBytes: 64 * 1024 * 1024,
      timeoutMs: 10_000,
      outputBytesMax: 256 * 1024,
    },
    log: (level, message, fields) => {
      if (level === "warn" || level === "error") console.error(message, fields);
    },
  });

/** How long one call takes, from asking to the outcome, in ms. */
const timeCall = async (sandbox: WasmSandbox, name: string): Promise<number> => {
  const startMs = performance.now();
  const { error } = await sandbox.run(
    { name, inputJson: "{}", parameters: null, limits: noLimits },
    new AbortController().signal,
  );
  const ms = performance.now() - startMs;
  if (error !== null) throw new Error(`${name} failed: ${error.message}`);
  return ms;
};

const residentMb = (pid: number): number => {
  const status = readFileSync(`/proc/${pid}/status`, "latin1");
  return (Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024) / 1e6;
};

const childProcesses = (): readonly number[] =>
  readdirSync("/proc/self/task").flatMap((task) =>
    readFileSync(`/proc/self/task/${task}/children`, "latin1")
      .split(" ")
      .filter((pid) => pid.trim() !== "")
      .map(Number),
  );

const head = ["", "least", "median", "95 %", "samples"];

const rowOf = (name: string, samples: readonly number[]): string[] => [
  name,
  digits(least(samples)),
  digits(median(samples)),
  digits(quantile(samples, 0.95)),
  String(samples.length),
];

/** Calls of the shipped clock, one after the other. */
export const benchTinyCalls = async (report: Report, folder: string): Promise<void> => {
  const tools = join(folder, "tiny");
  await mkdir(tools);
  await copyFile(join(root, "tools/clock.wasm"), join(tools, "clock.wasm"));
  const sandbox = await openOn(tools, join(folder, "tiny-cache"));
  try {
    for (let i = 0; i < warmUpCalls; i++) await timeCall(sandbox, "clock");
    const samples: number[] = [];
    for (let i = 0; i < tinyCalls; i++) samples.push(await timeCall(sandbox, "clock"));
    report.table(head, [rowOf("warm call of clock, ms", samples)]);
    if (process.platform === "linux") {
      await Bun.sleep(idleMs);
      const sizes = childProcesses().map(residentMb);
      report.line(
        `  children after these calls, MB: ${sizes.map((mb) => digits(mb, 1)).join(" ")}\n`,
      );
    }
    const figure = median(samples);
    report.goal({ name: "warm call of a tiny tool, median", figure, atMost: 0.5, unit: "ms" });
  } finally {
    await sandbox.close();
  }
};

/** A Go tool: its first call with nothing prepared, and those that follow in the same sandbox. */
export const benchGoCalls = async (report: Report, folder: string, tool: Built): Promise<void> => {
  const first: number[] = [];
  const later: number[] = [];
  if (tool.missing !== null) {
    report.line(`  LEFT OUT: the Go tool. This machine lacks ${tool.missing}\n`);
  } else {
    const { path } = tool;
    const tools = join(folder, "go");
    await mkdir(tools);
    await copyFile(path, join(tools, "tool.wasm"));
    for (let start = 0; start < coldStarts; start++) {
      const sandbox = await openOn(tools, join(folder, `go-cache-${start}`));
      try {
        first.push(await timeCall(sandbox, "tool"));
        for (let i = 0; i < laterCalls; i++) later.push(await timeCall(sandbox, "tool"));
      } finally {
        await sandbox.close();
      }
    }
    const megabytes = digits(Bun.file(path).size / 1e6, 1);
    report.table(head, [
      rowOf(`first call of a Go tool of ${megabytes} MB, ms`, first),
      rowOf("later calls, ms", later),
    ]);
  }
  const goal = (name: string, samples: readonly number[], atMost: number): void => {
    const figure = samples.length > 0 ? median(samples) : null;
    report.goal({ name, figure, atMost, unit: "ms" });
  };
  goal("first call of a Go tool, median", first, 300);
  goal("later calls of a Go tool, median", later, 8);
};

/** Children that have not had a job. */
export const benchIdleChildren = async (report: Report): Promise<void> => {
  const name = "resident memory of an idle child, median";
  if (process.platform !== "linux") {
    report.goal({ name, figure: null, atMost: 35, unit: "MB" });
    return;
  }
  const samples: number[] = [];
  for (let i = 0; i < idleChildren; i++) {
    const child = spawnChild(childCommand, () => undefined);
    await Bun.sleep(idleMs);
    samples.push(residentMb(child.pid));
    child.kill();
    await child.ended;
  }
  report.table(head, [rowOf("idle child, MB", samples)]);
  report.goal({ name, figure: median(samples), atMost: 35, unit: "MB" });
};
