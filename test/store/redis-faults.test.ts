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
import { type Clock, systemClock } from "../../src/clock.ts";
import { redisLimits } from "../../src/limits.ts";
import { makeShards } from "../../src/store/redis/shards.ts";
import type { RedisStore } from "../../src/store/redis/redis.ts";
import { born, logged, said } from "../support/events.ts";
import { makeCertificate } from "../support/certificate.ts";
import { faultOf, served } from "../support/redis-faults.ts";
import { openProxy, type RedisProxy } from "../support/redis-proxy.ts";
import { freePort, type RedisServer, startRedis, syncing } from "../support/redis-server.ts";
import { openAt, ownPrefix, urlOf } from "../support/redis-stores.ts";
import { codeIs } from "../support/store-contract.ts";
import { appendOf, appendTo, creationOf, readAll } from "../support/stores.ts";

setDefaultTimeout(60_000);

const first = logged([born()]);
const unavailable = codeIs("unavailable");

let redis: RedisServer;
beforeAll(async () => {
  redis = await startRedis(...syncing);
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
describe("a Redis that answers", () => {
  test("is not taken for gone by an engine that was halted itself", async () => {
    let haltedMs = 0;
    const waits = new Set<() => void>();
    const clock: Clock = {
      nowMs: () => systemClock.nowMs(),
      monotonicMs: () => systemClock.monotonicMs() + haltedMs,
      after: (delayMs, fn) => {
        if (delayMs !== redisLimits.replyMs) return systemClock.after(delayMs, fn);
        waits.add(fn);
        return () => void waits.delete(fn);
      },
    };
    const store = await open(urlOf(redis), { clock });
    await store.create(creationOf("a", [born()], { wakeAtMs: 70 }));
    redis.signal("SIGSTOP");
    const asked = store.row("a", 0);
    await Bun.sleep(0);
    // It goes on: the end of its wait is the first that it finds.
    haltedMs = 2 * redisLimits.replyMs;
    expect(waits.size).toBeGreaterThan(0);
    for (const end of waits) end();
    redis.signal("SIGCONT");
    expect((await asked)?.agentId).toBe("a");
  });
});
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
    // Told while it is away, or when it is back: both are a reason to look.
    store.follow("a", resolve);
    await redis.start();
    await promise;
    await served(store);
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

test("a Redis that became a replica is left for the master behind the same name", async () => {
  const promoted = await startRedis("--replicaof", "127.0.0.1", `${redis.port}`);
  const proxy = await openProxy(redis.port);
  try {
    const store = await open(`127.0.0.1:${proxy.port}`);
    await store.create(creationOf("a", [born()]));
    const { agent } = makeShards(prefix).of("a");
    while (promoted.cli("exists", agent("a")) !== "1") await Bun.sleep(20);
    promoted.cli("replicaof", "no", "one");
    redis.cli("replicaof", "127.0.0.1", "1");
    proxy.lead(promoted.port);
    await served(store);
    await appendTo(store, "a", [said("x")]);
    expect(promoted.cli("xlen", makeShards(prefix).of("a").log("a"))).toBe("2");
  } finally {
    redis.cli("replicaof", "no", "one");
    proxy.close();
    await promoted.stop();
  }
});

test("a user who may not ask for INFO is served, with a warning", async () => {
  redis.cli("acl", "setuser", "narrow", "on", ">pw", "~*", "&*", "+@all", "-info");
  const store = await open(`redis://narrow:pw@${urlOf(redis)}`);
  await store.create(creationOf("a", [born()]));
  expect(await store.warnings()).toMatchObject([expect.stringContaining("INFO")]);
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
    const warnings = (await store.warnings()).join("\n");
    expect(warnings).toContain("maxmemory-policy allkeys-lru");
    expect(warnings).toContain("appendonly no");
    careless.cli("config", "set", "maxmemory-policy", "noeviction");
    expect(await store.warnings()).toHaveLength(1);
    expect(await (await open()).warnings()).toEqual([]);
  } finally {
    await careless.stop();
  }
});

test("rediss:// is spoken with the authority that was named, and with no other", async () => {
  const { certPath, keyPath } = makeCertificate();
  const tls = ["--tls-cert-file", certPath, "--tls-key-file", keyPath, "--tls-auth-clients", "no"];
  const port = await freePort();
  const secret = "a secret/with:signs@";
  const server = await startRedis("--tls-port", `${port}`, ...tls, "--requirepass", secret);
  try {
    const url = `rediss://:${encodeURIComponent(secret)}@localhost:${port}/3`;
    const store = await open(url, { ca: await Bun.file(certPath).text() });
    await store.create(creationOf("a", [born()]));
    expect(server.cli("-a", secret, "-n", "3", "dbsize")).not.toBe("0");
    const strange = await open(url);
    expect((await faultOf(strange.row("a", 0))).message).toContain("cannot be reached");
    const fault = await faultOf(
      open(`rediss://localhost:${port}`, { ca: await Bun.file(certPath).text() }),
    );
    expect(fault.message).toContain("wants a password");
  } finally {
    await server.stop();
  }
});
