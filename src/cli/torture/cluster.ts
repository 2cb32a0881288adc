import { join } from "node:path";
import { EngramError } from "../../errors.ts";
import { textOf } from "../../store/redis/values.ts";
import { makeClusterFaults } from "./cluster-faults.ts";
import { type Known, ownerIn, pairsIn, type View, viewOf } from "./cluster-view.ts";
import { makeLooks } from "./looks.ts";
import type { RedisParts, SharedRedis } from "./redis.ts";
import { askingAt, makeRedisProcess, type RedisProcess } from "./redis-process.ts";
import { clusterLimits, fleetLimits } from "./torture-limits.ts";

export type ClusterNode = RedisProcess & Known;

/** A master and the replica that stands by. */
export type House = { readonly master: ClusterNode; readonly replica: ClusterNode };

/** What a Redis Cluster comes to again and again. */
export type Cluster = {
  /** Every server is there, all say the same, and each master has a replica that has all it had when this was asked. */
  whole(): Promise<readonly House[]>;
  /** This replica has become a master, and serves all slots with the others. */
  promoted(replica: RedisProcess): Promise<void>;
};

/** The fewest that can elect a master when one is gone, each with a replica. */
const mastersCount = 3;
const slotsCount = 16_384;

/** A Redis Cluster of the torture's own. */
export function makeClusterRedis(parts: RedisParts): SharedRedis {
  const { program, folder, random, report } = parts;
  // Whether slots without a master stop the others too is up to the operator.
  const coverage = random.chance(0.5) ? "yes" : "no";
  const options = [
    ...["--cluster-enabled", "yes", "--cluster-require-full-coverage", coverage],
    ...["--cluster-node-timeout", `${clusterLimits.nodeTimeoutMs}`],
    ...["--repl-diskless-sync-delay", "0"],
  ];
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

function clusterOf(servers: readonly RedisProcess[]): Cluster {
  const views = (): Promise<readonly View[]> => Promise.all(servers.map(({ url }) => viewOf(url)));
  const nodeOf = (known: Known): ClusterNode => {
    const server = servers.find(({ port }) => port === known.port);
    if (server === undefined) throw new Error(`no server at port ${known.port}`);
    return { ...server, ...known };
  };
  return {
    whole: async () => {
      const houses = await until("the Cluster did not become whole again", async () =>
        pairsIn(await views())?.map(({ master, replica }) => ({
          master: nodeOf(master),
          replica: nodeOf(replica),
        })),
      );
      await Promise.all(
        houses.map(async ({ master, replica }) => {
          const { offset } = await viewOf(master.url);
          await until("a replica did not catch up with its master", async () => {
            const view = await viewOf(replica.url);
            return view.isFollowing && view.offset >= offset ? true : null;
          });
        }),
      );
      return houses;
    },
    promoted: async ({ url, port }) => {
      await until("no replica took over", async () => {
        const { isServing, known } = await viewOf(url);
        const isMaster = known.some((node) => node.port === port && node.masterId === null);
        return isServing && isMaster ? true : null;
      });
    },
  };
}

/** Looks until there is something; who does not answer just now is asked again. */
async function until<T>(otherwise: string, look: () => Promise<T | null | undefined>): Promise<T> {
  const deadlineMs = performance.now() + clusterLimits.wholeMs;
  for (;;) {
    const found = await look().catch(() => null);
    if (found !== null && found !== undefined) return found;
    if (performance.now() > deadlineMs) throw new EngramError("unavailable", otherwise);
    await Bun.sleep(fleetLimits.lookMs);
  }
}
