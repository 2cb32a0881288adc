import type { Report } from "../report.ts";
import { digits, geometricMean, least, median } from "../samples.ts";
import {
  type Runner,
  type Times,
  type Variants,
  inTurn,
  meterFile,
  openRunner,
} from "./variants.ts";
import type { Answer } from "./workload-process.ts";

/** Workloads by name, with sizes at which a call takes 5 to 30 ms. */
export type Sizes = Readonly<Record<string, number>>;

/** Each pair of processes compiles anew: the compiler's threads do not end up the same every time. */
const pairs = 3;
const warmUpRounds = 5;
const rounds = 9;
const goRuns = 9;

export type Ratios = ReadonlyMap<string, number>;

const agree = (name: string, raw: Answer, metered: Answer): void => {
  if (raw.result !== metered.result) {
    throw new Error(`${name} gives ${raw.result} raw and ${metered.result} metered`);
  }
};

type Pair = { readonly raw: Runner; readonly metered: Runner };

const runRound = async (
  { raw, metered }: Pair,
  sizes: Sizes,
  round: number,
): Promise<ReadonlyMap<string, { readonly raw: Answer; readonly metered: Answer }>> => {
  const answers = new Map<string, { raw: Answer; metered: Answer }>();
  for (const [name, size] of Object.entries(sizes)) {
    const both: Partial<Record<keyof Pair, Answer>> = {};
    await inTurn(
      round,
      async () => void (both.raw = await raw.run({ name, size })),
      async () => void (both.metered = await metered.run({ name, size })),
    );
    agree(name, both.raw!, both.metered!);
    answers.set(name, { raw: both.raw!, metered: both.metered! });
  }
  return answers;
};

const measurePair = async (
  variants: Variants,
  sizes: Sizes,
  times: ReadonlyMap<string, Times>,
): Promise<void> => {
  const pair = { raw: openRunner(variants.raw), metered: openRunner(variants.metered) };
  try {
    for (let round = 0; round < warmUpRounds + rounds; round++) {
      const answers = await runRound(pair, sizes, round);
      if (round < warmUpRounds) continue;
      for (const [name, { raw, metered }] of answers) {
        times.get(name)?.raw.push(raw.ms);
        times.get(name)?.metered.push(metered.ms);
      }
    }
  } finally {
    await Promise.all([pair.raw.close(), pair.metered.close()]);
  }
};

const head = ["workload", "raw ms", "metered ms", "ratio", "medians", "median ratio"];

/** Prints one line per workload; gives the ratios of the least times. */
const printTimes = (report: Report, times: ReadonlyMap<string, Times>): Ratios => {
  const ratios = new Map<string, number>();
  const rows: string[][] = [];
  for (const [name, { raw, metered }] of times) {
    const ratio = least(metered) / least(raw);
    ratios.set(name, ratio);
    const medians = [median(raw), median(metered)] as const;
    rows.push([
      name,
      digits(least(raw)),
      digits(least(metered)),
      digits(ratio),
      medians.map((ms) => digits(ms)).join(" "),
      digits(medians[1] / medians[0]),
    ]);
  }
  report.table(head, rows);
  return ratios;
};

/** The exports of one module, raw and metered, in warm processes. */
export const compareExports = async (
  report: Report,
  path: string,
  sizes: Sizes,
): Promise<Ratios> => {
  const variants = await meterFile(path);
  const times = new Map<string, Times>(
    Object.keys(sizes).map((name) => [name, { raw: [], metered: [] }]),
  );
  for (let pair = 0; pair < pairs; pair++) await measurePair(variants, sizes, times);
  const ratios = printTimes(report, times);
  report.line(`  geometric mean ${digits(geometricMean([...ratios.values()]), 3)}\n`);
  return ratios;
};

type Piece = { readonly name: string; readonly result: number; readonly ms: number };

const runOnce = async (path: string): Promise<readonly Piece[]> => {
  const runner = openRunner(path);
  try {
    return JSON.parse((await runner.run({ name: "_start", size: 0 })).output) as Piece[];
  } finally {
    await runner.close();
  }
};

const total = (pieces: readonly Piece[]): Piece => ({
  name: "total",
  result: pieces.reduce((sum, { result }) => sum + result, 0),
  ms: pieces.reduce((sum, { ms }) => sum + ms, 0),
});

/** The pieces of the Go program and their total, each run in a new process, as a tool's first call is. */
export const compareGo = async (report: Report, path: string): Promise<Ratios> => {
  const variants = await meterFile(path);
  const times = new Map<string, Times>();
  const results = new Map<string, number>();
  const run = async (form: keyof Variants): Promise<void> => {
    const pieces = await runOnce(variants[form]);
    for (const { name, result, ms } of [...pieces, total(pieces)]) {
      const known = times.get(name) ?? { raw: [], metered: [] };
      known[form].push(ms);
      times.set(name, known);
      if ((results.get(name) ?? result) !== result) throw new Error(`${name} differs: ${result}`);
      results.set(name, result);
    }
  };
  for (let round = 0; round < goRuns; round++) {
    await inTurn(
      round,
      () => run("raw"),
      () => run("metered"),
    );
  }
  return printTimes(report, times);
};
