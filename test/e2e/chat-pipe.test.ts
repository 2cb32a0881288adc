import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { createAgent, historyOf, is, openChat, talk, valuesOf } from "../support/conversation.ts";
import { binary, type Ended, type EngineProcess, openEngine } from "../support/engine-process.ts";
import { numbersIn, numbersTo, wordsIn } from "../support/numbered-words.ts";
import { freePort } from "../support/redis-server.ts";
import { putTools } from "../support/tool-modules.ts";

setDefaultTimeout(60_000);

let engine: EngineProcess;
beforeAll(async () => {
  engine = await openEngine();
  await putTools(engine.folder, "quick");
});
afterAll(() => engine[Symbol.asyncDispose]());

/** `engram chat` with something on the standard input. */
const chat = async (said: string | Uint8Array, args: readonly string[], on = engine) => {
  const process = Bun.spawn([binary, "chat", ...args], {
    env: { URL: on.url },
    stdin: typeof said === "string" ? Buffer.from(said) : said,
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr] = await Promise.all([process.stdout.text(), process.stderr.text()]);
  return { exitCode: await process.exited, stdout, stderr } satisfies Ended;
};

test("the lines are one message, and the answer's text alone is printed", async () => {
  const agentId = await createAgent(engine.client, { config: { enableThinking: true } });
  const answer = await chat("say one\n two\u001b[2J\n\n", [agentId]);
  // Into a pipe goes what the model wrote, to the byte.
  expect(answer).toEqual({ exitCode: 0, stdout: "one\n two\u001b[2J\n", stderr: "" });
  const used = await chat("call quick with {}", [agentId]);
  expect(used).toEqual({ exitCode: 0, stdout: "The tool quick says: done.\n", stderr: "" });
  const final = await chat('finish with: {"n": 42}', [agentId]);
  expect(final).toMatchObject({ exitCode: 0, stderr: "" });
  expect(final.stdout).toContain("42");
  const statuses = valuesOf(await historyOf(engine.client, agentId), "status");
  const said = statuses.filter(({ status }) => status === "user_input");
  expect(said.map(({ message }) => message)).toEqual([
    "say one\n two\u001b[2J",
    "call quick with {}",
    'finish with: {"n": 42}',
  ]);
});

test("without a name it is the newest agent that takes input", async () => {
  await using other = await openEngine();
  const nobody = await chat("hello", [], other);
  expect(nobody).toEqual({
    exitCode: 1,
    stdout: "",
    stderr:
      "engram: there is no agent to talk with; make one: engram create GOAL --model MODEL --wait\n",
  });
  const older = await createAgent(other.client);
  const newer = await createAgent(other.client);
  await other.client.controlAgent({ agentId: newer, command: { case: "cancel", value: {} } });
  expect((await chat("say it is me", [], other)).stdout).toBe("it is me\n");
  const history = await historyOf(other.client, older);
  expect(valuesOf(history, "text").map(({ content }) => content)).toEqual(["it is me"]);
});

test("a turn that fails exits with 1, one that waits says for what", async () => {
  const failing = await createAgent(engine.client, { config: { maxSteps: 1 } });
  const failed = await chat("keep calling quick with {}", [failing]);
  expect(failed).toMatchObject({ exitCode: 1, stdout: "" });
  expect(failed.stderr).toMatch(/^engram: the agent failed: MAX_STEPS: [^\n]+\n$/);
  const refused = await chat("hello", [failing]);
  expect(refused).toMatchObject({ exitCode: 1, stdout: "" });
  expect(refused.stderr).toMatch(/^engram: [^\n]+\n$/);

  const asking = await createAgent(engine.client, {
    tools: [{ name: "quick", requiresConfirmation: true }],
  });
  const waiting = await chat("call quick with {}", [asking]);
  expect(waiting).toMatchObject({ exitCode: 0, stdout: "" });
  expect(waiting.stderr).toContain(`engram confirm ${asking}`);

  const paused = await createAgent(engine.client);
  await engine.client.controlAgent({ agentId: paused, command: { case: "pause", value: {} } });
  const kept = await chat("hello", [paused]);
  expect(kept).toMatchObject({ exitCode: 0, stdout: "" });
  expect(kept.stderr).toContain(`engram resume ${paused}`);
});

test("kill -9 in mid-answer costs no character, and says nothing twice", async () => {
  await using steady = await openEngine({ GRPC_PORT: String(await freePort()) });
  const agentId = await createAgent(steady.client, { model: "scripted:10" });
  const watch = async (): Promise<void> => {
    await using watcher = openChat(steady.client, agentId);
    await watcher.until(() => wordsIn(watcher.listener.partial) >= 30);
  };
  const watched = watch();
  const answer = chat("write 100 words", [agentId], steady);
  await watched;
  await steady.kill();
  await steady.start();
  const { exitCode, stdout, stderr } = await answer;
  expect([exitCode, stderr]).toEqual([0, ""]);
  expect(numbersIn(stdout.trimEnd())).toEqual(numbersTo(100));
  const history = await historyOf(steady.client, agentId);
  expect(history.filter(is("text"))).toHaveLength(1);
  const said = valuesOf(history, "status").filter(({ status }) => status === "user_input");
  expect(said).toHaveLength(1);
  await talk(steady.client, agentId, "say bye");
});

test("bad usage exits with 2 and a line", async () => {
  const agentId = await createAgent(engine.client);
  const usages = [
    ["", [agentId]],
    [" \n\n", [agentId]],
    ["hello", [agentId, "more"]],
    ["hello", [""]],
    ["hello", [agentId, "--wait"]],
    [new Uint8Array([0xff, 0x61]), [agentId]],
    ["x".repeat(4 * 2 ** 20), [agentId]],
  ] as const;
  for (const [said, args] of usages) {
    const { exitCode, stdout, stderr } = await chat(said, args);
    expect({ args, exitCode, stdout }).toEqual({ args, exitCode: 2, stdout: "" });
    expect(stderr).toMatch(/^engram: [^\n]+\n$/);
  }
  expect((await engine.client.getAgent({ agentId })).headSequence).toBe(1n);
});
