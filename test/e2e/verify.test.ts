import { Database } from "bun:sqlite";
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmod, cp, mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  type Ended,
  type EngineProcess,
  makeFolder,
  openEngine,
  runBinary,
} from "../support/engine-process.ts";

let folder = "";
let engine: EngineProcess;
beforeAll(async () => {
  folder = await makeFolder();
  engine = await openEngine();
});
afterAll(async () => {
  await engine[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

const verify = (args: readonly string[] = [], cwd = folder): Promise<Ended> =>
  runBinary(cwd, ["verify", ...args]);

/** A copy of the running engine's folder, as a kill would leave it. */
const copied = async (name: string): Promise<string> => {
  const copy = join(folder, name);
  await mkdir(copy);
  for (const file of ["engram.db", "engram.db-wal"])
    await cp(join(engine.folder, "data", file), join(copy, file));
  return copy;
};

const talk = async (): Promise<string> => {
  const { agentId } = await engine.client.createAgent({
    goal: "Help.",
    model: "scripted:0",
    config: { waitForInput: true },
  });
  for (const content of ["Write 5 words.", "Write 6 words."])
    await engine.client.sendMessage({ agentId, userInput: { content }, messageId: content });
  return agentId;
};

describe("engram verify", () => {
  test("finds a running engine's store as it was written", async () => {
    await talk();
    const { exitCode, stdout, stderr } = await verify([], engine.folder);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
    expect(stdout).toMatch(/^\d+ agents, \d+ events in .* s: all is as it was written\n$/);
  });
  test("names the first thing wrong of each agent, and goes on with the others", async () => {
    const [one, two, three] = [await talk(), await talk(), await talk()];
    const copy = await copied("changed");
    const db = new Database(join(copy, "engram.db"));
    const of = (agentId: string): string =>
      `agent = (SELECT id FROM agent WHERE agent_id = '${agentId}')`;
    db.run(`UPDATE event SET body = replace(body, 'Write', 'Wrote') WHERE ${of(one)}`);
    db.run(`DELETE FROM event WHERE sequence = 4 AND ${of(two)}`);
    db.close(true);
    const { exitCode, stdout } = await verify(["--db-path", copy]);
    expect(exitCode).toBe(1);
    const lines = stdout.trimEnd().split("\n");
    expect(lines.slice(0, -1)).toEqual([
      `agent ${one}: event 2 was changed`,
      `agent ${two}: event 4 is missing`,
    ]);
    expect(lines.at(-1)).toContain("2 damaged agents");
    expect((await verify([three, "--db-path", copy])).exitCode).toBe(0);
    expect((await verify([two, "--db-path", copy])).exitCode).toBe(1);
  });
  test("says in one line what it cannot do", async () => {
    const usage = await verify(["a", "b"]);
    expect(usage.exitCode).toBe(2);
    const cases = [
      await verify(["--db-path", join(folder, "nowhere")]),
      await verify(["nobody", "--db-path", await copied("known")]),
    ];
    for (const { exitCode, stdout, stderr } of cases) {
      expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: "" });
      expect(stderr).toMatch(/^engram: there is no [^\n]*\n$/);
    }
  });
  test("refuses a file that is empty or none of this program's", async () => {
    for (const content of ["", "x".repeat(10_000)]) {
      const place = join(folder, `file-${content.length}`);
      await mkdir(place);
      await writeFile(join(place, "engram.db"), content);
      const { exitCode, stderr } = await verify(["--db-path", place]);
      expect(exitCode).toBe(1);
      expect(stderr).toMatch(/^engram: [^\n]*engram\.db[^\n]*\n$/);
    }
  });
  test("reads what it may not write", async () => {
    const copy = await copied("read-only");
    await chmod(join(copy, "engram.db"), 0o444);
    await chmod(join(copy, "engram.db-wal"), 0o444);
    await chmod(copy, 0o555);
    const { exitCode, stdout } = await verify(["--db-path", copy]);
    await chmod(copy, 0o755);
    expect({ exitCode, stdout }).toMatchObject({ exitCode: 0 });
    expect(stdout).toContain("all is as it was written");
  });
});
