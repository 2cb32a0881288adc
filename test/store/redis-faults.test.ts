import {
  afterAll,
  afterEach,
  beforeAll,
  beforeEach,
  describe,
  expect,
  setDefaultTimeout,
  test,
} from "bun:test";
import { EngramError } from "../../src/errors.ts";
import { redisLimits } from "../../src/limits.ts";
import { makeShards } from "../../src/store/redis-shards.ts";
import type { RedisStore } from "../../src/store/redis.ts";
import { born, logged, said } from "../support/events.ts";
import { openProxy, type RedisProxy } from "../support/redis-proxy.ts";
import { type RedisServer, startCluster, startRedis } from "../support/redis-server.ts";
import { openAt, ownPrefix, urlOf } from "../support/redis-stores.ts";
import { codeIs } from "../support/store-contract.ts";
import { appendOf, appendTo, creationOf, readAll } from "../support/stores.ts";

setDefaultTimeout(60_000);

const first = logged([born()]);
const unavailable = codeIs("unavailable");

let redis: RedisServer;
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.stop());

let stores: RedisStore[];
let prefix: string;
beforeEach(() => {
  stores = [];
  prefix = ownPrefix();
});
afterEach(async () => {
  await Promise.all(stores.map((store) => store.close()));
});
const open = async (
  url = urlOf(redis),
  over: Parameters<typeof openAt>[2] = {},
): Promise<RedisStore> => {
  const store = await openAt(url, prefix, over);
  stores.push(store);
  return store;
};
/** What it fails with, and after how long. */
const faultOf = async (call: Promise<unknown>): Promise<EngramError & { afterMs: number }> => {
  const startMs = performance.now();
  try {
    await call;
  } catch (error) {
    if (error instanceof EngramError)
      return Object.assign(error, { afterMs: performance.now() - startMs });
    throw error;
  }
  throw new Error("it did not fail");
};
/** Resolves when the store is served again. */
const served = async (store: RedisStore): Promise<void> => {
  for (;;)
    try {
      return await store.probe();
    } catch {
      await Bun.sleep(20);
    }
};

describe("a Redis that is killed", () => {
  test("makes the store unavailable at once, and has everything when it is back", async () => {
    const store = await open();
    await store.create(creationOf("a", [born()], { wakeAtMs: 70 }));
    await redis.kill();
    for (const call of [
      () => store.row("a", 0),
      () => appendTo(store, "a", [said("lost")]),
      () => store.claim({ worker: "w", untilMs: 9 }, 1, 1),
      () => store.probe(),
    ]) {
      const fault = await faultOf(call());
      expect(fault).toMatchObject({ code: "unavailable", transient: true });
    }
    await redis.start();
    await served(store);
    expect(await readAll(store, "a")).toEqual([...first]);
    expect(await store.nextWakeMs()).toBe(70);
    await appendTo(store, "a", [said("kept")]);
  });
  test("has not to be there when the store is opened", async () => {
    await redis.kill();
    const lines: string[] = [];
    const store = await open(urlOf(redis), {
      log: (level, message) => lines.push(`${level} ${message}`),
    });
    expect((await faultOf(store.row("a", 0))).message).toContain("cannot be reached");
    expect(lines).toContain("warn the store is unavailable");
    await redis.start();
    await served(store);
    await store.create(creationOf("a", [born()]));
    expect(lines).toContain("info Redis serves the store again");
  });
  test("tells followers to look when it is back", async () => {
    const store = await open();
    await store.create(creationOf("a", [born()]));
    await redis.kill();
    const { promise, resolve } = Promise.withResolvers<void>();
    await redis.start();
    store.follow("a", resolve);
    await promise;
  });
});

describe("a way to Redis that is cut", () => {
  let proxy: RedisProxy;
  beforeEach(async () => {
    proxy = await openProxy(redis.port);
  });
  afterEach(() => proxy.close());

  test("silently: nothing waits longer than for one answer, and it goes on when it is healed", async () => {
    const store = await open(`127.0.0.1:${proxy.port}`);
    await store.create(creationOf("a", [born()]));
    proxy.swallow();
    const fault = await faultOf(store.append(appendOf("a", first, [said("x")])));
    expect(fault.code).toBe("unavailable");
    expect(fault.message).toContain("may have been done or not");
    expect(fault.afterMs).toBeLessThan(redisLimits.replyMs + 2_000);
    // From then on it is known.
    const next = await faultOf(store.row("a", 0));
    expect(next.afterMs).toBeLessThan(redisLimits.replyMs / 2);
    proxy.heal();
    await served(store);
    expect(await readAll(store, "a")).toEqual([...first]);
  });
  test("before an answer: what was written is found by looking, and is not written twice", async () => {
    const store = await open(`127.0.0.1:${proxy.port}`);
    await store.create(creationOf("a", [born()]));
    // Redis knows the script by now: the answer that is lost is the append's.
    await store.append(appendOf("a", first, [said("before")]));
    const append = appendOf("a", await readAll(store, "a"), [said("once")]);
    proxy.cutNextAnswer();
    const fault = await faultOf(store.append(append));
    expect(fault.message).toContain("may have been done or not");
    await served(store);
    expect(await store.read("a", 2)).toMatchObject([{ event: said("once") }]);
    await expect(store.append(append)).rejects.toEqual(codeIs("conflict"));
    expect(await readAll(store, "a")).toHaveLength(3);
  });
});

describe("a Redis that halts", () => {
  test("does not hold its callers for longer than an answer may take", async () => {
    const store = await open();
    await store.create(creationOf("a", [born()]));
    redis.signal("SIGSTOP");
    try {
      expect((await faultOf(store.row("a", 0))).code).toBe("unavailable");
      const again = await faultOf(store.row("a", 0));
      expect(again.afterMs).toBeLessThan(redisLimits.replyMs / 2);
    } finally {
      redis.signal("SIGCONT");
    }
    await served(store);
    expect(await readAll(store, "a")).toEqual([...first]);
  });
});

describe("a Redis that takes no writes", () => {
  afterEach(() => {
    redis.cli("config", "set", "maxmemory", "0");
    redis.cli("config", "set", "min-replicas-to-write", "0");
    redis.cli("replicaof", "no", "one");
  });
  const refusals = [
    ["for want of memory", ["config", "set", "maxmemory", "1"], "raise maxmemory"],
    ["for want of replicas", ["config", "set", "min-replicas-to-write", "1"], "replicas"],
    ["as a replica", ["replicaof", "127.0.0.1", "1"], "it is a replica"],
  ] as const;
  test.each(refusals)(
    "%s: is unavailable and says why, and keeps all as it was",
    async (_, command, advice) => {
      const store = await open();
      await store.create(creationOf("a", [born()], { wakeAtMs: 5 }));
      redis.cli(...command);
      const calls = [
        store.append(appendOf("a", first, [said("x")])),
        store.create(creationOf("b", [born()], { request: { requestId: "r", digest: "d" } })),
        store.claim({ worker: "w", untilMs: 9 }, 5, 1),
        store.probe(),
      ];
      for (const fault of await Promise.all(calls.map(faultOf))) {
        expect(fault.code).toBe("unavailable");
        expect(fault.message).toContain(advice);
      }
      expect(await readAll(store, "a")).toEqual([...first]);
      expect(await store.nextWakeMs()).toBe(5);
      expect(await store.row("b", 0)).toBeNull();
      if (command[0] === "replicaof") return;
      redis.cli("config", "set", command[2], "0");
      await appendTo(store, "a", [said("x")]);
      const made = await store.create(
        creationOf("c", [born()], { request: { requestId: "r", digest: "d" } }),
      );
      expect(made).toMatchObject({ created: true });
    },
  );
  test("for want of memory lets agents be deleted", async () => {
    const store = await open();
    await store.create(creationOf("a", [born()]));
    redis.cli("config", "set", "maxmemory", "1");
    await store.remove("a", 1, true);
    expect(await store.row("a", 0)).toBeNull();
  });
});

test("a Redis that has forgotten the scripts is given them again", async () => {
  const store = await open();
  await store.create(creationOf("a", [born()]));
  redis.cli("script", "flush");
  await appendTo(store, "a", [said("x")]);
  expect(await readAll(store, "a")).toHaveLength(2);
});

describe("a store that was emptied", () => {
  test("is noticed and left alone until an engine begins anew", async () => {
    const store = await open();
    await store.create(creationOf("a", [born()]));
    redis.cli("flushall");
    const { promise, resolve } = Promise.withResolvers<void>();
    const stop = setInterval(() => {
      store.row("a", 0).catch((error: unknown) => {
        expect(error).toEqual(unavailable);
        resolve();
      });
    }, 20);
    await promise;
    clearInterval(stop);
    const fault = await faultOf(store.create(creationOf("b", [born()])));
    expect(fault.message).toContain("was emptied");
    expect((await faultOf(store.probe())).message).toContain("was emptied");
    const anew = await open();
    await anew.create(creationOf("c", [born()]));
    expect(await anew.row("b", 0)).toBeNull();
    expect((await faultOf(store.row("c", 0))).code).toBe("unavailable");
  });
  test("by a restart without its data is not written to", async () => {
    const forgetful = await startRedis("--appendonly", "no");
    try {
      const store = await open(urlOf(forgetful));
      await store.create(creationOf("a", [born()]));
      await forgetful.kill();
      await forgetful.start();
      const { promise, resolve } = Promise.withResolvers<string>();
      const stop = setInterval(() => {
        void faultOf(store.create(creationOf("b", [born()]))).then(({ message }) => {
          if (message.includes("was emptied")) resolve(message);
          return null;
        }, resolve);
      }, 20);
      expect(await promise).toContain("was emptied");
      clearInterval(stop);
      expect(forgetful.cli("dbsize")).toBe("0");
    } finally {
      await forgetful.stop();
    }
  });
  test("in part is refused", async () => {
    const store = await open();
    await store.close();
    const shards = makeShards(prefix);
    redis.cli("del", shards.all[7]!.store);
    expect((await faultOf(open())).code).toBe("corrupt");
  });
});

describe("what an engine does not open", () => {
  test("is a store of a newer format", async () => {
    await (await open()).close();
    redis.cli("hset", makeShards(prefix).first.store, "format", "2");
    const fault = await faultOf(open());
    expect(fault.code).toBe("failed_precondition");
    expect(fault.message).toContain("start a newer engine");
  });
  test("is a Redis that refuses its password", async () => {
    const fault = await faultOf(open(`redis://nobody:wrong-secret@127.0.0.1:${redis.port}`));
    expect(fault.code).toBe("failed_precondition");
    expect(fault.message).toContain("password in REDIS_URL");
    expect(fault.message).not.toContain("wrong-secret");
  });
  test("is one Redis that is taken for a Cluster", async () => {
    const fault = await faultOf(open(`${urlOf(redis)},${urlOf(redis)}`));
    expect(fault.code).toBe("failed_precondition");
    expect(fault.message).toContain("belongs to none");
  });
});

test("what may lose agents is said: an eviction policy, and no persistence", async () => {
  const careless = await startRedis("--appendonly", "no", "--maxmemory-policy", "allkeys-lru");
  try {
    const store = await open(urlOf(careless));
    const warnings = store.warnings().join("\n");
    expect(warnings).toContain("maxmemory-policy allkeys-lru");
    expect(warnings).toContain("appendonly no");
    expect((await open()).warnings()).toEqual([]);
  } finally {
    await careless.stop();
  }
});

describe("replicas that have to confirm", () => {
  test("are waited for; without them a write is unavailable and its outcome unknown", async () => {
    const replica = await startRedis("--replicaof", "127.0.0.1", `${redis.port}`);
    try {
      while (!replica.cli("info", "replication").includes("master_link_status:up"))
        await Bun.sleep(20);
      const store = await open(urlOf(redis), { replicas: 1 });
      await store.create(creationOf("a", [born()]));
      expect(replica.cli("exists", makeShards(prefix).of("a").agent("a"))).toBe("1");
      await replica.kill();
      const fault = await faultOf(appendTo(store, "a", [said("x")]));
      expect(fault.code).toBe("unavailable");
      expect(fault.message).toContain("REDIS_WAIT_REPLICAS");
      expect(await readAll(store, "a")).toHaveLength(2);
    } finally {
      await replica.stop();
    }
  });
});

describe("a Cluster", () => {
  let cluster: readonly RedisServer[];
  beforeAll(async () => {
    cluster = await startCluster(1);
  });
  afterAll(async () => {
    await Promise.all(cluster.map(({ stop }) => stop()));
  });
  const ids = Array.from({ length: 24 }, (_, n) => `a${n}`);

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
