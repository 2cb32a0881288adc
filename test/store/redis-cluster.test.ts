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
import { openAt, ownPrefix, urlOf } from "../support/redis-stores.ts";
import { appendOf, appendTo, creationOf, readAll } from "../support/stores.ts";

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

/** Resolves when a replica has what its master has. */
const inStep = async (replica: RedisServer): Promise<void> => {
  while (!replica.cli("info", "replication").includes("master_link_status:up")) await Bun.sleep(20);
};

describe("replicas that have to confirm", () => {
  let redis: RedisServer;
  let replica: RedisServer;
  beforeEach(async () => {
    redis = await startRedis();
    replica = await startRedis("--replicaof", "127.0.0.1", `${redis.port}`);
    await inStep(replica);
  });
  afterEach(async () => {
    await Promise.all([redis.stop(), replica.stop()]);
  });

  test("are waited for; without them a write is unavailable and its outcome unknown", async () => {
    const store = await open(urlOf(redis), { replicas: 1 });
    await store.create(creationOf("a", [born()]));
    expect(replica.cli("exists", makeShards(prefix).of("a").agent("a"))).toBe("1");
    await replica.kill();
    const { promise: told, resolve } = Promise.withResolvers<void>();
    store.follow("a", resolve);
    const fault = await faultOf(store.append(appendOf("a", first, [said("x")])));
    expect(fault.code).toBe("unavailable");
    expect(fault.message).toContain("REDIS_WAIT_REPLICAS");
    await told;
    await replica.start();
    await served(store);
    expect(await readAll(store, "a")).toHaveLength(2);
  });
  test("have what is read too: nobody is shown what may be lost yet", async () => {
    const writer = await open(urlOf(redis), { replicas: 1 });
    const reader = await open(urlOf(redis), { replicas: 1 });
    await writer.create(creationOf("a", [born()]));
    replica.signal("SIGSTOP");
    expect((await faultOf(writer.append(appendOf("a", first, [said("x")])))).code).toBe(
      "unavailable",
    );
    const looks: readonly (() => Promise<unknown>)[] = [
      () => reader.read("a", 0),
      () => reader.row("a", 0),
      // By which a repetition would be acknowledged.
      () => reader.marks("a", ["m"]),
      () => reader.readDraft("a", 0),
    ];
    for (const look of looks) expect((await faultOf(look())).code).toBe("unavailable");
    replica.signal("SIGCONT");
    await served(reader);
    for (const look of looks) await look();
    expect(await readAll(reader, "a")).toHaveLength(2);
  });
  test("may take their master's place meanwhile: that is nobody's mistake", async () => {
    const store = await open(urlOf(redis), { replicas: 1 });
    await store.create(creationOf("a", [born()]));
    replica.signal("SIGSTOP");
    const written = faultOf(store.append(appendOf("a", first, [said("x")])));
    while (!redis.cli("info", "clients").includes("blocked_clients:1")) await Bun.sleep(1);
    redis.cli("replicaof", "127.0.0.1", `${replica.port}`);
    expect((await written).code).toBe("unavailable");
    expect((await faultOf(store.row("a", 0))).code).toBe("unavailable");
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
  test("that has a slot on its way is waited for", async () => {
    const store = await open(urlOf(...cluster.slice(0, 2)));
    const [agentId = ""] = ids;
    await store.create(creationOf(agentId, [born()]));
    const shard = makeShards(prefix).of(agentId);
    const slot = `${shard.slot}`;
    const masters = cluster.slice(0, 3);
    const has = ({ cli }: RedisServer): boolean => cli("cluster", "countkeysinslot", slot) !== "0";
    const from = masters.find(has)!;
    const to = masters.find((server) => server !== from)!;
    const [fromId, toId] = [from, to].map(({ cli }) => cli("cluster", "myid"));
    const move = (...keys: readonly string[]): string =>
      from.cli("migrate", "127.0.0.1", `${to.port}`, "", "0", "5000", "keys", ...keys);
    to.cli("cluster", "setslot", slot, "importing", fromId!);
    from.cli("cluster", "setslot", slot, "migrating", toId!);
    move(shard.agent(agentId));
    const appended = store.append(appendOf(agentId, first, [said("x")]));
    while (!from.cli("info", "errorstats").includes("TRYAGAIN")) await Bun.sleep(1);
    move(...from.cli("cluster", "getkeysinslot", slot, "99").split("\n"));
    for (const server of [to, from]) server.cli("cluster", "setslot", slot, "node", toId!);
    await appended;
    expect(await readAll(store, agentId)).toHaveLength(2);
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
