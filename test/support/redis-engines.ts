import { afterEach, beforeEach } from "bun:test";
import type { RedisOptions, RedisStore } from "../../src/store/redis/redis.ts";
import type { RedisServer } from "./redis-server.ts";
import { openAt, ownPrefix, sharedRedis, urlOf } from "./redis-stores.ts";

/** Stores of several engines on the shared server, in a place of each test's own; closed behind it. */
export function openEngines(): {
  readonly open: (over?: Partial<RedisOptions>) => Promise<RedisStore>;
  readonly redis: RedisServer;
  readonly prefix: string;
} {
  let redis: RedisServer;
  let prefix = "";
  let stores: RedisStore[] = [];
  beforeEach(async () => {
    redis = await sharedRedis();
    prefix = ownPrefix();
    stores = [];
  });
  afterEach(async () => {
    await Promise.all(stores.map((store) => store.close()));
  });
  return {
    open: async (over = {}) => {
      const store = await openAt(urlOf(redis), prefix, over);
      stores.push(store);
      return store;
    },
    get redis() {
      return redis;
    },
    get prefix() {
      return prefix;
    },
  };
}
