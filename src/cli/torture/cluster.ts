import { join } from "node:path";
import { textOf } from "../../store/redis/values.ts";
import { makeClusterFaults } from "./cluster-faults.ts";
import { clusterOf, until } from "./cluster-houses.ts";
import { ownerIn, viewOf } from "./cluster-view.ts";
import { makeLooks } from "./looks.ts";
import type { RedisParts, SharedRedis } from "./redis.ts";
import { askingAt, makeRedisProcess, type RedisProcess } from "./redis-process.ts";
import { clusterLimits } from "./torture-limits.ts";

/** The fewest that can elect a master when one is gone, each with a replica. */
const mastersCount = 3;
const slotsCount = 16_384;

/** A Redis Cluster of the torture's own. */
export function makeClusterRedis(parts: RedisParts): SharedRedis {
  const { program, folder, random, report } = parts;
  // Whether slots without a master stop the others too is up to the operator.
  const coverage = random.chance(0.5) ? "yes" : "no";
  const settings = {
    "cluster-enabled": "yes",
    "cluster-require-full-coverage": coverage,
    "cluster-node-timeout": `${clusterLimits.nodeTimeoutMs}`,
    "repl-diskless-sync-delay": "0",
  };
  const options = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]);
  const servers = Array.from({ length: 2 * mastersCount }, (_, index) =>
    makeRedisProcess({ program, folder: join(folder, `redis-${index + 1}`), options, report }),
  );
  const cluster = clusterOf(servers);
  return {
    settings: {
      // The engines find the others; no fault takes two servers away.
      REDIS_URL: servers
        .slice(0, 2)
        .map(({ port }) => `127.0.0.1:${port}`)
        .join(),
      REDIS_WAIT_REPLICAS: "1",
    },
    begin: async () => {
      await Promise.all(servers.map(({ begin }) => begin()));
      await unite(servers);
      await cluster.whole();
    },
    stop: async () => {
      await Promise.all(servers.map(({ kill }) => kill()));
    },
    ...makeLooks(async () => {
      const { known } = await Promise.any(servers.map(({ url }) => viewOf(url)));
      return ({ slot }) => `redis://127.0.0.1:${ownerIn(known, slot)}`;
    }),
    faults: makeClusterFaults(cluster, parts),
  };
}

/** Gives each master its share of the slots and a replica, and lets them meet. */
async function unite(servers: readonly RedisProcess[]): Promise<void> {
  const masters = servers.slice(0, mastersCount);
  const ids = await Promise.all(servers.map((server) => told(server, "CLUSTER", "MYID")));
  await Promise.all(
    masters.map(async (server, index) => {
      const at = (share: number): number => Math.round((share * slotsCount) / mastersCount);
      const slots = Array.from(
        { length: at(index + 1) - at(index) },
        (_, slot) => `${at(index) + slot}`,
      );
      await told(server, "CLUSTER", "SET-CONFIG-EPOCH", `${index + 1}`);
      await told(server, "CLUSTER", "ADDSLOTS", ...slots);
    }),
  );
  const [first, ...others] = servers;
  if (first === undefined) return;
  for (const { port } of others) await told(first, "CLUSTER", "MEET", "127.0.0.1", `${port}`);
  await Promise.all(
    servers.map(({ url }) =>
      until("the servers of the Cluster did not meet", async () => {
        const { known } = await viewOf(url);
        return known.length === servers.length && known.every(({ isWell }) => isWell) ? true : null;
      }),
    ),
  );
  const replicas = servers.slice(mastersCount);
  await Promise.all(
    replicas.map((server, index) => told(server, "CLUSTER", "REPLICATE", ids[index] ?? "")),
  );
}

async function told(
  { url }: RedisProcess,
  ...command: readonly [string, ...string[]]
): Promise<string> {
  const { ask, end } = await askingAt(url);
  try {
    return textOf(await ask(...command));
  } finally {
    end();
  }
}
