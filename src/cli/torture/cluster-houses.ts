import { EngramError } from "../../errors.ts";
import { type Known, pairsIn, type View, viewOf } from "./cluster-view.ts";
import type { RedisProcess } from "./redis-process.ts";
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

/** Of servers that have met. */
export function clusterOf(servers: readonly RedisProcess[]): Cluster {
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
export async function until<T>(
  otherwise: string,
  look: () => Promise<T | null | undefined>,
): Promise<T> {
  const deadlineMs = performance.now() + clusterLimits.wholeMs;
  for (;;) {
    const found = await look().catch(() => null);
    if (found !== null && found !== undefined) return found;
    if (performance.now() > deadlineMs) throw new EngramError("unavailable", otherwise);
    await Bun.sleep(fleetLimits.lookMs);
  }
}
