import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { Code, ConnectError } from "@connectrpc/connect";
import { statSync } from "node:fs";
import { join } from "node:path";
import { createAgent, historyOf, openChat, refusalOf, valuesOf } from "../support/conversation.ts";
import { type EngineProcess, openEngine, runBinary } from "../support/engine-process.ts";
import { type Fault, openFaultyDisk } from "../support/faulty-disk.ts";
import { numbersIn, numbersTo } from "../support/numbered-words.ts";

setDefaultTimeout(60_000);

const probe = async (engine: EngineProcess, path: string): Promise<[number, string]> => {
  const response = await fetch(`${engine.url}${path}`);
  return [response.status, (await response.text()).trim()];
};

/** As a client does that was told to try again. */
const again = async <T>(ask: () => Promise<T>): Promise<T> => {
  for (;;)
    try {
      return await ask();
    } catch (error) {
      if (!(error instanceof ConnectError) || error.code !== Code.Unavailable) throw error;
      await Bun.sleep(20);
    }
};

const say = (content: string) => ({ case: "userInput", value: { content } }) as const;

/** Every call that writes, on an agent that rests. */
const mutations = ({ client }: EngineProcess, agentId: string) => ({
  create: () => client.createAgent({ goal: "one too many", model: "scripted:instant" }),
  send: () => client.sendMessage({ agentId, userInput: { content: "hello" }, messageId: "1" }),
  say: async () => {
    await using chat = openChat(client, agentId);
    chat.send({ payload: say("hello"), messageId: "2" });
    throw await chat.broken();
  },
  edit: async () => {
    await using chat = openChat(client, agentId);
    chat.send({ payload: { case: "edit", value: { patch: { goal: "another" } } } });
    throw await chat.broken();
  },
  pause: () => client.controlAgent({ agentId, command: { case: "pause", value: {} } }),
  cancel: () => client.setAgentStatus({ agentId, status: "canceled" }),
  fork: () => client.forkAgent({ agentId }),
  delete: () => client.deleteAgent({ agentId }),
});

/** An agent in the middle of a long answer, and another that rests. */
const openBusyEngine = async (settings: Readonly<Record<string, string>>) => {
  const engine = await openEngine(settings);
  const { client } = engine;
  const resting = await createAgent(client);
  const working = await createAgent(client, { model: "scripted:20" });
  const chat = openChat(client, working);
  chat.say("write 60 words");
  await chat.until(({ payload }) => payload.case === "textDelta" && payload.value.offset > 50n);
  return { engine, client, resting, working, chat };
};
type Busy = Awaited<ReturnType<typeof openBusyEngine>>;

/** While the disk takes no writes: all that writes is refused with `reason`, all that reads goes on. */
const holdsStill = async ({ engine, client, resting, working }: Busy, reason: string) => {
  for (const [name, mutate] of Object.entries(mutations(engine, resting))) {
    const { code, rawMessage } = await refusalOf(mutate());
    expect({ name, code, rawMessage }).toEqual({
      name,
      code: Code.Unavailable,
      rawMessage: expect.stringContaining(reason),
    });
  }
  expect(await probe(engine, "/healthz")).toEqual([200, expect.anything()]);
  expect(await probe(engine, "/readyz")).toEqual([503, expect.stringContaining(reason)]);
  expect(await historyOf(client, resting)).toHaveLength(1);
  expect((await client.listAgents({})).agents.map(({ agentId }) => agentId).toSorted()).toEqual(
    [resting, working].toSorted(),
  );
  expect((await client.getAgent({ agentId: working })).status).not.toBe("failed");
};

/** Afterwards, without a restart: the answer is finished by itself, and nothing is missing, doubled or half there. */
const goesOn = async ({ engine, client, resting, working, chat }: Busy) => {
  const whole = await chat.until(({ payload }) => payload.case === "text");
  expect(numbersIn(String(valuesOf([whole], "text")[0]?.content))).toEqual(numbersTo(60));
  await again(() => client.sendMessage({ agentId: resting, ...hello }));
  expect(await probe(engine, "/readyz")).toEqual([200, "ok"]);
  const history = await historyOf(client, working);
  expect(valuesOf(history, "error")).toEqual([]);
  expect(valuesOf(history, "text")).toHaveLength(1);
  const statuses = valuesOf(await historyOf(client, resting), "status");
  expect(statuses.filter(({ message }) => message === "hello")).toHaveLength(1);
  await chat[Symbol.asyncDispose]();
  expect(await engine.stop()).toBe(0);
  const verified = await runBinary(engine.folder, ["verify"]);
  expect({ exitCode: verified.exitCode, stderr: verified.stderr }).toEqual({
    exitCode: 0,
    stderr: "",
  });
};
const hello = { userInput: { content: "hello" }, messageId: "1" };

describe("a disk that does not take writes", () => {
  const faults: readonly (readonly [string, Fault, string])[] = [
    ["is full", { writeError: "ENOSPC" }, "disk is full: free some space"],
    ["fails to write", { writeError: "EIO" }, "disk fails: mend or replace it"],
    ["fails to sync", { syncError: "EIO" }, "disk fails: mend or replace it"],
    ["was made read-only", { writeError: "EROFS" }, "disk fails"],
  ];
  test.each(faults)(
    "as it %s: writes are refused, reads and agents go on",
    async (_, fault, why) => {
      using disk = openFaultyDisk();
      const busy = await openBusyEngine(disk.settings);
      await using engine = busy.engine;
      expect(engine.pid).toBeGreaterThan(0);
      disk.set(fault);
      await holdsStill(busy, why);
      disk.set({});
      await goesOn(busy);
    },
  );

  test("for a limit of the system: the engine lives and goes on when it is lifted", async () => {
    const busy = await openBusyEngine({});
    await using engine = busy.engine;
    const limit = (bytes: number | "unlimited"): void => {
      const { exitCode } = Bun.spawnSync(["prlimit", `--pid=${engine.pid}`, `--fsize=${bytes}:`]);
      expect(exitCode).toBe(0);
    };
    limit(statSync(join(engine.folder, "data", "engram.db-wal")).size);
    await holdsStill(busy, "disk fails");
    limit("unlimited");
    await goesOn(busy);
  });
});

describe("a disk that hangs", () => {
  test("holds up who writes and nobody else; they are told that they may have to repeat it", async () => {
    using disk = openFaultyDisk();
    const busy = await openBusyEngine(disk.settings);
    await using engine = busy.engine;
    const { client, resting, working } = busy;
    disk.set({ syncDelayMs: 600_000 });
    const wish = { goal: "once", model: "scripted:instant", requestId: "once" };
    let answered = false;
    const refusal = refusalOf(client.createAgent(wish)).finally(() => (answered = true));

    expect(await probe(engine, "/healthz")).toEqual([200, expect.anything()]);
    expect((await client.getAgent({ agentId: working })).status).toBe("processing");
    expect(await historyOf(client, resting)).toHaveLength(1);
    expect((await client.listAgents({})).agents).toHaveLength(2);
    expect(answered).toBe(false);

    const { code, rawMessage } = await refusal;
    expect(code).toBe(Code.Unavailable);
    // It may be with the disk, and written or not, or behind the agent's own write, and not written.
    expect(rawMessage).toContain("disk has not answered for");
    await holdsStill(busy, "disk has not answered for");

    disk.set({});
    const made = await again(() => client.createAgent(wish));
    expect((await client.listAgents({})).agents.map(({ agentId }) => agentId)).toContain(
      made.agentId,
    );
    expect((await client.listAgents({})).agents).toHaveLength(3);
    await goesOn(busy);
  });

  test("does not hold up the end of the engine", async () => {
    using disk = openFaultyDisk();
    await using engine = await openEngine(disk.settings);
    const agentId = await createAgent(engine.client, { model: "scripted:20" });
    await using chat = openChat(engine.client, agentId);
    chat.say("write 60 words");
    await chat.until(({ payload }) => payload.case === "textDelta");
    disk.set({ syncDelayMs: 600_000 });
    expect(await engine.stop()).toBe(0);
    disk.set({});
    await engine.start();
    const { status } = await again(() => engine.client.getAgent({ agentId }));
    expect(status).not.toBe("failed");
  });
});

test("no answer to a call that writes comes before the disk was synced for it", async () => {
  using disk = openFaultyDisk();
  await using engine = await openEngine(disk.settings);
  const agentId = await createAgent(engine.client);
  for (let number = 0; number < 10; number++) {
    const before = disk.syncs();
    await createAgent(engine.client);
    expect(disk.syncs()).toBeGreaterThan(before);
    const between = disk.syncs();
    await engine.client.sendMessage({ agentId, userInput: { content: `${number}` } });
    // What was asked, and what was answered.
    expect(disk.syncs()).toBeGreaterThanOrEqual(between + 2);
  }
});
