import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { rm } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { createAgent, restingAgent, talk } from "../support/conversation.ts";
import {
  binary,
  type Ended,
  type EngineProcess,
  makeFolder,
  openEngine,
  runBinary,
} from "../support/engine-process.ts";
import { openTerminal } from "../support/terminal.ts";
import { putTools } from "../support/tool-modules.ts";

setDefaultTimeout(60_000);

let folder = "";
let engine: EngineProcess;

beforeAll(async () => {
  [folder, engine] = await Promise.all([makeFolder(), openEngine()]);
  await putTools(engine.folder, "quick");
});
afterAll(async () => {
  await engine[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

const run = (...args: readonly string[]): Promise<Ended> =>
  runBinary(folder, args, { URL: engine.url });

/** Runs it with something on the standard input. */
const runWith = async (input: string, ...args: readonly string[]): Promise<Ended> => {
  const process = Bun.spawn([binary, ...args], {
    cwd: folder,
    env: { URL: engine.url },
    stdin: Buffer.from(input),
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr] = await Promise.all([process.stdout.text(), process.stderr.text()]);
  return { exitCode: await process.exited, stdout, stderr };
};

const good = (stdout: string): Ended => ({ exitCode: 0, stdout, stderr: "" });
const oneLine = /^engram: [^\n]+\n$/;

test("agents lists all pages, the newest first, a line each", async () => {
  await using other = await openEngine();
  const list = (...args: string[]) => runBinary(folder, ["agents", ...args], { URL: other.url });
  expect(await list()).toEqual({ ...good(""), stderr: "engram: there are no agents\n" });
  const ids: string[] = [];
  // As long as they are, a page holds fewer than half of them.
  for (let n = 0; n < 40; n++)
    ids.push(
      await createAgent(other.client, {
        goal: `goal ${n}\n\u001b[2J\u009b1A\u202e ${"long ".repeat(50_000)}`,
        model: n === 7 ? "scripted:instant\u001b]0;x\u0007" : "scripted:instant",
      }),
    );
  const { exitCode, stdout, stderr } = await list();
  expect([exitCode, stderr]).toEqual([0, ""]);
  const lines = stdout.trimEnd().split("\n");
  expect(lines.map((line) => line.split(" ")[0])).toEqual(ids.toReversed());
  expect(lines[39]).toMatch(
    /^[0-9a-f-]{36} {2}waiting_for_input {9}scripted:instant {3} *\d+[sm] {2}goal 0 \uFFFD\[2J\uFFFD1A\uFFFD long /,
  );
  expect(new Set(lines.map((line) => line.length))).toEqual(new Set([200]));
  // oxlint-disable-next-line no-control-regex
  expect(stdout).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/);

  await using terminal = openTerminal([binary, "agents"], { URL: other.url });
  expect(await terminal.exited).toBe(0);
  const shown = terminal.raw.trimEnd().split("\r\n");
  expect(shown.map((line) => line.length)).toEqual(ids.map(() => 80));
  expect(shown.map((line) => line.split(" ")[0])).toEqual(ids.toReversed());

  await other.client.controlAgent({ agentId: ids[3]!, command: { case: "pause", value: {} } });
  expect((await list("paused")).stdout).toStartWith(`${ids[3]}  paused  `);
  expect((await list("paused")).stdout.match(/\n/g)?.length).toBe(1);
  const none = { ...good(""), stderr: "engram: there are no agents failed\n" };
  expect(await list("failed")).toEqual(none);
});

test("agents ends quietly where nobody reads on", async () => {
  await using other = await openEngine();
  for (let n = 0; n < 500; n++)
    await createAgent(other.client, { goal: `${n} ${"word ".repeat(50)}` });
  const head = Bun.spawn(["sh", "-c", '"$0" agents | head -n 1', binary], {
    env: { URL: other.url },
    stdout: "pipe",
    stderr: "pipe",
  });
  expect((await head.stdout.text()).match(/\n/g)?.length).toBe(1);
  expect(await head.stderr.text()).toBe("");
});

test("create makes an agent with what its flags say, and prints its id alone", async () => {
  const made = await run(
    "create",
    "help with sums",
    "--wait",
    "--model=scripted:instant",
    "--system=be brief",
    "--tools=quick, clock",
  );
  expect(made).toMatchObject({ exitCode: 0, stderr: "" });
  expect(made.stdout).toMatch(/^[0-9a-f-]{36}\n$/);
  const agent = await engine.client.getAgent({ agentId: made.stdout.trim() });
  expect(agent).toMatchObject({
    goal: "help with sums",
    model: "scripted:instant",
    systemPrompt: "be brief",
    status: "waiting_for_input",
    headSequence: 1n,
    config: { waitForInput: true, noTools: false },
  });
  expect(agent.tools.map(({ name }) => name)).toEqual(["quick", "clock"]);

  const bare = await run("create", "say hello", "--model=scripted:instant", "--no-tools");
  const working = await restingAgent(engine.client, bare.stdout.trim());
  expect(working).toMatchObject({ tools: [], config: { noTools: true, waitForInput: false } });
  expect(working.headSequence).toBeGreaterThan(1n);
});

test("create - takes a whole request, and its request_id", async () => {
  const request = {
    goal: "from JSON",
    model: "scripted:instant",
    metadata: { project: "x" },
    config: { wait_for_input: true, maxSteps: 3 },
    requestId: "made by create -",
  };
  const made = await runWith(JSON.stringify(request), "create", "-");
  expect(made.exitCode).toBe(0);
  expect(await engine.client.getAgent({ agentId: made.stdout.trim() })).toMatchObject({
    goal: "from JSON",
    metadata: { project: "x" },
    config: { waitForInput: true, maxSteps: 3 },
  });
  expect(await runWith(JSON.stringify(request), "create", "-")).toEqual(made);
  const other = await runWith(JSON.stringify({ ...request, goal: "another" }), "create", "-");
  expect(other).toMatchObject({ exitCode: 1, stdout: "" });
  expect(other.stderr).toMatch(oneLine);
});

/** Lets a client's connection through, but for answers to calls on its first one: that breaks as soon as `isEnough`. */
async function openLossyWay(isEnough: () => Promise<boolean>) {
  const { hostname, port } = new URL(engine.url);
  let connections = 0;
  const server = createServer((near) => {
    const isFirst = ++connections === 1;
    const far = connect(Number(port), hostname);
    near.pipe(far);
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const)
      one.on("error", () => other.destroy()).on("close", () => other.destroy());
    if (!isFirst) return void far.pipe(near);
    // The greeting; behind it come answers.
    far.once("data", (greeting) => near.write(greeting));
    const cut = async (): Promise<void> => {
      while (!(await isEnough()));
      near.destroy();
    };
    void cut();
  });
  const { promise, resolve } = Promise.withResolvers<void>();
  server.listen(0, "127.0.0.1", resolve);
  await promise;
  const address = server.address();
  const url = `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}`;
  return { url, connections: () => connections, close: () => server.close() };
}

test("create makes one agent where its answer is lost", async () => {
  const goal = `lost ${crypto.randomUUID()}`;
  const made = async (): Promise<readonly string[]> => {
    const { agents } = await engine.client.listAgents({ pageSize: 1000 });
    return agents.filter((agent) => agent.goal === goal).map(({ agentId }) => agentId);
  };
  const way = await openLossyWay(async () => (await made()).length > 0);
  const settings = { URL: way.url };
  const args = ["create", goal, "--model", "scripted:instant", "--wait"];
  const { exitCode, stdout, stderr } = await runBinary(folder, args, settings);
  way.close();
  expect([exitCode, stderr]).toEqual([0, ""]);
  expect(way.connections()).toBe(2);
  expect(await made()).toEqual([stdout.trim()]);
});

test("pause, resume, cancel, retry and delete say what came of it", async () => {
  const agentId = await createAgent(engine.client, { config: { maxSteps: 1 } });
  expect(await run("pause", agentId)).toEqual(good("paused\n"));
  expect(await run("pause", agentId)).toEqual(good("paused\n"));
  expect(await run("resume", agentId)).toEqual(good("waiting_for_input\n"));
  const refused = await run("retry", agentId);
  expect(refused).toMatchObject({ exitCode: 1, stdout: "" });
  expect(refused.stderr).toMatch(
    /^engram: the agent is waiting_for_input and cannot be retried.*\n$/,
  );
  await talk(engine.client, agentId, "call quick with {}");
  expect((await engine.client.getAgent({ agentId })).status).toBe("failed");
  expect(await run("retry", agentId)).toEqual(good("waiting_for_step\n"));
  expect(await run("cancel", agentId)).toEqual(good("canceled\n"));
  expect(await run("delete", agentId)).toEqual(good(`deleted agent ${agentId}\n`));
  const gone = await run("delete", agentId);
  expect(gone).toEqual({ exitCode: 1, stdout: "", stderr: `engram: no agent ${agentId}\n` });
});

test("an agent that works is deleted by force only", async () => {
  const goal = "write 5000 words";
  const { stdout } = await run("create", goal, "--model", "scripted:20", "--no-tools");
  const agentId = stdout.trim();
  const refused = await run("delete", agentId);
  expect(refused).toMatchObject({ exitCode: 1, stdout: "" });
  expect(refused.stderr).toMatch(oneLine);
  expect((await run("delete", agentId, "--force")).exitCode).toBe(0);
});

const asking = { tools: [{ name: "quick", requiresConfirmation: true }] };

test("confirm finds the one call that waits, and says which it was", async () => {
  const agentId = await createAgent(engine.client, asking);
  const none = await run("confirm", agentId);
  expect(none).toMatchObject({ exitCode: 1, stdout: "" });
  expect(none.stderr).toMatch(/no tool call of agent .* waits/);
  for (let n = 0; n < 40; n++) await talk(engine.client, agentId, `say ${n}`);
  await talk(engine.client, agentId, 'call quick with {"n": "\u001b[2J"}');
  // What came behind the call does not hide it.
  for (let n = 0; n < 80; n++) await talk(engine.client, agentId, `later ${n}`);
  const approved = await run("confirm", agentId);
  expect(approved).toMatchObject({ exitCode: 0, stderr: "" });
  expect(approved.stdout).toMatch(/^approved call_\d+: quick \{"n": "\uFFFD\[2J"\}\n$/);
  const callId = /call_\d+/.exec(approved.stdout)![0];
  expect(await run("confirm", agentId, callId)).toEqual(good(`approved ${callId}\n`));
  const opposite = await run("confirm", agentId, callId, "--reject");
  expect(opposite).toMatchObject({ exitCode: 1, stdout: "" });
  expect((await run("confirm", agentId)).exitCode).toBe(1);
});

test("confirm asks which call where several wait, and rejects one with a reason", async () => {
  const agentId = await createAgent(engine.client, asking);
  await talk(engine.client, agentId, 'call quick with {"a": 1} and call quick with {"b": 2}');
  const which = await run("confirm", agentId);
  expect(which).toMatchObject({ exitCode: 1, stdout: "" });
  const [first, second] = [...which.stderr.matchAll(/call_\d+/g)].map(([id]) => id);
  expect(which.stderr).toBe(
    `engram: 2 tool calls wait, name one: ${first}: quick {"a": 1}; ${second}: quick {"b": 2}\n`,
  );
  const rejected = await run("confirm", agentId, first!, "--reject", "far", "too dear");
  expect(rejected).toEqual(good(`rejected ${first}: quick {"a": 1}\n`));
  expect(await run("confirm", agentId)).toEqual(good(`approved ${second}: quick {"b": 2}\n`));
  await restingAgent(engine.client, agentId);
  const results = new Map<string, string>();
  for await (const { payload } of engine.client.replay({ agentId }))
    if (payload.case === "toolResult")
      results.set(payload.value.callId, payload.value.errorMessage || payload.value.output);
  expect(results.get(first!)).toContain("far too dear");
  expect(results.get(second!)).toBe("done");
});

test("bad usage exits with 2 and a line that says what to write", async () => {
  const usages: readonly (readonly string[])[] = [
    ["agents", "resting"],
    ["agents", "paused", "failed"],
    ["agents", "--follow"],
    ["create"],
    ["create", "goal"],
    ["create", "goal", "more", "--model", "m"],
    ["create", "goal", "--model"],
    ["create", "goal", "--model", "m", "--tools", ""],
    ["create", "goal", "--model", "m", "--tools", "a,,b"],
    ["create", "goal", "--model", "m", "--tools", "a", "--no-tools"],
    ["create", "-", "--model", "m"],
    ["pause"],
    ["pause", ""],
    ["log", ""],
    ["confirm", ""],
    ["delete", ""],
    ["export", ""],
    ["resume", "a", "b"],
    ["cancel", "a", "--force"],
    ["retry"],
    ["delete"],
    ["delete", "a", "b"],
    ["confirm"],
    ["confirm", "a", "because"],
    ["confirm", "a", "call_1", "because"],
    ["pause", "a", "--url", "localhost"],
  ];
  const ends = usages.map(async (args) => ({ args, ...(await run(...args)) }));
  for (const { args, exitCode, stdout, stderr } of await Promise.all(ends)) {
    expect({ args, exitCode, stdout }).toEqual({ args, exitCode: 2, stdout: "" });
    expect(stderr).toMatch(oneLine);
    expect(stderr).toMatch(/usage: engram|see engram --help|URL is/);
  }
  for (const input of ["", "{", "[]", '{"goals": "x"}', '{"model": 1}']) {
    const { exitCode, stderr } = await runWith(input, "create", "-");
    expect({ input, exitCode }).toEqual({ input, exitCode: 2 });
    expect(stderr).toMatch(oneLine);
  }
});

test("a key is sent, a missing one told, and an engine that is not there is named at once", async () => {
  await using locked = await openEngine({ API_KEY: "open" });
  const url = locked.url;
  expect((await runBinary(folder, ["agents"], { URL: url, API_KEY: "open" })).exitCode).toBe(0);
  const args = ["create", "x", "--model", "scripted:instant", "--url", url];
  const shut = await runBinary(folder, args);
  expect(shut).toMatchObject({ exitCode: 1, stdout: "" });
  expect(shut.stderr).toMatch(/^engram: [^\n]*key[^\n]*\n$/);
  expect((await runBinary(folder, [...args, "--api-key", "open"])).exitCode).toBe(0);
  await locked.kill();
  const gone = await runBinary(folder, [...args, "--api-key", "open"]);
  expect(gone).toMatchObject({ exitCode: 1, stdout: "" });
  expect(gone.stderr).toMatch(/^engram: cannot reach http:[^\n]*\n$/);
});
