import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { createAgent, openChat, talk } from "../support/conversation.ts";
import { curl } from "../support/curl.ts";
import { type EngineProcess, openEngine } from "../support/engine-process.ts";
import { type Exposition, parseExposition } from "../support/exposition.ts";
import { makeListener } from "../support/listener.ts";
import { wordsIn } from "../support/numbered-words.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";
import { urlOf } from "../support/redis-stores.ts";
import { putTools } from "../support/tool-modules.ts";

setDefaultTimeout(60_000);

const scrape = async ({ url }: EngineProcess, key = ""): Promise<Exposition> => {
  const answer = await fetch(`${url}/metrics`, { headers: { "x-api-key": key } });
  expect(answer.status).toBe(200);
  return parseExposition(await answer.text());
};

const service = "engram.api.v1.AgentService";
/** Of calls that went well. */
const rpcs = (found: Exposition, method: string): number | null =>
  found.value("engram_rpcs_total", { method: `${service}/${method}`, code: "ok" });

test("a conversation with tool calls moves the counters as it should, for who has the key", async () => {
  await using engine = await openEngine({ API_KEY: "secret" });
  await putTools(engine.folder, "looping");
  expect((await fetch(`${engine.url}/metrics`)).status).toBe(401);
  const before = await scrape(engine, "secret");
  expect(before.value("engram_requests_refused_total", { reason: "key" })).toBe(1);
  expect(before.value("engram_turns_total", { outcome: "answered" })).toBe(0);

  const agentId = await createAgent(engine.client, { model: "scripted:instant" });
  await talk(engine.client, agentId, "say hello");
  await talk(engine.client, agentId, "call looping with {}");
  await talk(engine.client, agentId, "call nothing_of_that_name with {}");
  const after = await scrape(engine, "secret");
  expect(after.value("engram_turns_total", { outcome: "answered" })).toBe(3);
  expect(after.value("engram_model_call_seconds_count", { outcome: "ok" })).toBe(5);
  expect(after.value("engram_model_tokens_total", { kind: "completion" })).toBeGreaterThan(0);
  const tools = (code: string) => after.value("engram_tool_call_seconds_count", { code });
  expect([tools("TOOL_OUT_OF_FUEL"), tools("TOOL_NOT_FOUND"), tools("ok")]).toEqual([1, 1, null]);
  expect(after.value("engram_tool_fuel_total")).toBe(1_000_000_000);
  const agent = await engine.client.getAgent({ agentId });
  expect(after.sum("engram_events_total")).toBe(Number(agent.headSequence));
  expect(after.value("engram_agents", { status: "waiting_for_input" })).toBe(1);
  expect(after.sum("engram_agents")).toBe(1);
  expect([rpcs(after, "CreateAgent"), rpcs(after, "Chat")]).toEqual([1, 3]);
  expect(after.sum("engram_rpcs_open")).toBe(0);
  expect(after.value("engram_store_up")).toBe(1);
  expect(after.value("engram_connections")).toBeGreaterThan(0);
  expect(after.value("engram_sandbox_children", { state: "idle" })).toBeLessThan(9);
  expect(after.value("engram_event_loop_lag_seconds", { quantile: "1" })).not.toBeNull();
});

test("/metrics is for reading", async () => {
  await using engine = await openEngine();
  for (const flag of ["--http1.1", "--http2-prior-knowledge"]) {
    expect(await curl(`${engine.url}/metrics`, flag, "--head")).toMatchObject({
      exitCode: 0,
      status: 200,
      body: "",
    });
    expect((await curl(`${engine.url}/metrics`, flag, "--data", "x")).status).toBe(405);
  }
});

describe("engines that share a Redis", () => {
  let redis: RedisServer;
  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis.stop());
  const engineOf = (prefix: string, over: Record<string, string> = {}): Promise<EngineProcess> =>
    openEngine({
      STORE_TYPE: "redis",
      REDIS_URL: urlOf(redis),
      REDIS_KEY_PREFIX: prefix,
      LEASE_TTL_MS: "1000",
      ...over,
    });

  test("tell the same of the fleet, and each its own work", async () => {
    await using front = await engineOf("fleet:", { WORKER_CONCURRENCY: "0" });
    for (let agents = 0; agents < 5; agents++)
      await front.client.createAgent({ goal: "wait", model: "scripted:instant" });
    await createAgent(front.client, {});
    const queued = await scrape(front);
    expect(queued.value("engram_agents", { status: "waiting_for_step" })).toBe(5);
    expect(queued.value("engram_agents", { status: "waiting_for_input" })).toBe(1);
    expect(queued.value("engram_agents_due")).toBe(5);
    expect(queued.value("engram_agents_due_seconds")).toBeGreaterThan(0);
    expect(queued.value("engram_steps_max")).toBe(0);

    await using worker = await engineOf("fleet:");
    let found = await scrape(front);
    while (found.value("engram_agents", { status: "waiting_for_input" }) !== 6) {
      await Bun.sleep(20);
      found = await scrape(front);
    }
    const theirs = await scrape(worker);
    for (const engine of [found, theirs]) {
      expect(engine.sum("engram_agents")).toBe(6);
      expect(engine.value("engram_agents", { status: "waiting_for_input" })).toBe(6);
      expect(engine.value("engram_agents_due")).toBe(0);
      expect(engine.value("engram_agents_due_seconds")).toBe(0);
    }
    const turns = (of: Exposition) => of.value("engram_turns_total", { outcome: "answered" });
    expect([turns(found), turns(theirs)]).toEqual([0, 5]);
    expect(found.value("engram_events_total", { type: "AgentCreated" })).toBe(6);
    expect(theirs.value("engram_leases_total", { recovered: "false" })).toBe(5);
  });

  test("tell of an agent that one took over from another that was killed", async () => {
    await using front = await engineOf("heir:", { WORKER_CONCURRENCY: "0" });
    await using worker = await engineOf("heir:");
    const agentId = await createAgent(front.client, { model: "scripted:10" });
    const listener = makeListener();
    await using chat = openChat(front.client, agentId, { listener });
    chat.say("write 60 words");
    await chat.until(() => wordsIn(listener.partial) > 10);
    const during = await scrape(front);
    expect(during.value("engram_agents", { status: "processing" })).toBe(1);
    expect(during.value("engram_rpcs_open", { method: `${service}/Chat` })).toBe(1);
    expect((await scrape(worker)).value("engram_steps_running")).toBe(1);
    await using heir = await engineOf("heir:");
    await worker.kill();
    await chat.end();
    const after = await scrape(heir);
    expect(after.value("engram_leases_total", { recovered: "true" })).toBe(1);
    expect(after.value("engram_agents", { status: "waiting_for_input" })).toBe(1);
  });
});

test("while its Redis is frozen or gone an engine tells the rest, and of the fleet again when it is back", async () => {
  const redis = await startRedis();
  try {
    await using engine = await openEngine({ STORE_TYPE: "redis", REDIS_URL: urlOf(redis) });
    await createAgent(engine.client, { model: "scripted:instant" });
    const isAway = async (): Promise<void> => {
      const found = await scrape(engine);
      expect(found.value("engram_store_up")).toBe(0);
      expect(found.value("engram_agents_due")).toBeNull();
      expect(found.value("engram_agents", { status: "waiting_for_input" })).toBeNull();
      expect(rpcs(found, "CreateAgent")).toBe(1);
    };
    const isBack = async (): Promise<void> => {
      let found = await scrape(engine);
      while (found.value("engram_store_up") !== 1) {
        await Bun.sleep(20);
        found = await scrape(engine);
      }
      expect(found.value("engram_agents", { status: "waiting_for_input" })).toBe(1);
      const failed = { operation: "tally", outcome: "unavailable" };
      expect(found.value("engram_store_operation_seconds_count", failed)).toBeGreaterThan(0);
    };
    redis.signal("SIGSTOP");
    await isAway();
    redis.signal("SIGCONT");
    await redis.kill();
    await isAway();
    await redis.start();
    await isBack();
  } finally {
    await redis.stop();
  }
});
