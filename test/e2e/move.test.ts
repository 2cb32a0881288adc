import { type JsonValue, toJson } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { Code, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { AdminService } from "../../src/gen/engram/admin/v1/admin_pb.ts";
import { AgentSchema, ServerMessageSchema } from "../../src/gen/engram/api/v1/agent_pb.ts";
import { makeCertificate } from "../support/certificate.ts";
import {
  createAgent,
  historyOf,
  isStatus,
  openChat,
  refusalOf,
  restingAgent,
  talk,
  valuesOf,
} from "../support/conversation.ts";
import {
  type Ended,
  type EngineProcess,
  makeFolder,
  openEngine,
  runBinary,
} from "../support/engine-process.ts";
import { numbersIn, numbersTo, wordsIn } from "../support/numbered-words.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";
import { urlOf } from "../support/redis-stores.ts";
import { putTools } from "../support/tool-modules.ts";

setDefaultTimeout(60_000);

let folder = "";
let redis: RedisServer;
/** Where the agents grow up, where they go, and where they come back to. */
let home: EngineProcess;
let away: EngineProcess;
let back: EngineProcess;

beforeAll(async () => {
  redis = await startRedis();
  [folder, home, away, back] = await Promise.all([
    makeFolder(),
    openEngine(),
    openEngine({ STORE_TYPE: "redis", REDIS_URL: urlOf(redis) }),
    openEngine(),
  ]);
  await Promise.all([home, away, back].map((engine) => putTools(engine.folder, "quick")));
});
afterAll(async () => {
  await Promise.all([home, away, back].map((engine) => engine[Symbol.asyncDispose]()));
  await Promise.all([redis.stop(), rm(folder, { recursive: true, force: true })]);
});

const run = (engine: EngineProcess, ...args: readonly string[]): Promise<Ended> =>
  runBinary(folder, args, { URL: engine.url });

/** Exports an agent and gives the path of its file. */
async function exported(engine: EngineProcess, agentId: string, name: string): Promise<string> {
  const { exitCode, stdout, stderr } = await run(engine, "export", agentId);
  expect([exitCode, stderr]).toEqual([0, ""]);
  const path = join(folder, `${name}-${agentId}.jsonl`);
  await Bun.write(path, stdout);
  return path;
}

async function imported(engine: EngineProcess, path: string): Promise<void> {
  const { exitCode, stdout, stderr } = await run(engine, "import", path);
  expect([exitCode, stderr]).toEqual([0, ""]);
  expect(stdout).toMatch(/^imported agent [0-9a-f-]{36} with \d+ events\n$/);
}

const withoutTime = async (path: string): Promise<string> =>
  (await Bun.file(path).text()).replace(/"exportedAt":"[^"]+"/, "");

/** What clients are shown of an agent. */
async function shown({ client }: EngineProcess, agentId: string): Promise<JsonValue> {
  const agent = toJson(AgentSchema, await client.getAgent({ agentId }));
  const history = await historyOf(client, agentId);
  return { agent, history: history.map((message) => toJson(ServerMessageSchema, message)) };
}

type Client = EngineProcess["client"];

/** Lets the agent write until so many words are there, and does something to it then; gives what was written. */
async function stopped(client: Client, agentId: string, status: string): Promise<string> {
  await using chat = openChat(client, agentId);
  chat.say("write 150 words");
  await chat.until(() => wordsIn(chat.listener.partial) >= 40);
  await client.setAgentStatus({ agentId, status });
  await chat.until(isStatus(status));
  return chat.listener.partial;
}

const attachments = [
  { name: "täxt.txt", mimeType: "text/plain", data: Buffer.from("grün 🙂\u0000\u2028") },
  { name: "a.png", mimeType: "image/png", data: new Uint8Array(300_000).fill(0xab) },
];

/** An agent of each kind, by what it is. */
const kinds: Readonly<Record<string, (client: Client) => Promise<string>>> = {
  "has done all sorts of things": async (client) => {
    const agentId = await createAgent(client, {
      goal: 'help "all"\n\ud83d\ude42 \u0000',
      metadata: { "10": "ten", "2": "two", b: "", constructor: "x" },
      systemPrompt: "be kind",
      config: { enableThinking: true, enableObservation: true },
    });
    await talk(client, agentId, "call quick with {}");
    await client.sendMessage({
      agentId,
      messageId: "with files",
      userInput: { content: "look", attachments },
    });
    await using chat = openChat(client, agentId);
    chat.send({
      payload: { case: "edit", value: { patch: { goal: "other" }, description: "be brief" } },
    });
    await chat.until(isStatus("waiting_for_input"));
    await chat.end();
    return agentId;
  },
  "waits for a confirmation": async (client) => {
    const agentId = await createAgent(client, {
      tools: [{ name: "quick", requiresConfirmation: true }],
    });
    await talk(client, agentId, "call quick with {}");
    return agentId;
  },
  "is a fork": async (client) => {
    const parent = await createAgent(client);
    await client.sendMessage({ agentId: parent, messageId: "1", userInput: { content: "hello" } });
    const { agentId } = await client.forkAgent({ agentId: parent, metadata: { fork: "yes" } });
    await client.sendMessage({ agentId, messageId: "1", userInput: { content: "hello fork" } });
    return agentId;
  },
  "has failed": async (client) => {
    const agentId = await createAgent(client, { config: { maxSteps: 2 } });
    await talk(client, agentId, "keep calling quick with {}");
    return agentId;
  },
  "has given its final answer": async (client) => {
    const agentId = await createAgent(client);
    await talk(client, agentId, 'finish with: {"n": 42}');
    return agentId;
  },
  "was canceled in mid-answer": async (client) => {
    const agentId = await createAgent(client, { model: "scripted:5" });
    await stopped(client, agentId, "canceled");
    return agentId;
  },
  "has condensed its context": async (client) => {
    const agentId = await createAgent(client, { config: { maxContextTokens: 2_000 } });
    for (let n = 0; n < 6; n++) await talk(client, agentId, `${n} ${"word ".repeat(300)}`);
    return agentId;
  },
  "has done nothing yet": (client) => createAgent(client),
};

const statusOf = async ({ client }: EngineProcess, agentId: string): Promise<string> =>
  (await client.getAgent({ agentId })).status;

describe("an agent that", () => {
  test.each(Object.keys(kinds))("%s is the same on Redis, and back on SQLite", async (kind) => {
    const agentId = await kinds[kind]!(home.client);
    const before = await shown(home, agentId);
    const file = await exported(home, agentId, "home");
    await imported(away, file);
    expect(await shown(away, agentId)).toEqual(before);
    const second = await exported(away, agentId, "away");
    expect(await withoutTime(second)).toBe(await withoutTime(file));
    await imported(back, second);
    expect(await shown(back, agentId)).toEqual(before);
    const third = await exported(back, agentId, "back");
    expect(await withoutTime(third)).toBe(await withoutTime(file));
    expect(await shown(home, agentId)).toEqual(before);
  });

  test("is paused in mid-answer goes on at the same character on the other side", async () => {
    const agentId = await createAgent(home.client, { model: "scripted:5" });
    const written = await stopped(home.client, agentId, "paused");
    const file = await exported(home, agentId, "paused");
    await imported(away, file);
    const second = await exported(away, agentId, "paused-away");
    expect(await withoutTime(second)).toBe(await withoutTime(file));
    await imported(back, second);
    for (const { client } of [away, back]) {
      await using chat = openChat(client, agentId);
      // Being written still, it is sent from its beginning.
      await chat.until(() => chat.listener.partial.length >= written.length);
      expect(chat.listener.partial).toBe(written);
      await client.setAgentStatus({ agentId, status: "waiting_for_step" });
      await chat.end();
      expect(chat.listener.texts.map(numbersIn)).toEqual([numbersTo(150)]);
      expect(chat.listener.texts[0]?.startsWith(written)).toBe(true);
      expect(chat.listener.restarts).toBe(0);
    }
    expect(await statusOf(home, agentId)).toBe("paused");
  });

  test("waits for a confirmation is confirmed on the other side, where clients are known", async () => {
    const agentId = await createAgent(home.client, {
      requestId: "made once",
      tools: [{ name: "quick", requiresConfirmation: true }],
    });
    const first = { agentId, messageId: "m", userInput: { content: "call quick with {}" } };
    await home.client.sendMessage(first);
    await imported(away, await exported(home, agentId, "confirm"));
    const { client } = away;
    const again = await client.createAgent({
      goal: "help the user",
      model: "scripted:instant",
      requestId: "made once",
      tools: [{ name: "quick", requiresConfirmation: true }],
      config: { waitForInput: true },
    });
    expect(again.agentId).toBe(agentId);
    const { headSequence } = await client.getAgent({ agentId });
    await client.sendMessage(first);
    expect((await client.getAgent({ agentId })).headSequence).toBe(headSequence);
    const other = { ...first, userInput: { content: "something else" } };
    expect((await refusalOf(client.sendMessage(other))).code).toBe(Code.AlreadyExists);
    const [call] = valuesOf(await historyOf(client, agentId), "toolCall");
    const confirm = { callId: call?.callId ?? "", approve: true };
    await client.controlAgent({ agentId, command: { case: "confirm", value: confirm } });
    expect((await restingAgent(client, agentId)).status).toBe("waiting_for_input");
    const results = valuesOf(await historyOf(client, agentId), "toolResult");
    expect(results.map(({ isError }) => isError)).toEqual([false]);
  });

  test("was deleted comes back, and so does one that went on elsewhere", async () => {
    const agentId = await createAgent(home.client);
    await talk(home.client, agentId, "say hello");
    await imported(away, await exported(home, agentId, "first"));
    await home.client.deleteAgent({ agentId });
    await talk(away.client, agentId, "say more");
    const before = await shown(away, agentId);
    await imported(home, await exported(away, agentId, "second"));
    expect(await shown(home, agentId)).toEqual(before);
    await talk(home.client, agentId, "say the end");
    await away.client.deleteAgent({ agentId });
    await imported(away, await exported(home, agentId, "third"));
    expect(await shown(away, agentId)).toEqual(await shown(home, agentId));
    await talk(away.client, agentId, "say goodbye");
    expect((await restingAgent(away.client, agentId)).status).toBe("waiting_for_input");
  });

  test("works is not exported, and one that is there is not imported", async () => {
    const agentId = await createAgent(home.client, { model: "scripted:20" });
    await using chat = openChat(home.client, agentId);
    chat.say("write 2000 words");
    await chat.until(() => wordsIn(chat.listener.partial) >= 2);
    const refused = await run(home, "export", agentId);
    expect(refused).toMatchObject({ exitCode: 1, stdout: "" });
    expect(refused.stderr).toMatch(/^engram: agent .* is working.*pause it first\n$/);
    await home.client.setAgentStatus({ agentId, status: "canceled" });
    const again = await run(home, "import", await exported(home, agentId, "there"));
    expect(again).toMatchObject({ exitCode: 1, stdout: "" });
    expect(again.stderr).toMatch(/^engram: agent .* is here already.*\n$/);
  });

  test("moved is sound in every store", async () => {
    for (const [engine, settings] of [
      [home, {}],
      [away, { STORE_TYPE: "redis", REDIS_URL: urlOf(redis) }],
      [back, {}],
    ] as const) {
      const verified = await runBinary(engine.folder, ["verify"], settings);
      expect(verified).toMatchObject({ exitCode: 0, stderr: "" });
      expect(verified.stdout).toContain("all is as it was written");
    }
  });
});

describe("a file that", () => {
  const damages: Readonly<Record<string, readonly [(file: string) => string, RegExp]>> = {
    "was cut off": [(file) => file.slice(0, -200), /line \d+ of the file is wrong: it is no JSON/],
    "ends between two lines": [
      (file) => file.slice(0, file.lastIndexOf("\n", file.length - 2) + 1),
      /the file ends with line \d+, before its closing line: it is not whole/,
    ],
    "has a changed byte": [
      (file) => file.replace("hello", "hellO"),
      /line \d+ of the file is wrong: event \d+ was changed/,
    ],
    "is of a newer engine": [
      (file) => file.replace('"version":1', '"version":99'),
      /line 1 of the file is wrong: .* version 99.*newer engine/,
    ],
    "is none": [() => "PK\u0003\u0004", /line 1 of the file is wrong: it is no JSON/],
    "is empty": [() => "", /the file is empty/],
  };
  test.each(Object.keys(damages))("%s is refused in one line, and makes nothing", async (kind) => {
    const [damage, complaint] = damages[kind]!;
    const agentId = await createAgent(home.client);
    await talk(home.client, agentId, "say hello");
    const path = await exported(home, agentId, "damaged");
    await Bun.write(path, damage(await Bun.file(path).text()));
    const { exitCode, stdout, stderr } = await run(back, "import", path);
    expect([exitCode, stdout]).toEqual([1, ""]);
    expect(stderr).toMatch(/^engram: [^\n]+\n$/);
    expect(stderr).toMatch(complaint);
    expect((await refusalOf(back.client.getAgent({ agentId }))).code).toBe(Code.NotFound);
  });

  test.each(["sqlite", "redis"])(
    "is being imported to %s when the engine is killed leaves nothing",
    async (store) => {
      const settings =
        store === "redis"
          ? { STORE_TYPE: "redis", REDIS_URL: urlOf(redis), REDIS_KEY_PREFIX: "killed:" }
          : {};
      await using engine = await openEngine(settings);
      const agentId = await createAgent(home.client);
      const content = "x".repeat(1024 * 1024);
      for (let n = 0; n < 5; n++)
        await home.client.sendMessage({ agentId, userInput: { content } });
      const path = await exported(home, agentId, store);
      const file = new Uint8Array(await Bun.file(path).arrayBuffer());
      const half = Promise.withResolvers<void>();
      async function* slowly(): AsyncGenerator<{ data: Uint8Array<ArrayBuffer> }> {
        const size = 100_000;
        for (let at = 0; at < file.length - size; at += size)
          yield { data: file.slice(at, at + size) };
        half.resolve();
        await new Promise(() => {}); // The rest never comes.
      }
      const client = createClient(AdminService, createGrpcTransport({ baseUrl: engine.url }));
      const outcome = client.importAgent(slowly()).then(
        () => "imported",
        () => "broken",
      );
      await half.promise;
      await engine.kill();
      expect(await outcome).toBe("broken");
      await engine.start();
      expect((await engine.client.listAgents({})).agents).toEqual([]);
      expect((await refusalOf(engine.client.getAgent({ agentId }))).code).toBe(Code.NotFound);
      await imported(engine, path);
      expect(await shown(engine, agentId)).toEqual(await shown(home, agentId));
      if (store === "redis") return;
      expect(await runBinary(engine.folder, ["verify"])).toMatchObject({ exitCode: 0 });
    },
  );
});

describe("a client's command", () => {
  test("says in one line that its engine is away, or of another kind", async () => {
    for (const [url, reason] of [
      ["http://127.0.0.1:1", "ECONNREFUSED"],
      [home.url.replace("http:", "https:"), ""],
    ] as const) {
      const ended = await runBinary(folder, ["export", "x", "--url", url]);
      expect(ended).toMatchObject({ exitCode: 1, stdout: "" });
      expect(ended.stderr).toMatch(/^engram: cannot reach [^\n]+\n$/);
      expect(ended.stderr).toContain(`cannot reach ${url}: `);
      expect(ended.stderr).toContain(reason);
    }
  });
  test("sends the first of its keys, over TLS too; a flag wins", async () => {
    const { certPath, keyPath } = makeCertificate();
    await using engine = await openEngine({ API_KEY: "right,other" });
    const agentId = "01a20540-b5c3-701e-b768-b26a82f3caff";
    const at = (...flags: readonly string[]): Promise<Ended> =>
      runBinary(folder, ["export", agentId, ...flags], { URL: engine.url, API_KEY: "right, x" });
    expect((await at()).stderr).toBe(`engram: no agent ${agentId}\n`);
    expect((await at("--api-key", "other")).stderr).toBe(`engram: no agent ${agentId}\n`);
    const wrong = await at("--api-key", "wrong,right");
    expect(wrong).toMatchObject({ exitCode: 1, stdout: "" });
    expect(wrong.stderr).toMatch(/^engram: an API key is needed[^\n]+\n$/);
    await engine.stop();
    await engine.start({ API_KEY: "right", TLS_CERT: certPath, TLS_KEY: keyPath });
    const secret = await runBinary(folder, ["export", agentId], {
      URL: engine.url,
      API_KEY: "right",
      NODE_EXTRA_CA_CERTS: certPath,
    });
    expect(secret).toMatchObject({ exitCode: 1, stderr: `engram: no agent ${agentId}\n` });
  });
  test("is told how it is used with exit code 2", async () => {
    for (const [args, complaint] of [
      [["export"], "usage: engram export AGENT > FILE"],
      [["export", "a", "b"], "usage: engram export AGENT > FILE"],
      [["import"], "usage: engram import FILE"],
      [["import", "f", "--nonsense"], "Unknown option '--nonsense'"],
      [["export", "a", "--url", "localhost:1"], 'URL is "localhost:1": it must be'],
    ] as const) {
      const { exitCode, stderr } = await runBinary(folder, args);
      expect([exitCode, stderr.split("\n").length]).toEqual([2, 2]);
      expect(stderr).toStartWith(`engram: ${complaint}`);
    }
    for (const path of ["nowhere.jsonl", "."]) {
      const { exitCode, stderr } = await runBinary(folder, ["import", path]);
      expect(exitCode).toBe(1);
      expect(stderr).toMatch(/^engram: [^\n]+ cannot be read: [^\n]+\n$/);
    }
  });
});
