import { afterAll, beforeAll, expect, test } from "bun:test";
import { rmSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { makeSamples, scratch } from "../support/damage.ts";
import { flip, randomOf, type Sample, sampleOf, tryDamage } from "../support/damage-trial.ts";

/** More by hand: ENGRAM_DAMAGE_SEEDS=10000 bun test test/store/damage-random.test.ts */
const seeds = Number(Bun.env["ENGRAM_DAMAGE_SEEDS"] ?? 400);
const first = Number(Bun.env["ENGRAM_DAMAGE_FIRST"] ?? 0);

let place = "";
let closed: Sample;
let killed: Sample;
beforeAll(async () => {
  place = scratch();
  const samples = await makeSamples();
  closed = await sampleOf(samples.data);
  killed = await sampleOf(samples.killed);
});
afterAll(() => {
  for (const folder of [place, dirname(closed.folder)]) rmSync(folder, { recursive: true });
});

test(`${seeds} random bits: no changed byte is shown, none that matters is missed`, async () => {
  const kinds: Record<string, number> = {};
  const problems: string[] = [];
  for (let seed = first; seed < first + seeds; seed++) {
    const random = randomOf(seed);
    const sample = random(3) === 0 ? killed : closed;
    const name = sample === killed && random(2) === 0 ? "engram.db-wal" : "engram.db";
    const at = random(statSync(join(sample.folder, name)).size);
    const bit = random(8);
    const trial = await tryDamage(sample, place, (folder) => flip(join(folder, name), at, bit));
    kinds[trial.kind] = (kinds[trial.kind] ?? 0) + 1;
    for (const problem of trial.problems)
      problems.push(`seed ${seed} (${name}, byte ${at}, bit ${bit}): ${problem}`);
  }
  if (Bun.env["ENGRAM_DAMAGE_SEEDS"] !== undefined)
    process.stderr.write(`${JSON.stringify(kinds)}\n`);
  expect(problems).toEqual([]);
  // Each kind is met, so that the trial cannot pass by damaging nothing.
  for (const kind of ["agent refused", "found", "harmless", "refused to start"])
    expect(kinds).toHaveProperty(kind);
}, 3_600_000);
