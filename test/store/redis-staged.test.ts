import { describe, expect, test } from "bun:test";
import type { Event } from "../../src/agent/event.ts";
import { messageKey } from "../../src/agent/mark.ts";
import { storeLimits } from "../../src/limits.ts";
import { makeShards } from "../../src/store/redis/shards.ts";
import type { RedisStore } from "../../src/store/redis/redis.ts";
import { born, logged, said } from "../support/events.ts";
import { openEngines } from "../support/redis-engines.ts";
import { codeIs } from "../support/store-contract.ts";
import { appendTo, creationOf, readAll, takingOver } from "../support/stores.ts";

/** What holds of events that stand aside in Redis beyond the contract. */

const at = openEngines();
const { open } = at;
const shardOf = (id: string) => makeShards(at.prefix).of(id);
const keysOf = (agentId: string): readonly string[] => {
  const shard = shardOf(agentId);
  return [shard.staged(agentId), shard.stagedLog(agentId), shard.stagedMarks(agentId)];
};
const until = (key: string): number => Number(at.redis.cli("pexpiretime", key));
const isThere = (key: string): boolean => at.redis.cli("exists", key) === "1";
/** Events with a mark each; those of another word are others. */
const events = (word = ""): readonly Event[] => [
  born(),
  ...["1", "2", "3"].map((id) => said(`${word}${id}`, { messageId: id, digest: "d" })),
];
const stage = (
  store: RedisStore,
  agentId: string,
  those: readonly Event[],
  [from, to]: readonly [number, number] = [0, those.length],
): Promise<void> =>
  store.stage(agentId, from, creationOf(agentId, those).events.slice(from, to), store.nowMs());
const request = { requestId: "r", digest: "d" };
/** As a creation leaves it that ended behind its first step. */
const reserve = (agentId: string): void => {
  at.redis.cli("set", shardOf(request.requestId).request(request.requestId), `d ${agentId}`);
};

describe("what stands aside", () => {
  test("goes by itself, all of it at one time, which each page puts off", async () => {
    const store = await open();
    await stage(store, "a", events(), [0, 2]);
    const [first = 0, ...others] = keysOf("a").map(until);
    expect(others).toEqual([first, first]);
    const leftMs = Number(at.redis.cli("pttl", keysOf("a")[0]!));
    expect(leftMs).toBeLessThanOrEqual(storeLimits.stagedKeptMs);
    expect(leftMs).toBeGreaterThan(storeLimits.stagedKeptMs / 2);
    for (const key of keysOf("a")) at.redis.cli("pexpire", key, "60000");
    await stage(store, "a", events(), [2, 4]);
    const [later = 0, ...rest] = keysOf("a").map(until);
    expect(rest).toEqual([later, later]);
    expect(later).toBeGreaterThanOrEqual(first);
  });
  test("stays once it is an agent's", async () => {
    const store = await open();
    await stage(store, "a", events());
    await store.create(takingOver("a", 4, events()));
    expect(keysOf("a").filter(isThere)).toEqual([]);
    const shard = shardOf("a");
    for (const key of [shard.agent("a"), shard.log("a"), shard.marks("a")])
      expect(until(key)).toBe(-1);
  });
  test("and is gone, is missed", async () => {
    const store = await open();
    await stage(store, "a", events(), [0, 2]);
    for (const key of keysOf("a")) at.redis.cli("pexpire", key, "-1");
    await expect(stage(store, "a", events(), [2, 4])).rejects.toEqual(codeIs("conflict"));
    await expect(store.create(takingOver("a", 2, events()))).rejects.toEqual(codeIs("conflict"));
    expect(await store.row("a", 0)).toBeNull();
    await stage(store, "a", events());
    await store.create(takingOver("a", 4, events()));
    expect(await readAll(store, "a")).toEqual(logged(events()));
  });
  test("can be gone on with by another engine, or by the same under another's events", async () => {
    const [one, other] = [await open(), await open()];
    await stage(one, "a", events(), [0, 2]);
    await stage(other, "a", events(), [2, 3]);
    await expect(stage(one, "a", events("x"), [2, 4])).rejects.toEqual(codeIs("conflict"));
    await stage(one, "a", events(), [2, 4]);
    await other.create(takingOver("a", 4, events()));
    expect(await readAll(one, "a")).toEqual(logged(events()));
  });
  test("under an engine's memory of an agent that was there before is chained anew", async () => {
    const [one, other] = [await open(), await open()];
    await one.create(creationOf("a", events("x")));
    await other.remove("a", 1, true);
    // One still knows the head of the deleted log, which has as many events.
    await stage(other, "a", [...events(), said("5")], [0, 4]);
    await stage(one, "a", [...events(), said("5")], [4, 5]);
    await one.create(takingOver("a", 5, [...events(), said("5")]));
    expect(await readAll(one, "a")).toEqual(logged([...events(), said("5")]));
  });
});

describe("a request id that stands for an agent that is not there", () => {
  test("stands for the one whose events are aside; the first to come finds its id gone", async () => {
    const store = await open();
    reserve("a");
    await stage(store, "b", events());
    const made = await store.create(takingOver("b", 4, events(), { request }));
    expect(made).toMatchObject({ agentId: "b", created: true });
    const late = await store.create(creationOf("a", [born()], { request }));
    expect(late).toMatchObject({ agentId: "b", created: false });
    expect(await store.row("a", 0)).toBeNull();
    await store.remove("b", 1, true);
    expect(await store.create(creationOf("c", [born()], { request }))).toMatchObject({
      agentId: "c",
      created: true,
    });
  });
  test("whose events are aside is another's that brings its own", async () => {
    const store = await open();
    reserve("a");
    await stage(store, "a", events());
    const made = await store.create(creationOf("b", [born()], { request }));
    expect(made).toMatchObject({ agentId: "b", created: true });
    expect(keysOf("a").filter(isThere)).toEqual([]);
    const late = store.create(takingOver("a", 4, events(), { request }));
    expect(await late).toMatchObject({ agentId: "b", created: false });
    expect(await store.row("a", 0)).toBeNull();
  });
  test("of racing creations that have events aside gives one agent", async () => {
    const engines = [await open(), await open(), await open()];
    reserve("z");
    const outcomes = await Promise.allSettled(
      engines.map(async (store, n) => {
        await stage(store, `a${n}`, events());
        return store.create(takingOver(`a${n}`, 4, events(), { request }));
      }),
    );
    for (const outcome of outcomes)
      if (outcome.status === "rejected") expect(outcome.reason).toEqual(codeIs("unavailable"));
    const [store] = engines as [RedisStore];
    const rows = await store.list({ status: null, limit: 9, beforeAgentId: null }, 0);
    const last = await store.create(creationOf("b", [born()], { request }));
    expect(rows.length).toBeLessThanOrEqual(1);
    if (rows[0] !== undefined) expect(last).toMatchObject({ agentId: rows[0].agentId });
  });
});

test("stale marks that an engine left behind a fork are cleared by whoever repeats its page", async () => {
  const store = await open();
  const forked: Event = {
    type: "AgentForked",
    parent: { agentId: "p", sequence: 4 },
    metadata: {},
  };
  const whole = [...events(), forked, said("own", { messageId: "1", digest: "own" })];
  await stage(store, "a", whole);
  // As the engine leaves it that dies before it clears them.
  const shard = shardOf("a");
  at.redis.cli("hset", shard.staged("a"), "forked", "5");
  at.redis.cli("hset", shard.stagedMarks("a"), "message 2", "3 d");
  await expect(store.create(takingOver("a", 6, whole))).rejects.toEqual(codeIs("conflict"));
  await expect(stage(store, "a", [...whole, said("7")], [6, 7])).rejects.toEqual(
    codeIs("conflict"),
  );
  await stage(store, "a", whole);
  await store.create(takingOver("a", 6, whole));
  const marks = await store.marks("a", ["1", "2", "3"].map(messageKey));
  expect([...marks.values()].map(({ sequence, digest }) => `${sequence} ${digest}`)).toEqual([
    "6 own",
  ]);
  await appendTo(store, "a", [said("7")]);
});
