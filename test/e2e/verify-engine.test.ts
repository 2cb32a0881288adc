import { Database } from "bun:sqlite";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type EngineProcess, openEngine, runBinary } from "../support/engine-process.ts";

let engine: EngineProcess;
beforeEach(async () => {
  engine = await openEngine();
});
afterEach(() => engine[Symbol.asyncDispose]());

const talk = async (content = "Write 5 words."): Promise<string> => {
  const { agentId } = await engine.client.createAgent({
    goal: "Help.",
    model: "scripted:0",
    config: { waitForInput: true },
  });
  await engine.client.sendMessage({ agentId, userInput: { content }, messageId: "m" });
  return agentId;
};
const file = (): string => join(engine.folder, "data", "engram.db");
/** Changes the file of a killed engine, and starts the next one. */
const restartedAfter = async (statement: string): Promise<void> => {
  await engine.kill();
  const db = new Database(file());
  db.run(statement);
  db.close(true);
  // What was changed is part of the file, and not of the log.
  await engine.start();
};
const of = (agentId: string): string =>
  `agent = (SELECT id FROM agent WHERE agent_id = '${agentId}')`;
const codeOf = async (call: () => Promise<unknown>): Promise<string> => {
  try {
    await call();
    return "OK";
  } catch (error) {
    return Code[ConnectError.from(error).code];
  }
};
const drained = async (stream: AsyncIterable<unknown>): Promise<void> => {
  for await (const message of stream) expect(message).toBeDefined();
};

describe("a damaged agent", () => {
  test("is refused in every call, named in the log, and the others are served", async () => {
    const [bad, good] = [await talk(), await talk()];
    await restartedAfter(
      `UPDATE event SET body = replace(body, 'Write', 'Wrote') WHERE sequence = 2 AND ${of(bad)}`,
    );
    const { client } = engine;
    const about = (agentId: string) => [
      () => client.getAgent({ agentId }),
      () => drained(client.replay({ agentId, fromSequence: 1n, includeHistory: true })),
      () => client.sendMessage({ agentId, userInput: { content: "Hi" } }),
      () => client.forkAgent({ agentId }),
      () => client.controlAgent({ agentId, command: { case: "pause", value: {} } }),
      () => client.setAgentStatus({ agentId, status: "waiting_for_step" }),
      () => drained(client.chat(attach(agentId))),
      () => client.deleteAgent({ agentId }),
    ];
    for (const call of about(bad)) expect(await codeOf(call)).toBe("DataLoss");
    for (const call of about(good)) expect(await codeOf(call)).toBe("OK");
    const { agents } = await client.listAgents({});
    expect(agents.map(({ agentId }) => agentId)).toContain(bad);
    const lines = engine.logged.filter(({ level }) => level === "error");
    expect(lines).toEqual([
      expect.objectContaining({
        message: expect.stringContaining("engram verify"),
        agentId: bad,
        fault: expect.stringContaining("event 2 was changed"),
      }),
    ]);
    const verified = await runBinary(engine.folder, ["verify"]);
    expect(verified.exitCode).toBe(1);
    expect(verified.stdout).toStartWith(`agent ${bad}: event 2 was changed\n`);
    // What is not brought back can be removed.
    await client.deleteAgent({ agentId: bad, force: true });
    expect(await codeOf(() => client.getAgent({ agentId: bad }))).toBe("NotFound");
    expect((await runBinary(engine.folder, ["verify"])).exitCode).toBe(0);
  });
  test("whose index row cannot be read is left out of lists", async () => {
    const [bad, good] = [await talk(), await talk()];
    await restartedAfter(`UPDATE agent SET stats = 'x' WHERE agent_id = '${bad}'`);
    for (const statusFilter of ["", "waiting_for_input"]) {
      const { agents } = await engine.client.listAgents({ statusFilter });
      expect(agents.map(({ agentId }) => agentId)).toEqual([good]);
    }
  });
  test("of a large store is found while the store is served", async () => {
    const bad = await talk("Write 5 words.");
    for (let n = 0; n < 5; n++) await talk("x".repeat(1_000_000));
    await restartedAfter(`DELETE FROM mark WHERE ${of(bad)}`);
    let code = "OK";
    while (code === "OK") code = await codeOf(() => engine.client.getAgent({ agentId: bad }));
    expect(code).toBe("DataLoss");
    expect(await codeOf(() => talk())).toBe("OK");
  });
});

async function* attach(agentId: string) {
  yield { agentId };
}

describe("a store that has lost commits", () => {
  test.each([
    ["missing", () => rm(file())],
    ["empty", () => writeFile(file(), "")],
    ["without its log", () => rm(`${file()}-wal`)],
  ])("because its file is %s is refused, until that is accepted", async (_what, damage) => {
    await talk();
    await engine.kill();
    await damage();
    const { exitCode, stderr } = await runBinary(engine.folder, ["serve"]);
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(/^engram: [^\n]*commits of store [^\n]*--accept-data-loss[^\n]*\n$/);
    expect((await runBinary(engine.folder, ["verify"])).exitCode).toBe(1);
    await engine.start({ ACCEPT_DATA_LOSS: "1" });
    await talk();
    expect(engine.logged.filter(({ level }) => level === "warn")).toHaveLength(1);
    await engine.kill();
    await engine.start();
    expect((await runBinary(engine.folder, ["verify"])).exitCode).toBe(0);
  });
  test("takes the flag without a value", async () => {
    const { exitCode, stderr } = await runBinary(engine.folder, ["serve", "--accept-data-loss=1"]);
    expect(exitCode).toBe(2);
    expect(stderr).toContain("--accept-data-loss");
    // It gets as far as the folder, which this engine has.
    const second = await runBinary(engine.folder, ["serve", "--accept-data-loss"]);
    expect(second.stderr).toContain("another engine runs");
  });
});
