import type { Clock } from "../../../clock.ts";
import { redisLimits } from "../../../limits.ts";
import type { RedisPlace } from "../address.ts";
import { isRefusal, redisFault } from "../faults.ts";
import { openFleet } from "../fleet.ts";
import { makeServers } from "../servers.ts";
import { makeShards, type Shard, type Shards } from "../shards.ts";

/** Where a store on Redis is that is only read. */
export type ReaderOptions = {
  readonly place: RedisPlace;
  /** PEM; null: the system's authorities. */
  readonly ca: string | null;
  readonly prefix: string;
  readonly clock: Clock;
};

/** Reads what engines keep in Redis, without being one: nothing is written, and nobody is told. Whoever opened it closes it. */
export interface Reader {
  readonly shards: Shards;
  /** A plain command that reads; commands of one shard that are asked at once follow each other there. Fails with unavailable where Redis is away for longer than `openMs`. */
  ask(shard: Shard, ...command: readonly [string, ...string[]]): Promise<unknown>;
  close(): void;
}

export function openReader({ place, ca, prefix, clock }: ReaderOptions): Reader {
  const shards = makeShards(prefix);
  let news = Promise.withResolvers<void>();
  const fleet = openFleet({
    place,
    access: { ...place, ca },
    shards,
    clock,
    check: async () => {},
    changed: () => {
      news.resolve();
      news = Promise.withResolvers();
    },
  });
  const servers = makeServers(fleet, 0, clock);
  /** Until a connection comes or goes; what a server answers with may pass by itself. */
  const change = async (): Promise<void> => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const cancel = clock.after(redisLimits.reconnectMsFirst, resolve);
    await Promise.race([promise, news.promise]);
    cancel();
    // A replica is a replica: only a Cluster is asked who has what.
    if (place.addresses.length > 1) await fleet.refresh();
  };
  return {
    shards,
    ask: async (shard, ...command) => {
      const deadlineMs = clock.monotonicMs() + redisLimits.openMs;
      for (;;)
        try {
          return await servers.send(shard, command);
        } catch (error) {
          const fault = redisFault(error);
          const passes = fault.code === "unavailable" && !isRefusal(fault);
          if (!passes || clock.monotonicMs() >= deadlineMs) throw fault;
          await change();
        }
    },
    close: fleet.close,
  };
}
