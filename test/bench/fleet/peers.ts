import { createClient } from "redis";
import { type RedisServer, startRedis, syncing } from "../../support/redis-server.ts";
import type { Report } from "../report.ts";
import { digits, quantile } from "../samples.ts";

const calls = 2_000;

async function timed(redis: RedisServer, command: readonly string[]): Promise<readonly number[]> {
  const client = createClient({ RESP: 2, socket: { host: "127.0.0.1", port: redis.port } });
  await client.connect();
  const ms: number[] = [];
  for (let n = 0; n < calls; n++) {
    const startMs = performance.now();
    await client.sendCommand([...command]);
    ms.push(performance.now() - startMs);
  }
  client.destroy();
  return ms;
}

/** What Redis itself takes here, asked for one thing after the other: nothing in the other tables can be quicker. */
export async function benchRedisItself(report: Report, redis: RedisServer): Promise<void> {
  const careful = await startRedis(...syncing);
  try {
    const event = ["XADD", "bench", "*", "body", "x".repeat(200)];
    const rows = [
      { name: "PING", ms: await timed(redis, ["PING"]) },
      { name: "XADD of 200 bytes, appendfsync everysec", ms: await timed(redis, event) },
      { name: "the same, appendfsync always", ms: await timed(careful, event) },
    ];
    report.table(
      ["Redis itself, one call after the other", "p50 ms", "p90", "p99"],
      rows.map(({ name, ms }) => [
        name,
        ...[0.5, 0.9, 0.99].map((share) => digits(quantile(ms, share))),
      ]),
    );
  } finally {
    await careful.stop();
  }
}
