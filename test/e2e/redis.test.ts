import { Code } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { rm } from "node:fs/promises";
import {
  createAgent,
  historyOf,
  openChat,
  refusalOf,
  restingAgent,
  talk,
  valuesOf,
} from "../support/conversation.ts";
import {
  type EngineProcess,
  makeFolder,
  openEngine,
  runBinary,
} from "../support/engine-process.ts";
import { makeListener } from "../support/listener.ts";
import { numbersIn, numbersTo, wordsIn } from "../support/numbered-words.ts";
import { deployments, type RedisServer, startRedis, syncing } from "../support/redis-server.ts";
import { urlOf } from "../support/redis-stores.ts";

setDefaultTimeout(60_000);

describe.each(deployments)("engines that share $name", ({ start }) => {
  let servers: readonly RedisServer[] = [];
  beforeAll(async () => {
    servers = await start();
  });
  afterAll(async () => {
    await Promise.all(servers.map(({ stop }) => stop()));
  });
  /** Of one store for each test. */
  const engineOf = (prefix: string, over: Record<string, string> = {}): Promise<EngineProcess> =>
    openEngine({
      STORE_TYPE: "redis",
      REDIS_URL: urlOf(...servers),
      REDIS_KEY_PREFIX: prefix,
      LEASE_TTL_MS: "1000",
      ...over,
    });

  test("let a client of one hear live what another does", async () => {
    await using front = await engineOf("live:", { WORKER_CONCURRENCY: "0" });
    await using worker = await engineOf("live:");
    const agentId = await createAgent(front.client, { model: "scripted:5" });
    const answer = await talk(front.client, agentId, "write 50 words");
    const [text] = valuesOf(answer, "text");
    expect(numbersIn(text?.content ?? "")).toEqual(numbersTo(50));
    expect((await worker.client.getAgent({ agentId })).status).toBe("waiting_for_input");
    const deltas = valuesOf(answer, "textDelta");
    expect(deltas.length).toBeGreaterThan(5);
    expect(deltas.map(({ content }) => content).join("")).toBe(text?.content ?? "");
  });

  test("make up for one that dies in mid-answer", async () => {
    await using front = await engineOf("death:", { WORKER_CONCURRENCY: "0" });
    await using worker = await engineOf("death:");
    const agentId = await createAgent(front.client, { model: "scripted:10" });
    const listener = makeListener();
    await using chat = openChat(front.client, agentId, { listener });
    chat.say("write 150 words");
    await chat.until(() => wordsIn(listener.partial) > 40);
    await using heir = await engineOf("death:");
    await worker.kill();
    await chat.end();
    expect(listener.texts.map(numbersIn)).toEqual([numbersTo(150)]);
    expect(listener.restarts).toBe(0);
    expect(await historyOf(heir.client, agentId)).toEqual(await historyOf(front.client, agentId));
  });

  test("refuse what one that was frozen would write of an agent that it lost", async () => {
    await using front = await engineOf("frost:", { WORKER_CONCURRENCY: "0" });
    await using worker = await engineOf("frost:");
    const agentId = await createAgent(front.client, { model: "scripted:10" });
    const listener = makeListener();
    await using chat = openChat(front.client, agentId, { listener });
    chat.say("write 150 words");
    await chat.until(() => wordsIn(listener.partial) > 40);
    worker.freeze();
    await using heir = await engineOf("frost:");
    const words = wordsIn(listener.partial);
    await chat.until(() => wordsIn(listener.partial) > words + 10);
    worker.thaw();
    await chat.end();
    expect(heir.logged.filter(({ level }) => level === "warn")).toEqual([]);
    expect(listener.texts.map(numbersIn)).toEqual([numbersTo(150)]);
    // It has understood, and serves on.
    const agent = await restingAgent(worker.client, agentId);
    expect(agent.status).toBe("waiting_for_input");
    expect(valuesOf(await historyOf(worker.client, agentId), "text").length).toBe(1);
    expect(valuesOf(await talk(worker.client, agentId, "say hello"), "text").length).toBe(1);
  });
});

describe("an engine whose Redis", () => {
  test("is killed in mid-answer goes on when it is back, at the same character", async () => {
    const redis = await startRedis(...syncing);
    try {
      await using engine = await openEngine({
        STORE_TYPE: "redis",
        REDIS_URL: urlOf(redis),
        LEASE_TTL_MS: "1000",
      });
      const agentId = await createAgent(engine.client, { model: "scripted:10" });
      const listener = makeListener();
      await using before = openChat(engine.client, agentId, { listener });
      before.say("write 100 words");
      await before.until(() => wordsIn(listener.partial) > 30);
      await redis.kill();
      expect((await before.broken()).code).toBe(Code.Unavailable);
      expect((await refusalOf(engine.client.getAgent({ agentId }))).code).toBe(Code.Unavailable);
      const unready = await fetch(`${engine.url}/readyz`);
      expect(unready.status).toBe(503);
      expect(await unready.text()).toContain("Redis cannot be reached");
      await redis.start();
      while ((await fetch(`${engine.url}/readyz`)).status !== 200) await Bun.sleep(20);
      await using after = openChat(engine.client, agentId, { after: listener.sequence, listener });
      await after.end();
      expect(listener.texts.map(numbersIn)).toEqual([numbersTo(100)]);
      expect(listener.restarts).toBe(0);
    } finally {
      await redis.stop();
    }
  });
  test("may lose agents says so on /readyz, and serves", async () => {
    const redis = await startRedis("--maxmemory-policy", "allkeys-lfu");
    try {
      await using engine = await openEngine({ STORE_TYPE: "redis", REDIS_URL: urlOf(redis) });
      const ready = await fetch(`${engine.url}/readyz`);
      expect(ready.status).toBe(200);
      expect(await ready.text()).toContain("warning: Redis");
      expect(engine.logged.map(({ message }) => message).join()).toContain("allkeys-lfu");
    } finally {
      await redis.stop();
    }
  });
  test("cannot be used is not started, and says why in one line", async () => {
    const folder = await makeFolder();
    const wrong = { STORE_TYPE: "redis", GRPC_PORT: "0" };
    for (const [settings, complaint] of [
      [{ REDIS_URL: "http://h" }, "REDIS_URL"],
      [{ REDIS_KEY_PREFIX: "a{b}" }, "REDIS_KEY_PREFIX"],
      [{ REDIS_WAIT_REPLICAS: "-1" }, "REDIS_WAIT_REPLICAS"],
      [{ REDIS_CA: "missing.pem" }, "REDIS_CA"],
    ] as const) {
      const { exitCode, stderr } = await runBinary(folder, ["serve"], { ...wrong, ...settings });
      expect(exitCode).not.toBe(0);
      expect(stderr.trim().split("\n").length).toBe(1);
      expect(stderr).toContain(complaint);
    }
    await rm(folder, { recursive: true });
  });
});
