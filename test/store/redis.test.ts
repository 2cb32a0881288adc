import { describe, expect, test } from "bun:test";
import { type Clock, systemClock } from "../../src/clock.ts";
import { redisLimits } from "../../src/limits.ts";
import { makeShards } from "../../src/store/redis/shards.ts";
import type { RedisStore } from "../../src/store/redis/redis.ts";
import { born, callAfter, paused, said, spoke } from "../support/events.ts";
import { openEngines } from "../support/redis-engines.ts";
import { codeIs } from "../support/store-contract.ts";
import { appendOf, appendTo, creationOf, holder, readAll } from "../support/stores.ts";

/** What holds of a store on Redis beyond the contract. */

const at = openEngines();
const { open } = at;
/** Resolves at the next hint. */
const hint = (follow: (told: () => void) => () => void): Promise<void> => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const stop = follow(() => {
    stop();
    resolve();
  });
  return promise;
};

describe("engines that share a store", () => {
  test("see each other's agents, and are fenced by each other's leases", async () => {
    const [one, other] = [await open(), await open()];
    await one.create(creationOf("a", [born()], { wakeAtMs: 0 }));
    const [lease] = await one.claim({ worker: "1", untilMs: 100 }, 0, 5);
    expect(await other.claim({ worker: "2", untilMs: 200 }, 99, 5)).toEqual([]);
    expect(await other.claim({ worker: "2", untilMs: 200 }, 100, 5)).toMatchObject([
      { agentId: "a", epoch: 2, recovered: true },
    ]);
    const late = appendTo(one, "a", [spoke("x", 1)], { epoch: lease!.epoch });
    await expect(late).rejects.toEqual(codeIs("fenced"));
    expect(await readAll(other, "a")).toHaveLength(1);
  });
  test("never lease one agent twice, however they race", async () => {
    const engines = await Promise.all([open(), open(), open()]);
    const ids = Array.from({ length: 100 }, (_, n) => `a${n}`);
    await Promise.all(
      ids.map((agentId) => engines[0].create(creationOf(agentId, [born()], { wakeAtMs: 0 }))),
    );
    const leased = await Promise.all(
      engines.flatMap((store, n) =>
        Array.from({ length: 4 }, () => store.claim({ worker: `${n}`, untilMs: 900 }, 1, 30)),
      ),
    );
    const taken = leased.flat().map(({ agentId }) => agentId);
    expect(new Set(taken).size).toBe(taken.length);
    const rest = await engines[1].claim({ worker: "1", untilMs: 900 }, 1, 200);
    expect([...taken, ...rest.map(({ agentId }) => agentId)].toSorted()).toEqual(ids.toSorted());
  });
  test("are told of each other's events, drafts, deletions and wake times", async () => {
    const [one, other] = [await open(), await open()];
    const ofAgent = (): Promise<void> => hint((told) => other.follow("a", told));
    const ofWakes = (): Promise<void> => hint((told) => other.followWakes(told));
    let told = Promise.all([ofAgent(), ofWakes()]);
    await one.create(creationOf("a", [born()], { wakeAtMs: 50 }));
    await told;
    expect(await other.nextWakeMs()).toBe(50);
    told = Promise.all([ofAgent(), ofWakes()]);
    await appendTo(one, "a", [said("x")], { atMs: 20, wakeAtMs: 20 });
    await told;
    const [lease] = await one.claim({ worker: "1", untilMs: 500 }, 50, 1);
    let drafted = ofAgent();
    await one.writeDraft(lease!, callAfter(2), []);
    await drafted;
    drafted = ofAgent();
    await one.remove("a", 1, true);
    await drafted;
  });
  test("tell of no wake time behind the one last told, be it their own, until that has come", async () => {
    const [one, other] = [await open(), await open()];
    const soonMs = one.nowMs() + 60_000;
    const make = (agentId: string, wakeAtMs: number) =>
      one.create(creationOf(agentId, [born()], { wakeAtMs }));
    const hints = { one: 0, other: 0 };
    one.followWakes(() => hints.one++);
    other.followWakes(() => hints.other++);
    await make("a", soonMs);
    for (const store of [one, other]) expect(await store.nextWakeMs()).toBe(soonMs);
    // What others tell comes in order: who has heard of the last has heard of all.
    const heard = hint((told) => other.follow("c", told));
    hints.one = 0;
    hints.other = 0;
    await make("b", soonMs + 1);
    expect(hints.one).toBe(0);
    await make("c", soonMs - 1);
    await heard;
    expect(hints).toEqual({ one: 1, other: 1 });
    expect(await one.nextWakeMs()).toBe(soonMs - 1);
    // Of those who are due any may be another's by now.
    await make("d", 1);
    expect(await one.nextWakeMs()).toBe(1);
    hints.one = 0;
    await make("e", 2);
    expect(hints.one).toBe(1);
  });
  test("have one time, that of the server", async () => {
    const [one, other] = [await open(), await open()];
    const [seconds = "0"] = at.redis.cli("time").split("\n");
    expect(Math.abs(one.nowMs() - Number(seconds) * 1000)).toBeLessThan(60_000);
    expect(Math.abs(one.nowMs() - other.nowMs())).toBeLessThan(1_000);
  });
  test("append behind a log that another deleted and made anew, to the length that was known", async () => {
    const [one, other] = [await open(), await open()];
    await one.create(creationOf("a", [born(), said("old")]));
    await one.read("a", 0);
    await other.remove("a", 1, true);
    await other.create(creationOf("a", [born(), said("new")]));
    await other.read("a", 0);
    const log = await readAll(other, "a");
    await one.append(appendOf("a", log, [paused()]));
    expect(await readAll(other, "a")).toMatchObject([
      {},
      { event: said("new") },
      { event: paused() },
    ]);
  });
});

test("who is longest due is taken first, however unevenly they are spread", async () => {
  const store = await open();
  const shards = makeShards(at.prefix);
  const all = Array.from({ length: 2_000 }, (_, n) => `a${n}`);
  const together = all.filter((agentId) => shards.of(agentId) === shards.first).slice(0, 30);
  const others = all.filter((agentId) => !together.includes(agentId)).slice(0, 300);
  // Behind every other one of those stands one from anywhere.
  const due = together.flatMap((agentId, n) => [
    agentId,
    ...others.slice(n, n % 2 === 0 ? n + 1 : n),
  ]);
  const later = others.filter((agentId) => !due.includes(agentId));
  const make = (agentId: string, n: number) =>
    store.create(creationOf(agentId, [born()], { wakeAtMs: n }));
  await Promise.all([...due, ...later].map(make));
  for (const limit of [1, 20, 15]) {
    const taken = await store.claim({ worker: "1", untilMs: 9_000 }, 1_000, limit);
    expect(taken.map(({ agentId }) => agentId)).toEqual(due.splice(0, limit));
  }
});

test("a page of more rows than are read at once is whole and in order, though the index names some that are gone", async () => {
  const store = await open();
  const ids = Array.from({ length: 3 * redisLimits.rowsAtOnce }, (_, n) => `a${1000 + n}`);
  await Promise.all(
    ids.map((agentId) => store.create(creationOf(agentId, [born()], { wakeAtMs: 0 }))),
  );
  const gone = ids.filter((_, n) => n % 7 === 0);
  const shards = makeShards(at.prefix);
  at.redis.cli("del", ...gone.map((agentId) => shards.of(agentId).agent(agentId)));
  const there = ids.filter((agentId) => !gone.includes(agentId)).toReversed();
  const limit = 2 * redisLimits.rowsAtOnce + 7;
  const page = await store.list({ status: "waiting_for_step", limit, beforeAgentId: null }, 0);
  expect(page.map(({ agentId }) => agentId)).toEqual(there.slice(0, limit));
  const rest = { status: null, limit, beforeAgentId: page.at(-1)?.agentId ?? "" };
  const found = await store.list(rest, 0);
  expect(found.map(({ agentId }) => agentId)).toEqual(there.slice(limit));
});

describe("hints that are lost", () => {
  test("are made up for when the connection for them is back", async () => {
    const [one, other] = [await open(), await open()];
    await one.create(creationOf("a", [born()]));
    const told = Promise.all([
      hint((it) => other.follow("a", it)),
      hint((it) => other.followWakes(it)),
    ]);
    at.redis.cli("client", "kill", "type", "pubsub");
    await appendTo(one, "a", [said("x")]);
    await told;
  });
});

describe("a request id", () => {
  const request = { requestId: "r1", digest: "d1" };
  const shards = () => makeShards(at.prefix);
  const reservation = (): string => shards().of("r1").request("r1");
  const make = (store: RedisStore, agentId: string, over = {}) =>
    store.create(creationOf(agentId, [born()], { request: { ...request, ...over } }));

  test("that was reserved by a creation which broke off makes that agent", async () => {
    const store = await open();
    at.redis.cli("set", reservation(), "d1 a");
    expect(await make(store, "b")).toMatchObject({ agentId: "a", created: true });
    expect(await make(store, "c")).toMatchObject({ agentId: "a", created: false });
    expect(await readAll(store, "a")).toHaveLength(1);
    expect(await store.row("b", 0)).toBeNull();
  });
  test("that was reserved for other content is refused, though its agent is not there yet", async () => {
    const store = await open();
    at.redis.cli("set", reservation(), "d2 a");
    await expect(make(store, "b")).rejects.toEqual(codeIs("already_exists"));
  });
  test("makes a new agent where a deletion broke off before it was freed", async () => {
    const store = await open();
    await make(store, "a");
    await store.remove("a", 1, true);
    at.redis.cli("set", reservation(), "d1 a");
    expect(await make(store, "b")).toMatchObject({ agentId: "b", created: true });
    at.redis.cli("set", reservation(), "d9 a");
    expect(await make(store, "c")).toMatchObject({ agentId: "c", created: true });
  });
  test("does not bring back an agent that was made by its repetition and deleted since", async () => {
    const store = await open();
    await make(store, "a");
    await store.remove("a", 1, true);
    // The slow first call reserves nothing new: what it finds is its own.
    at.redis.cli("set", reservation(), "d1 a");
    expect(await make(store, "a")).toMatchObject({ agentId: "a", created: false });
    expect(await store.row("a", 0)).toBeNull();
  });
  test("whose agent was refused is free", async () => {
    const store = await open();
    await store.create(creationOf("a", [born()]));
    await expect(make(store, "a")).rejects.toEqual(codeIs("already_exists"));
    expect(at.redis.cli("exists", reservation())).toBe("0");
    at.redis.cli("set", reservation(), "d1 a");
    expect(await make(store, "b")).toMatchObject({ agentId: "b", created: true });
  });
  test("is one agent's for all engines that repeat it at once", async () => {
    const engines = await Promise.all([open(), open(), open()]);
    const made = await Promise.all(engines.map((store, n) => make(store, `a${n}`)));
    expect(new Set(made.map(({ agentId }) => agentId)).size).toBe(1);
    expect(made.filter(({ created }) => created).length).toBe(1);
  });
});

describe("bytes that were changed", () => {
  const keys = () => makeShards(at.prefix).of("a");
  const filled = async (): Promise<RedisStore> => {
    const store = await open();
    await store.create(creationOf("a", [born(), said("1"), said("2")]));
    return store;
  };
  test("in the head's hash are corrupt", async () => {
    const store = await filled();
    at.redis.cli("hset", keys().agent("a"), "hash", "00".repeat(32));
    await expect(store.read("a", 0)).rejects.toEqual(codeIs("corrupt"));
    await expect(store.read("a", 2)).rejects.toEqual(codeIs("corrupt"));
  });
  test("by an event that is gone are corrupt", async () => {
    const store = await filled();
    at.redis.cli("xdel", keys().log("a"), "0-2");
    await expect(store.read("a", 1)).rejects.toEqual(codeIs("corrupt"));
    expect(await store.read("a", 0)).toHaveLength(1);
  });
  test("in an event are corrupt", async () => {
    const store = await filled();
    const [, , , , , hash = ""] = at.redis
      .cli("xrange", keys().log("a"), "0-3", "0-3")
      .split("\n")
      .slice(1);
    at.redis.cli("xdel", keys().log("a"), "0-3");
    at.redis.cli("xsetid", keys().log("a"), "0-2");
    const body = JSON.stringify(said("3"));
    at.redis.cli("xadd", keys().log("a"), "0-3", "at", "1", "body", body, "hash", hash);
    await expect(store.read("a", 0)).rejects.toEqual(codeIs("corrupt"));
  });
  test("in a row or a draft are corrupt", async () => {
    const store = await filled();
    await appendTo(store, "a", [said("x")], { atMs: 1, wakeAtMs: 1 });
    const [lease] = await store.claim({ worker: "w", untilMs: 9 }, 1, 1);
    await store.writeDraft(holder("a", lease!.epoch), callAfter(4), [
      { kind: "text", offset: 0, content: "x" },
    ]);
    at.redis.cli("lset", keys().draft("a"), "0", "{}");
    await expect(store.readDraft("a", 0)).rejects.toEqual(codeIs("corrupt"));
    at.redis.cli("hset", keys().agent("a"), "info", "{");
    await expect(store.row("a", 0)).rejects.toEqual(codeIs("corrupt"));
  });
});

describe("the store's time", () => {
  const meta = (): string => makeShards(at.prefix).first.store;
  const hourMs = 3600_000;

  test("does not go back with the server's clock", async () => {
    const first = await open();
    const aheadMs = first.nowMs() + hourMs;
    await first.close();
    // As if the clock had been an hour ahead, and set right since.
    at.redis.cli("hset", meta(), "seen", `${aheadMs}`);
    const later = await open();
    expect(later.nowMs()).toBeGreaterThanOrEqual(aheadMs);
  });
  test("does not jump ahead with the server's clock while an engine measures on", async () => {
    let beat = (): void => {};
    const after: Clock["after"] = (delayMs, fn) => {
      if (delayMs !== redisLimits.heartbeatMs) return systemClock.after(delayMs, fn);
      beat = fn;
      return () => {};
    };
    const clock = { ...systemClock, after };
    const store = await open({ clock });
    const startMs = store.nowMs();
    at.redis.cli("hset", meta(), "ahead", `${hourMs}`);
    beat();
    while (Number(at.redis.cli("hget", meta(), "ahead")) === hourMs) await Bun.sleep(5);
    await store.probe();
    expect(store.nowMs() - startMs).toBeLessThan(hourMs / 2);
    const other = await open();
    expect(Math.abs(other.nowMs() - store.nowMs())).toBeLessThan(hourMs / 2);
  });
});
