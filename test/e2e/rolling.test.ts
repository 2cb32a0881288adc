import { Code } from "@connectrpc/connect";
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { checkKept, play, type Stage } from "../../src/cli/torture/cast.ts";
import { makeTortureClient, type TortureClient } from "../../src/cli/torture/client.ts";
import { hostAmong, hostOf } from "../../src/cli/torture/host.ts";
import { makeRandom, type Random } from "../../src/cli/torture/random.ts";
import type { Found } from "../../src/cli/torture/subject.ts";
import type { Host, Life } from "../../src/cli/torture/world.ts";
import { makeConnection } from "../../src/cli/demo/client.ts";
import { makeShards } from "../../src/store/redis/shards.ts";
import {
  createAgent,
  historyOf,
  openChat,
  refusalOf,
  talk,
  valuesOf,
} from "../support/conversation.ts";
import {
  binary,
  type EngineProcess,
  makeFolder,
  openEngine,
  runBinary,
  type Settings,
} from "../support/engine-process.ts";
import { type Listener, makeListener } from "../support/listener.ts";
import { buildNextVersion, nextType } from "../support/next-version.ts";
import { numbersIn, numbersTo, wordsIn } from "../support/numbered-words.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";
import { urlOf } from "../support/redis-stores.ts";
import { seeded } from "../support/seed.ts";

setDefaultTimeout(120_000);

let next: Awaited<ReturnType<typeof buildNextVersion>>;
let redis: RedisServer;
beforeAll(async () => {
  [next, redis] = await Promise.all([buildNextVersion(), startRedis()]);
});
afterAll(async () => {
  await Promise.all([next.remove(), redis.stop()]);
});

/** Of one store for each test. No agent is waited for as long as a lease lasts. */
const sharing = (prefix: string): Settings => ({
  STORE_TYPE: "redis",
  REDIS_URL: urlOf(redis),
  REDIS_KEY_PREFIX: prefix,
  LEASE_TTL_MS: "100000",
  HEARTBEAT_MS: "1000",
  TOOLS_PATH: join(import.meta.dir, "..", "..", "tools"),
});
const formatOf = (prefix: string): number =>
  Number(redis.cli("hget", makeShards(prefix).first.store, "format"));
/** How many events stand there in the way of the next version. */
const nextEventsIn = (prefix: string): number =>
  redis
    .cli("--scan", "--pattern", `${prefix}*:log:*`)
    .split("\n")
    .filter((key) => key !== "" && redis.cli("xrange", key, "-", "+").includes(nextType)).length;
const until = async (holds: () => boolean): Promise<void> => {
  while (!holds()) await Bun.sleep(20);
};

/** One engine's place in the fleet, as the clients of the torture look at it. */
type Place = {
  now(): Promise<Life>;
  current(): Life | null;
  readonly engine: EngineProcess;
  /** SIGTERM, and another binary takes its place. */
  replace(by: string): Promise<void>;
} & AsyncDisposable;

const openPlace = async (settings: Settings): Promise<Place> => {
  const engine = await openEngine(settings);
  let over = Promise.withResolvers<void>();
  let there = Promise.withResolvers<Life>();
  let current: Life | null = null;
  const begin = (): void => {
    over = Promise.withResolvers();
    current = { name: `${engine.url}, pid ${engine.pid}`, url: engine.url, over: over.promise };
    there.resolve(current);
  };
  begin();
  return {
    engine,
    now: () => there.promise,
    current: () => current,
    replace: async (by) => {
      there = Promise.withResolvers();
      current = null;
      over.resolve();
      expect(await engine.stop()).toBe(0);
      await engine.start(settings, by);
      begin();
    },
    [Symbol.asyncDispose]: () => engine[Symbol.asyncDispose](),
  };
};

const silent = { enter: () => () => {}, news: () => {} };

/** Clients of the torture that talk to whichever engine is there, and hold what they see to what the log says. */
function startLoad(places: readonly Place[], random: Random, count: number) {
  const calls = { acknowledged: 0, reconnects: 0, retries: 0, drops: 0, silences: 0 };
  const found: Found[] = [];
  const calm = Promise.withResolvers<void>();
  let isCalm = false;
  const stage: Stage = {
    random,
    tools: [],
    counts: { turns: 0, revived: 0 },
    onViolation: (violation) => void found.push(violation),
    agentIds: new Set(),
    kept: [],
    paceMsMax: 15,
    calm: calm.promise,
    isCalm: () => isCalm,
    plays: () => {},
  };
  const clientOf = (name: string, host = hostAmong(places, random.named(name))): TortureClient =>
    makeTortureClient({ name, host, audience: silent, random: random.named(name), counts: calls });
  const clients = Array.from({ length: count }, (_, n) => clientOf(`c${n}`));
  const plays = Promise.all(clients.map((client, n) => play(stage, client, `c${n}`)));
  plays.catch(() => {}); // Whoever ends it sees it.
  return {
    calls,
    found,
    stage,
    /** Resolves when so many more turns were played. */
    turns: async (more: number): Promise<void> => {
      const enough = stage.counts.turns + more;
      await Promise.race([plays, until(() => stage.counts.turns >= enough)]);
    },
    /** Lets every client come to an end, and compares what each engine says of all agents with what they saw. */
    end: async (): Promise<void> => {
      isCalm = true;
      calm.resolve();
      await plays;
      for (const client of clients) client.close();
      for (const place of places) {
        const looker = clientOf("looker", hostOf(place));
        for (const kept of stage.kept) await checkKept(looker, kept, place.engine.url);
        looker.close();
      }
    },
  };
}

test("engines make room for the next version and back, one after the other, and no client loses anything", async () => {
  const prefix = "roll:";
  const settings = sharing(prefix);
  await using one = await openPlace(settings);
  await using two = await openPlace(settings);
  await using three = await openPlace(settings);
  const load = startLoad([one, two, three], makeRandom(seeded(1).seed), 10);
  await load.turns(5);
  const roll = async (places: readonly Place[], by: string): Promise<void> => {
    for (const place of places) {
      await place.replace(by);
      await load.turns(3);
    }
  };
  await roll([one, two], next.binary);
  await roll([one, two], binary);
  await roll([one, two], next.binary);
  expect(nextEventsIn(prefix)).toBe(0);
  expect(formatOf(prefix)).toBe(1);
  await roll([three], next.binary);
  await until(() => formatOf(prefix) === 2);
  await load.turns(10);
  await load.end();
  expect(load.found).toEqual([]);
  expect(load.stage.counts.revived).toBe(0);
  expect(load.calls.reconnects).toBeGreaterThan(0);
  expect(nextEventsIn(prefix)).toBeGreaterThan(0);

  const folder = await makeFolder();
  const { exitCode, stderr } = await runBinary(folder, ["serve"], settings);
  await rm(folder, { recursive: true });
  expect(exitCode).toBe(1);
  expect(stderr).toMatch(/^[^\n]*format 2[^\n]*start a newer engine\n$/);
});

/** Hears an agent to its rest, from whichever engine is there; gives how many of them stopped, and said so, meanwhile. */
async function hearOut(host: Host, agentId: string, listener: Listener): Promise<number> {
  for (let breaks = 0; ; breaks++) {
    const life = await host.now();
    const { client, drop } = makeConnection(life.url);
    const after = listener.sequence === 0n ? 1n : listener.sequence;
    await using chat = openChat(client, agentId, { after, listener });
    try {
      await chat.end();
      return breaks;
    } catch (error) {
      host.leave(life);
      if (chat.heard.length === 0) {
        // It came when the port was closing: nobody says more of that.
        await life.over;
        continue;
      }
      expect(error).toMatchObject({ code: Code.Unavailable });
      expect(String(error)).toContain("the engine is stopping");
    } finally {
      drop();
    }
  }
}

test("fifty answers under way go from engine to engine as each is started anew, and on at the same character", async () => {
  const settings = sharing("hand-over:");
  await using one = await openPlace(settings);
  await using two = await openPlace(settings);
  await using three = await openPlace(settings);
  const places = [one, two, three];
  const random = makeRandom(seeded(1).seed);
  const heard = await Promise.all(
    Array.from({ length: 50 }, async (_, n) => {
      const { client } = (places[n % 3] ?? one).engine;
      const wish = { goal: "write 150 words", model: "scripted:40" };
      const agentId = await createAgent(client, { ...wish, config: { waitForInput: false } });
      const listener = makeListener();
      const host = hostAmong(places, random.named(`c${n}`));
      return { listener, breaks: hearOut(host, agentId, listener) };
    }),
  );
  await until(() => heard.every(({ listener }) => wordsIn(listener.partial) > 10));
  for (const place of places) await place.replace(binary);
  const breaks = await Promise.all(heard.map((hearing) => hearing.breaks));
  for (const { listener } of heard) {
    expect(listener.texts.map(numbersIn)).toEqual([numbersTo(150)]);
    expect(listener.restarts).toBe(0);
  }
  expect(Math.min(...breaks)).toBeGreaterThan(0);
  for (const { engine } of places)
    expect(engine.logged.filter(({ level }) => level === "warn" || level === "error")).toEqual([]);
});

test("an engine that slept while its store was brought to a newer format serves and writes nothing more", async () => {
  const prefix = "sleep:";
  const settings = { ...sharing(prefix), LEASE_TTL_MS: "1000" };
  await using sleeper = await openEngine(settings);
  const agentId = await createAgent(sleeper.client, { model: "scripted:10" });
  await using before = openChat(sleeper.client, agentId);
  before.say("write 150 words");
  await before.until(() => wordsIn(before.listener.partial) > 40);
  sleeper.freeze();
  // As if it had slept for so long.
  redis.cli("del", makeShards(prefix).first.members);
  await using heir = await openEngine(settings, next.binary);
  await until(() => formatOf(prefix) === 2);
  const { listener } = before;
  await using after = openChat(heir.client, agentId, { after: listener.sequence });
  const words = wordsIn(listener.partial);
  await after.until(() => wordsIn(after.listener.partial) > words + 10);
  sleeper.thaw();
  await until(() => sleeper.logged.some(({ message }) => message.includes("unavailable")));
  const unready = await fetch(`${sleeper.url}/readyz`);
  expect(unready.status).toBe(503);
  expect(await unready.text()).toContain("start a newer engine");
  for (const call of [
    sleeper.client.getAgent({ agentId }),
    sleeper.client.createAgent({ goal: "g", model: "scripted" }),
    sleeper.client.sendMessage({ agentId, userInput: { content: "say hello" } }),
  ]) {
    const refusal = await refusalOf(call);
    expect(refusal.code).toBe(Code.Unavailable);
    expect(refusal.message).toContain("start a newer engine");
  }
  expect((await before.broken()).code).toBe(Code.Unavailable);
  await after.end();
  expect(after.listener.texts.map(numbersIn)).toEqual([numbersTo(150)]);
  expect(after.listener.restarts).toBe(0);
  expect(after.listener.texts[0]?.startsWith(listener.partial)).toBe(true);
  expect((await heir.client.listAgents({})).agents.length).toBe(1);
  expect(await sleeper.stop()).toBe(0);
});

test("a SQLite folder is taken over by the next version, and not given back", async () => {
  await using engine = await openEngine();
  const agentId = await createAgent(engine.client);
  await talk(engine.client, agentId, "The code is 42.");
  const history = await historyOf(engine.client, agentId);
  expect(await engine.stop()).toBe(0);
  await engine.start({}, next.binary);
  expect(await historyOf(engine.client, agentId)).toEqual(history);
  const answer = await talk(engine.client, agentId, "What is the code?");
  expect(valuesOf(answer, "text")[0]?.content).toContain("42");
  expect(await engine.stop()).toBe(0);
  const { exitCode, stderr } = await runBinary(engine.folder, ["serve"]);
  expect(exitCode).toBe(1);
  expect(stderr).toMatch(/^[^\n]*store format \d+[^\n]*start a newer engine\n$/);
});
