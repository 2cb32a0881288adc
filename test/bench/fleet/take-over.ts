import type { RedisServer } from "../../support/redis-server.ts";
import type { Report } from "../report.ts";
import { digits, median } from "../samples.ts";
import { engineOn } from "./engines.ts";
import { openTalker } from "./talker.ts";

const agents = 100;
const leaseTtlMs = 3_000;

/** Kills one of two engines while its agents write; how long each client waits for the next piece from the other. */
export async function benchTakeOver(report: Report, redis: RedisServer): Promise<void> {
  const settings = { LEASE_TTL_MS: `${leaseTtlMs}`, WORKER_CONCURRENCY: "128" };
  await using victim = await engineOn(redis, "kill", settings);
  await using heir = await engineOn(redis, "kill", settings);
  const goal = "Write 1000 words.";
  // Who makes an agent drives it, as long as there is room.
  const made = await Promise.all(
    Array.from({ length: agents }, () =>
      victim.client.createAgent({ goal, model: "scripted:50", config: { noTools: true } }),
    ),
  );
  const talkers = made.map(({ agentId }) => openTalker(heir, agentId));
  await Promise.all(talkers.map((talker) => talker.piece()));
  const waits: number[] = [];
  await victim.kill();
  const killedMs = performance.now();
  await Promise.all(
    talkers.map(async (talker) => {
      // What was on its way at the kill is no sign of the heir.
      let beforeMs = killedMs;
      for (;;) {
        const pieceMs = await talker.piece();
        if (pieceMs - beforeMs > leaseTtlMs / 4) return waits.push(pieceMs - killedMs);
        beforeMs = pieceMs;
      }
    }),
  );
  for (const talker of talkers) await talker.close();
  report.table(
    [`kill -9 with ${agents} agents in mid-sentence, LEASE_TTL_MS=${leaseTtlMs}`, "ms"],
    [
      ["next piece from the other engine, median", digits(median(waits), 0)],
      ["the last agent's", digits(Math.max(...waits), 0)],
    ],
  );
  report.goal({
    name: "the last agent's next piece after a kill, LEASE_TTL_MS and a second",
    figure: Math.max(...waits),
    atMost: leaseTtlMs + 1_000,
    unit: "ms",
  });
}
