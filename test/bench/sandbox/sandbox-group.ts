import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Report } from "../report.ts";
import { geometricMean } from "../samples.ts";
import { type Built, buildAssemblyScript, buildC, buildGo } from "./build-workloads.ts";
import { benchGoCalls, benchIdleChildren, benchTinyCalls } from "./calls.ts";
import { type Ratios, type Sizes, compareExports, compareGo } from "./metering.ts";

const assemblyScriptSizes: Sizes = {
  fib: 32,
  sieve: 5_000_000,
  mandel: 400,
  sort: 10_000,
  sha256: 50_000,
  matmul: 250,
  json: 150_000,
  vm: 1_000_000,
  objs: 300_000,
};

const cSizes: Sizes = {
  bytecopy: 30,
  bytefill: 40,
  qsortcb: 100_000,
  queens: 12,
  crc: 80,
  fannkuch: 9,
  bintree: 17,
  collatz: 60_000,
  nbody: 200_000,
  lev: 1_500,
  strscan: 200,
};

const none: Ratios = new Map();

const meanBar = 1.1;
const goBar = 1.25;
const worstBar = 1.6;

/** Measures a workload's module where it could be built, and says so where not. */
const ifBuilt = async (
  report: Report,
  name: string,
  built: Built,
  measure: (path: string) => Promise<Ratios>,
): Promise<Ratios> => {
  if (built.missing !== null) {
    report.line(`  LEFT OUT: ${name}. This machine lacks ${built.missing}\n`);
    return none;
  }
  report.line(`  ${name}, metered against raw`);
  return measure(built.path);
};

const meterGoals = (report: Report, warm: Ratios, go: Ratios, isWhole: boolean): void => {
  const mean = warm.size > 0 && isWhole ? geometricMean([...warm.values()]) : null;
  const all = [...warm, ...go];
  const [worstName, worst] = all.reduce((a, b) => (b[1] > a[1] ? b : a), ["", 0]);
  const unit = "times raw";
  report.goal({ name: "geometric mean of the workloads", figure: mean, atMost: meanBar, unit });
  report.goal({ name: "the Go program", figure: go.get("total") ?? null, atMost: goBar, unit });
  report.goal({ name: `the worst, ${worstName}`, figure: worst, atMost: worstBar, unit });
  report.line("");
};

/** What metering costs, how long calls take, how large a child is. */
export const benchSandbox = async (report: Report): Promise<void> => {
  const folder = await mkdtemp(join(tmpdir(), "engram-bench-"));
  try {
    report.line("  AssemblyScript workloads, metered against raw");
    const program = await buildAssemblyScript(folder);
    const assemblyScript = await compareExports(report, program, assemblyScriptSizes);
    const builtC = await buildC(folder);
    const c = await ifBuilt(report, "C workloads", builtC, (path) =>
      compareExports(report, path, cSizes),
    );
    const go = await ifBuilt(report, "Go program", await buildGo(folder, "program"), (path) =>
      compareGo(report, path),
    );
    meterGoals(report, new Map([...assemblyScript, ...c]), go, builtC.missing === null);
    await benchTinyCalls(report, folder);
    await benchGoCalls(report, folder, await buildGo(folder, "tool"));
    await benchIdleChildren(report);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
};
