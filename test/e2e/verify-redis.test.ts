import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { rm } from "node:fs/promises";
import { systemClock } from "../../src/clock.ts";
import { readRedisUrl } from "../../src/store/redis/address.ts";
import { openRedisAudit } from "../../src/store/redis/audit/audit.ts";
import { makeShards } from "../../src/store/redis/shards.ts";
import { createAgent, talk } from "../support/conversation.ts";
import {
  type Ended,
  type EngineProcess,
  makeFolder,
  openEngine,
  runBinary,
} from "../support/engine-process.ts";
import { makeAgents, type StoredAgents } from "../support/redis-agents.ts";
import { damageRedis, redisDamages } from "../support/redis-damage.ts";
import { deployments, freePort, type RedisServer, startRedis } from "../support/redis-server.ts";
import { urlOf } from "../support/redis-stores.ts";

setDefaultTimeout(60_000);

let folder = "";
beforeAll(async () => {
  folder = await makeFolder();
});
afterAll(() => rm(folder, { recursive: true }));

/** `engram verify` of the store with this prefix. */
const verify = (url: string, prefix: string, ...args: readonly string[]): Promise<Ended> =>
  runBinary(folder, ["verify", ...args], {
    STORE_TYPE: "redis",
    REDIS_URL: url,
    REDIS_KEY_PREFIX: prefix,
  });

/** The same without a process. */
async function auditFaults(url: string, prefix: string): Promise<readonly string[]> {
  const faults: string[] = [];
  const place = readRedisUrl(url);
  const audit = await openRedisAudit({ place, prefix, ca: null, clock: systemClock });
  try {
    await audit.all({
      read: () => {},
      note: () => {},
      agent: (agentId, fault) => void (fault !== null && faults.push(`agent ${agentId}: ${fault}`)),
      fault: (text) => void faults.push(text),
    });
  } finally {
    audit.close();
  }
  return faults;
}

const whole = /^\d+ agents, \d+ events in .* s: all is as it was written\n$/;

/** Talks, forks and removes until told to stop. */
const load = async ({ client }: EngineProcess, stopped: AbortSignal): Promise<void> => {
  for (let n = 0; !stopped.aborted; n++) {
    const agentId = await createAgent(client, { requestId: `load ${n} ${Math.random()}` });
    for (const content of ["write 300 words", "call quick with {}", "say hello"])
      await client.sendMessage({ agentId, userInput: { content }, messageId: content });
    const { agentId: fork } = await client.forkAgent({ agentId });
    await client.sendMessage({ agentId: fork, userInput: { content: "write 200 words" } });
    if (n % 2 === 0) await client.deleteAgent({ agentId, force: true });
  }
};

describe.each(deployments)("engram verify on $name", ({ start }) => {
  const prefix = "kept:";
  let servers: readonly RedisServer[] = [];
  let url = "";
  let agents: StoredAgents;
  const engineOf = (of: string): Promise<EngineProcess> =>
    openEngine({
      STORE_TYPE: "redis",
      REDIS_URL: url,
      REDIS_KEY_PREFIX: of,
      LEASE_TTL_MS: "1000",
    });
  beforeAll(async () => {
    servers = await start();
    url = urlOf(...servers);
    await using engine = await engineOf(prefix);
    agents = await makeAgents(engine);
  });
  afterAll(async () => {
    await Promise.all(servers.map(({ stop }) => stop()));
  });
  const first = (): RedisServer => servers[0]!;

  test("finds what engines have left as it was written", async () => {
    expect(await verify(url, prefix)).toMatchObject({
      exitCode: 0,
      stderr: "",
      stdout: expect.stringMatching(whole),
    });
    for (const name of ["talker", "caller", "fork", "paused", "held", "canceled"] as const)
      expect((await verify(url, prefix, agents[name])).stdout).toMatch(/^1 agents, .* written\n$/);
  });

  test.each(redisDamages)("names $what", async (damage) => {
    const agentId = agents[damage.agent];
    const undo = damageRedis(first(), { prefix, agentId }, damage);
    const faults = await auditFaults(url, prefix);
    undo();
    const ofStore = damage.fault.startsWith("?");
    expect(faults).toEqual([
      expect.stringContaining(ofStore ? damage.fault.slice(1) : damage.fault),
    ]);
    if (!ofStore) expect(faults).toEqual([expect.stringContaining(`agent ${agentId}: `)]);
  });
  test("exits with 1 where an agent is damaged, and with 0 for another", async () => {
    const agentId = agents.caller;
    const damage = redisDamages.find(({ agent }) => agent === "caller");
    const undo = damageRedis(first(), { prefix, agentId }, damage!);
    const [all, one, other] = [
      await verify(url, prefix),
      await verify(url, prefix, agentId),
      await verify(url, prefix, agents.talker),
    ];
    undo();
    expect([all.exitCode, one.exitCode, other.exitCode]).toEqual([1, 1, 0]);
    expect(all.stdout).toMatch(
      new RegExp(`^agent ${agentId}: [^\n]+\n\\d+ agents, .* 1 damaged agents, 1 faults\n$`),
    );
    expect(one.stdout).toStartWith(`agent ${agentId}: `);
  });
  test("finds it whole again", async () => {
    expect((await verify(url, prefix)).stdout).toMatch(whole);
  });

  test("raises no false alarm beside engines at work", async () => {
    await using one = await engineOf("busy:");
    await using other = await engineOf("busy:");
    const stop = new AbortController();
    const loads = [one, other, one, other].map((engine) => load(engine, stop.signal));
    try {
      for (let looks = 0; looks < 4; looks++) {
        const { exitCode, stdout } = await verify(url, "busy:");
        expect(stdout).toMatch(whole);
        expect(exitCode).toBe(0);
      }
    } finally {
      stop.abort();
      await Promise.all(loads);
    }
    // Once more when nothing changes.
    expect(await auditFaults(url, "busy:")).toEqual([]);
  });

  test("needs to read only, and tries nothing else", async () => {
    for (const server of servers)
      server.cli(..."acl setuser reader on >s +@read ~kept:*".split(" "));
    const places = servers.map(({ port }) => `redis://reader:s@127.0.0.1:${port}`);
    const { exitCode, stdout, stderr } = await verify(places.join(","), prefix);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
    expect(stdout).toMatch(whole);
    const refused = servers.flatMap((server) => [
      ...server.cli("acl", "log").matchAll(/^object\n(.*)$/gm),
    ]);
    // What a server is, and which has what: it goes without knowing.
    for (const [, command] of refused) expect(["info", "cluster|slots"]).toContain(command!);
  });

  test("says in one line what it cannot do", async () => {
    const [empty, unknown] = [await verify(url, "empty:"), await verify(url, prefix, "nobody")];
    for (const { exitCode, stdout } of [empty, unknown])
      expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: "" });
    expect(empty.stderr).toMatch(/^engram: Redis [^\n]* holds nothing\n$/);
    expect(unknown.stderr).toMatch(/^engram: there is no agent nobody in Redis [^\n]*\n$/);
    expect((await verify(url, prefix, "a", "b")).exitCode).toBe(2);
  });
});

test("engram verify looks at a replica, where that is what it is told to look at", async () => {
  const [master, replica] = await Promise.all([startRedis(), startRedis()]);
  try {
    await using engine = await openEngine({ STORE_TYPE: "redis", REDIS_URL: urlOf(master) });
    const agentId = await createAgent(engine.client);
    await talk(engine.client, agentId, "say hello");
    await engine.stop();
    replica.cli("replicaof", "127.0.0.1", `${master.port}`);
    while (!replica.cli("info", "replication").includes("master_link_status:up"))
      await Bun.sleep(20);
    const { exitCode, stdout } = await verify(urlOf(replica), "engram:");
    expect(stdout).toMatch(whole);
    expect(exitCode).toBe(0);
    expect(replica.cli("info", "replication")).toContain("role:slave");
  } finally {
    await Promise.all([master.stop(), replica.stop()]);
  }
});

test("engram verify says in one line why it cannot look", async () => {
  const server = await startRedis();
  try {
    const store = makeShards("engram:").first.store;
    server.cli("hset", store, "id", "x", "format", "99");
    server.cli(..."acl setuser blind on >s ~engram:*".split(" "));
    const url = urlOf(server);
    const [newer, blind, stranger, away] = await Promise.all([
      verify(url, "engram:"),
      verify(`redis://blind:s@${url}`, "engram:"),
      verify(`redis://nobody:s@${url}`, "engram:"),
      verify(`127.0.0.1:${await freePort()}`, "engram:"),
    ]);
    for (const { exitCode, stdout } of [newer, blind, stranger, away])
      expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: "" });
    expect(newer.stderr).toMatch(/^engram: [^\n]* has format 99, [^\n]*newer engine\n$/);
    expect(blind.stderr).toMatch(/^engram: Redis [^\n]* may not do this\n$/);
    expect(stranger.stderr).toMatch(/^engram: Redis [^\n]* refuses the user or password[^\n]*\n$/);
    expect(away.stderr).toMatch(/^engram: Redis cannot be reached [^\n]*\n$/);
  } finally {
    await server.stop();
  }
});
