import { openEngine } from "../../support/engine-process.ts";
import type { RedisServer } from "../../support/redis-server.ts";
import type { Report } from "../report.ts";
import { digits, quantile } from "../samples.ts";
import { engineOn } from "./engines.ts";
import { newTalker } from "./talker.ts";

const roundsWarm = 100;
const rounds = 500;
/** Answers at once. */
const model = "scripted:instant";

/** From a message at one engine to the first piece of the answer there, with the step on another engine. */
export async function benchFirstToken(report: Report, redis: RedisServer): Promise<void> {
  await using front = await engineOn(redis, "apart", { WORKER_CONCURRENCY: "0" });
  await using driver = await engineOn(redis, "apart");
  await using both = await engineOn(redis, "both");
  await using alone = await openEngine();
  const ways = [
    { name: "Redis, the step on another engine", by: driver, at: front },
    { name: "Redis, all on one engine", by: both, at: both },
    { name: "SQLite", by: alone, at: alone },
  ];
  const measured = await Promise.all(
    ways.map(async ({ name, by, at }) => ({
      name,
      talker: await newTalker(by, model, at),
      tookMs: [] as number[],
    })),
  );
  // Alternating, so that what else the machine does falls on all.
  for (let round = -roundsWarm; round < rounds; round++)
    for (const { talker, tookMs } of measured) {
      const firstMs = await talker.turn();
      if (round >= 0) tookMs.push(firstMs);
    }
  for (const { talker } of measured) await talker.close();
  report.table(
    [`input to first token, ${rounds} turns`, "p50 ms", "p90", "p99"],
    measured.map(({ name, tookMs }) => [
      name,
      ...[0.5, 0.9, 0.99].map((share) => digits(quantile(tookMs, share))),
    ]),
  );
  const [apart = Number.NaN, together = Number.NaN] = measured.map(({ tookMs }) =>
    quantile(tookMs, 0.5),
  );
  report.goal({
    name: "first token with the step on another engine, p50 above the same on one",
    figure: apart - together,
    atMost: 5,
    unit: "ms",
  });
}
