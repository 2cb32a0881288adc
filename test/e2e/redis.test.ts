import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import {
  createAgent,
  historyOf,
  openChat,
  restingAgent,
  talk,
  valuesOf,
} from "../support/conversation.ts";
import { type EngineProcess, openEngine } from "../support/engine-process.ts";
import { makeListener } from "../support/listener.ts";
import { numbersIn, numbersTo, wordsIn } from "../support/numbered-words.ts";
import { type RedisServer, startCluster, startRedis } from "../support/redis-server.ts";
import { urlOf } from "../support/redis-stores.ts";

setDefaultTimeout(60_000);

const deployments: {
  readonly name: string;
  readonly start: () => Promise<readonly RedisServer[]>;
}[] = [
  { name: "one Redis", start: async () => [await startRedis()] },
  { name: "a Redis Cluster", start: () => startCluster() },
];

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
