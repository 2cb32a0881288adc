import {
  afterAll,
  afterEach,
  beforeAll,
  beforeEach,
  expect,
  describe,
  setDefaultTimeout,
  test,
} from "bun:test";
import { makeShards } from "../../src/store/redis/shards.ts";
import type { RedisStore } from "../../src/store/redis/redis.ts";
import { born, logged, said } from "../support/events.ts";
import { faultOf, served } from "../support/redis-faults.ts";
import { type RedisServer, startCluster, startRedis, syncing } from "../support/redis-server.ts";
import { openAt, ownPrefix, sharedRedis, urlOf } from "../support/redis-stores.ts";
import { appendTo, creationOf, readAll } from "../support/stores.ts";

setDefaultTimeout(60_000);

const first = logged([born()]);
const ids = Array.from({ length: 24 }, (_, n) => `a${n}`);

let stores: RedisStore[];
let prefix: string;
beforeEach(() => {
  stores = [];
  prefix = ownPrefix();
});
afterEach(async () => {
  await Promise.all(stores.map((store) => store.close()));
});
const open = async (url: string, over: Parameters<typeof openAt>[2] = {}): Promise<RedisStore> => {
  const store = await openAt(url, prefix, over);
  stores.push(store);
  return store;
};

describe("replicas that have to confirm", () => {
  test("are waited for; without them a write is unavailable and its outcome unknown", async () => {
    const redis = await sharedRedis();
    const replica = await startRedis("--replicaof", "127.0.0.1", `${redis.port}`);
    try {
      while (!replica.cli("info", "replication").includes("master_link_status:up"))
        await Bun.sleep(20);
      const store = await open(urlOf(redis), { replicas: 1 });
      await store.create(creationOf("a", [born()]));
      expect(replica.cli("exists", makeShards(prefix).of("a").agent("a"))).toBe("1");
      await replica.kill();
      const { promise: told, resolve } = Promise.withResolvers<void>();
      store.follow("a", resolve);
      const fault = await faultOf(appendTo(store, "a", [said("x")]));
      expect(fault.code).toBe("unavailable");
      expect(fault.message).toContain("REDIS_WAIT_REPLICAS");
      await told;
      expect(await readAll(store, "a")).toHaveLength(2);
    } finally {
      await replica.stop();
    }
  });
});

describe("a Cluster", () => {
  let cluster: readonly RedisServer[];
  beforeAll(async () => {
    cluster = await startCluster(1, ...syncing);
  });
  afterAll(async () => {
    await Promise.all(cluster.map(({ stop }) => stop()));
  });
  test("that moves slots is followed", async () => {
    const store = await open(urlOf(...cluster.slice(0, 2)));
    for (const agentId of ids) await store.create(creationOf(agentId, [born()]));
    const nodes = cluster.slice(0, 3).map((server) => server.cli("cluster", "myid"));
    const at = `127.0.0.1:${cluster[0]!.port}`;
    const ends = ["--cluster-from", nodes[0]!, "--cluster-to", nodes[1]!];
    const how = ["--cluster-slots", "3000", "--cluster-yes"];
    cluster[0]!.cli("--cluster", "reshard", at, ...ends, ...how);
    for (const agentId of ids) await appendTo(store, agentId, [said("x")]);
    expect(await store.list({ status: null, limit: 99, beforeAgentId: null }, 0)).toHaveLength(24);
    const other = await open(urlOf(...cluster.slice(0, 2)));
    const told = ids.map((agentId) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      store.follow(agentId, resolve);
      return promise;
    });
    for (const agentId of ids) await appendTo(other, agentId, [said("y")]);
    await Promise.all(told);
  });
  test("that loses a master goes on with its replica", async () => {
    const careful = await open(urlOf(...cluster), { replicas: 1 });
    for (const agentId of ids) await careful.create(creationOf(agentId, [born()]));
    const store = await open(urlOf(...cluster));
    await cluster[2]!.kill();
    await served(store);
    for (const agentId of ids) {
      expect(await readAll(store, agentId)).toEqual([...first]);
      await appendTo(store, agentId, [said("x")]);
    }
  });
});

test("a Cluster's server that is away keeps its own agents, and the others' work goes on", async () => {
  const cluster = await startCluster(0, ...syncing, "--cluster-require-full-coverage", "no");
  try {
    const store = await open(urlOf(...cluster));
    for (const agentId of ids)
      await store.create(creationOf(agentId, [born()], { wakeAtMs: Number(agentId.slice(1)) }));
    await cluster[1]!.kill();
    const taken = await store.claim({ worker: "w", untilMs: 900 }, 500, 99);
    expect(taken.length).toBeGreaterThan(0);
    expect(taken.length).toBeLessThan(ids.length);
    for (const { agentId } of taken) await appendTo(store, agentId, [said("x")], { atMs: 500 });
    expect(await store.nextWakeMs()).toBe(900);
    // A list that leaves some out is none.
    const list = store.list({ status: null, limit: 99, beforeAgentId: null }, 0);
    expect((await faultOf(list)).code).toBe("unavailable");
    const hinted = Promise.withResolvers<void>();
    store.followWakes(hinted.resolve);
    await cluster[1]!.start();
    await hinted.promise;
    await served(store);
    const rest = await store.claim({ worker: "w", untilMs: 900 }, 500, 99);
    const all = [...taken, ...rest].map(({ agentId }) => agentId);
    expect(all.toSorted()).toEqual(ids.toSorted());
  } finally {
    await Promise.all(cluster.map(({ stop }) => stop()));
  }
});
