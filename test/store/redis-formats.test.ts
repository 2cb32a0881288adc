import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { fold } from "../../src/agent/fold.ts";
import { type Clock, systemClock } from "../../src/clock.ts";
import { redisLimits } from "../../src/limits.ts";
import { encodeState, snapshotHash } from "../../src/store/codec.ts";
import type { Formats } from "../../src/store/redis/formats.ts";
import type { RedisOptions, RedisStore } from "../../src/store/redis/redis.ts";
import { makeShards, type Shard } from "../../src/store/redis/shards.ts";
import { born, callAfter, said } from "../support/events.ts";
import { faultOf } from "../support/redis-faults.ts";
import type { RedisServer } from "../support/redis-server.ts";
import { openAt, ownPrefix, sharedRedis, urlOf } from "../support/redis-stores.ts";
import { appendTo, creationOf, readAll } from "../support/stores.ts";

/** What holds of engines of two versions that share a Redis. */

const old: Formats = { oldest: 1, newest: 1 };
const next: Formats = { oldest: 1, newest: 2 };

let redis: RedisServer;
let prefix: string;
let first: Shard;
let stores: RedisStore[];
beforeEach(async () => {
  redis = await sharedRedis();
  prefix = ownPrefix();
  ({ first } = makeShards(prefix));
  stores = [];
});
afterEach(async () => {
  await Promise.all(stores.map((store) => store.close()));
});

/** A clock whose heartbeat comes when it is called for, and is over when that resolves. */
function heldClock() {
  let due = Promise.withResolvers<() => void>();
  const after: Clock["after"] = (delayMs, fn) => {
    if (delayMs !== redisLimits.heartbeatMs) return systemClock.after(delayMs, fn);
    due.resolve(fn);
    return () => {};
  };
  return {
    clock: { ...systemClock, after },
    beat: async (): Promise<void> => {
      const fn = await due.promise;
      due = Promise.withResolvers();
      fn();
      await due.promise;
    },
  };
}

type Engine = { readonly store: RedisStore; readonly worker: string; beat(): Promise<void> };

/** An engine's store: it tells of itself as it opens, and then at each `beat`. */
const join = async (formats: Formats, over: Partial<RedisOptions> = {}): Promise<Engine> => {
  const { clock, beat } = heldClock();
  const worker = crypto.randomUUID();
  const store = await openAt(urlOf(redis), prefix, { clock, worker, ...over }, formats);
  stores.push(store);
  return { store, worker, beat };
};
const formatNow = (): string => redis.cli("hget", first.store, "format");
const isMember = ({ worker }: Engine): boolean =>
  redis.cli("hexists", first.members, worker) === "1";
/** As if it had been silent for so long. */
const silence = ({ worker }: Engine): void =>
  void redis.cli("hset", first.members, worker, "1 1 1");
/** An id whose agent is in another shard than that of `agentId`. */
const elsewhere = (agentId: string): string => {
  const shards = makeShards(prefix);
  for (let n = 0; ; n++) if (shards.of(`b${n}`) !== shards.of(agentId)) return `b${n}`;
};

describe("the format of a store", () => {
  test("is the newest that its first engine knows", async () => {
    await join(next);
    expect(formatNow()).toBe("2");
  });
  test("is raised when the last engine has gone that does not know a newer one", async () => {
    const [one, other] = [await join(old), await join(old)];
    const heir = await join(next);
    await heir.beat();
    expect(formatNow()).toBe("1");
    await one.store.close();
    await heir.beat();
    expect(formatNow()).toBe("1");
    await other.store.close();
    await heir.beat();
    expect(formatNow()).toBe("2");
    expect(isMember(one)).toBe(false);
    expect(isMember(heir)).toBe(true);
  });
  test("is not raised beside an engine that tells of its tools and of no formats", async () => {
    await (await join(old)).store.close();
    redis.cli("hset", first.peers, "w", `${Date.now() + 60_000} {}`);
    const heir = await join(next);
    await heir.beat();
    expect(formatNow()).toBe("1");
    redis.cli("hset", first.peers, "w", "1 {}");
    await heir.beat();
    expect(formatNow()).toBe("2");
  });
  test("is raised without an engine that has been silent for too long", async () => {
    const gone = await join(old);
    const heir = await join(next);
    silence(gone);
    await heir.beat();
    expect(formatNow()).toBe("2");
    expect(isMember(gone)).toBe(false);
  });
  test("is not raised while silence says nothing, since nobody could be heard", async () => {
    const quiet = await join(old);
    const heir = await join(next);
    silence(quiet);
    const agoMs = heir.store.nowMs() - redisLimits.memberMs;
    redis.cli("hset", first.store, "seen", `${agoMs}`);
    await heir.beat();
    await heir.beat();
    expect(formatNow()).toBe("1");
    await quiet.beat();
    redis.cli("hset", first.store, "settled", "1");
    await heir.beat();
    expect(formatNow()).toBe("1");
    await quiet.store.close();
    await heir.beat();
    expect(formatNow()).toBe("2");
  });
  test("is not lowered, though a server lost the newer one", async () => {
    const { store, beat } = await join(next);
    redis.cli("hset", first.store, "format", "1");
    redis.cli("hset", first.members, "other", `${store.nowMs() + 60_000} 1 1`);
    await beat();
    expect(formatNow()).toBe("2");
  });
});

describe("an engine that knows the newer format", () => {
  test("learns of it by the first shard in which it is used, and its call is answered", async () => {
    await (await join(old)).store.close();
    const gone = await join(old);
    const [one, other] = [await join(next), await join(next)];
    await gone.store.close();
    await one.beat();
    await one.store.create(creationOf("a", [born()]));
    expect(redis.cli("hget", makeShards(prefix).of("a").store, "format")).toBe("2");
    await appendTo(other.store, "a", [said("x")]);
    expect(await readAll(one.store, "a")).toHaveLength(2);
  });
});

describe("an engine that does not know the newer format", () => {
  /** The store was raised while it was silent, and something was written since. */
  const left = async (): Promise<{ readonly late: Engine; readonly heir: Engine }> => {
    const late = await join(old);
    await late.store.create(creationOf("a", [born()]));
    const heir = await join(next);
    silence(late);
    await heir.beat();
    await appendTo(heir.store, "a", [said("new")]);
    return { late, heir };
  };
  const calls = ({ store }: Engine): readonly Promise<unknown>[] => [
    store.create(creationOf("c", [born()])),
    store.read("a", 0),
    store.row("a", 0),
    store.claim({ worker: "w", untilMs: 9 }, 5, 1),
    store.probe(),
  ];

  test("writes and reads nothing any more where something newer was written, and then nowhere", async () => {
    const { late, heir } = await left();
    const { promise: told, resolve } = Promise.withResolvers<void>();
    late.store.follow("b", resolve);
    const fault = await faultOf(appendTo(late.store, "a", [said("old")]));
    expect(fault).toMatchObject({
      code: "unavailable",
      message:
        "the store in Redis has format 2, this engine knows formats up to 1: start a newer engine",
    });
    await told;
    for (const refused of await Promise.all(calls(late).map(faultOf)))
      expect(refused).toMatchObject({ code: "unavailable", message: fault.message });
    expect(await readAll(heir.store, "a")).toHaveLength(2);
    expect(await heir.store.row("c", 0)).toBeNull();
  });
  test("notices with its next heartbeat, and leaves no sign of life", async () => {
    const { late } = await left();
    await late.store.create(creationOf(elsewhere("a"), [born()]));
    await late.beat();
    expect(isMember(late)).toBe(false);
    for (const { code } of await Promise.all(calls(late).map(faultOf)))
      expect(code).toBe("unavailable");
    await late.beat();
    expect(isMember(late)).toBe(false);
    await late.store.close();
  });
  test("is not started, nor is one that knows newer ones only", async () => {
    const newer = await join(next);
    const fault = await faultOf(join(old));
    expect(fault.code).toBe("failed_precondition");
    expect(fault.message).toContain("start a newer engine");
    const distant = await faultOf(join({ oldest: 3, newest: 4 }));
    expect(distant.code).toBe("failed_precondition");
    expect(distant.message).toContain("a version between");
    expect(redis.cli("hkeys", first.members)).toBe(newer.worker);
  });
});

describe("what an engine of another version says in passing", () => {
  const shard = (): Shard => makeShards(prefix).of("a");
  const filled = async (): Promise<RedisStore> => {
    const { store } = await join(old);
    await store.create(creationOf("a", [born()], { wakeAtMs: 1 }));
    return store;
  };

  test("is heard in a hint with more words than are known", async () => {
    const store = await filled();
    const { promise: told, resolve } = Promise.withResolvers<void>();
    store.follow("a", resolve);
    redis.cli("publish", shard().channel, "someone  a and more");
    await told;
  });
  test("is passed over in what it tells of itself, and so is what cannot be read", async () => {
    const store = await filled();
    const tools = JSON.stringify({ clock: "aa", models: { llama: 1 }, load: 3 });
    redis.cli("hset", first.peers, "one", `90 ${tools}`, "other", "90 ?");
    expect(await store.peers(50)).toEqual([{ worker: "one", tools: { clock: "aa" } }]);
    redis.cli("hset", first.members, "one", "90 1 1 and more", "other", "?");
    await join(old);
  });
  test("is no snapshot to go on with", async () => {
    const store = await filled();
    const [created] = await readAll(store, "a");
    const state = fold([created!]);
    const body = JSON.stringify({ ...JSON.parse(encodeState(state)), version: 99, more: [] });
    const eventHash = redis.cli("hget", shard().agent("a"), "hash");
    const hash = snapshotHash(Uint8Array.fromHex(eventHash), body).toHex();
    const kept = ["snapshotAt", "1", "snapshot", body, "snapshotHash", hash];
    redis.cli("hset", shard().agent("a"), ...kept);
    expect(await store.snapshot("a")).toBeNull();
  });
  test("may be more than this one shows of an index row, or needs of a draft's call", async () => {
    const store = await filled();
    const info = JSON.parse(redis.cli("hget", shard().agent("a"), "info"));
    const more = { ...info, more: 1, stats: { ...info.stats, more: 1 } };
    redis.cli("hset", shard().agent("a"), "info", JSON.stringify(more));
    expect(await store.row("a", 0)).toMatchObject({ agentId: "a", updatedAtMs: info.updatedAtMs });
    const [lease] = await store.claim({ worker: "w", untilMs: 9 }, 1, 1);
    await store.writeDraft(lease!, callAfter(1), []);
    const call = { ...callAfter(1), more: { kept: true } };
    redis.cli("hset", shard().agent("a"), "draft", JSON.stringify(call));
    expect((await store.readDraft("a", 0))?.call).toEqual(call);
  });
});
