import { type RedisServer, startRedis } from "../../support/redis-server.ts";
import type { Report } from "../report.ts";
import { benchFirstToken } from "./first-token.ts";
import { benchManyAgents } from "./many-agents.ts";
import { benchRedisItself } from "./peers.ts";
import { benchTakeOver } from "./take-over.ts";
import { benchShares, benchTurns } from "./turns.ts";

/** What a Redis costs between engines, and what several of them give. */
export async function benchFleet(report: Report): Promise<void> {
  report.line("  Redis with appendonly yes, appendfsync everysec; SQLite with synchronous=FULL\n");
  const parts = [
    benchRedisItself,
    benchFirstToken,
    benchTurns,
    benchShares,
    benchManyAgents,
    benchTakeOver,
  ];
  for (const part of parts) await onRedis((redis) => part(report, redis));
}

/** Each part has a server of its own, so that none finds what another has left. */
async function onRedis(run: (redis: RedisServer) => Promise<void>): Promise<void> {
  const redis = await startRedis();
  try {
    await run(redis);
  } finally {
    await redis.stop();
  }
}
