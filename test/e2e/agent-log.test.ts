import { toJson } from "@bufbuild/protobuf";
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { ServerMessageSchema } from "../../src/gen/engram/api/v1/agent_pb.ts";
import { createAgent, historyOf, talk } from "../support/conversation.ts";
import {
  binary,
  type Ended,
  type EngineProcess,
  openEngine,
  runBinary,
  spawnBinary,
} from "../support/engine-process.ts";
import { openFakeOpenAi } from "../support/fake-openai.ts";
import { type FakeOllama, openFakeOllama } from "../support/fake-ollama.ts";
import { putTools } from "../support/tool-modules.ts";

setDefaultTimeout(60_000);

let ollama: FakeOllama;
let engine: EngineProcess;
/** Has called a tool. */
let agentId = "";

beforeAll(async () => {
  ollama = await openFakeOllama();
  engine = await openEngine({ LLM_PROVIDER: "ollama", OLLAMA_URL: ollama.url });
  await putTools(engine.folder, "quick", "trapping");
  agentId = await createAgent(engine.client, { goal: "help\nall", model: "qwen3" });
  await talk(engine.client, agentId, "call quick with {}");
  await talk(engine.client, agentId, "call trapping with {}");
});
afterAll(async () => {
  await engine[Symbol.asyncDispose]();
  await ollama.close();
});

const run = (args: readonly string[], settings = {}): Promise<Ended> =>
  runBinary(engine.folder, ["log", ...args], { URL: engine.url, LOG_FORMAT: "", ...settings });

test("into a pipe goes each event whole, as Replay sends it", async () => {
  const { exitCode, stdout, stderr } = await run([agentId]);
  expect([exitCode, stderr]).toEqual([0, ""]);
  const lines = stdout.split("\n");
  expect(lines.pop()).toBe("");
  const history = await historyOf(engine.client, agentId);
  expect(lines.map((line) => JSON.parse(line))).toEqual(
    history.map((message) => toJson(ServerMessageSchema, message)),
  );
});

test("for a reader each event is a line, with its place, its time, its kind and what is in it", async () => {
  const { exitCode, stdout } = await run([agentId, "--log-format", "text"]);
  expect(exitCode).toBe(0);
  const lines = stdout.trimEnd().split("\n");
  expect(lines.length).toBe((await historyOf(engine.client, agentId)).length);
  for (const [index, line] of lines.entries()) {
    expect(line).toMatch(/^ {0,4}\d+ {2}\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ {2}\S/);
    expect(Number.parseInt(line, 10)).toBe(index + 1);
    expect(line.length).toBeLessThanOrEqual(200);
  }
  expect(lines[0]).toContain("created       help all");
  expect(stdout).toContain("user_input    call quick with {}");
  expect(stdout).toContain("tool_call     quick {}");
  expect(stdout).toContain("tool_result   quick done");
  expect(stdout).toContain("tool_result   trapping TOOL_TRAPPED: ");
});

test("a terminal is shown lines no wider than it is, and not what it would obey", async () => {
  const hostile = await createAgent(engine.client, {
    goal: `\u001b[2J${"wide ".repeat(100)}\u009b2J`,
  });
  const inTerminal = Bun.spawn(
    [
      "script",
      "-qec",
      `stty cols 100; '${binary}' log ${hostile}; '${binary}' log ${hostile} --log-format json; '${binary}' log ${agentId} --prompt`,
      "/dev/null",
    ],
    { env: { ...Bun.env, URL: engine.url, LOG_FORMAT: "" }, stdin: "ignore", stdout: "pipe" },
  );
  const lines = (await inTerminal.stdout.text()).split("\r\n");
  expect(await inTerminal.exited).toBe(0);
  expect(lines[0]).toMatch(/^ {4}1 {2}\S+ {2}created {7}\uFFFD\[2Jwide .*\.\.\.$/);
  expect(lines[0]?.length).toBe(100);
  const json = lines.find((line) => line.startsWith("{"));
  expect(JSON.parse(json ?? "")).toMatchObject({ sequenceId: "1" });
  expect(json).not.toMatch(/\p{Cc}/u);
  expect(lines.find((line) => line.startsWith("call "))).toMatch(
    /^call 4 of 4, made behind event \d+/,
  );
});

test("--prompt prints what the model was sent, to the byte, and says which call it was", async () => {
  const sent = ollama.chats.map(({ bodyText }) => bodyText);
  expect(sent.length).toBe(4);
  for (const [index, body] of sent.entries()) {
    const { exitCode, stdout, stderr } = await run([agentId, "--prompt", `${index + 1}`]);
    expect([exitCode, stdout]).toEqual([0, body]);
    expect(stderr).toMatch(/^call \d of 4, made behind event \d+, what came of it is event \d+\n$/);
    expect(stderr).toStartWith(`call ${index + 1} of 4`);
  }
  for (const args of [
    ["--prompt", agentId],
    [agentId, "--prompt=4"],
  ])
    expect((await run(args)).stdout).toBe(sent[3] ?? "");
});

test("--follow goes on with what comes, through a restart of the engine, until it is interrupted", async () => {
  await using own = await openEngine();
  const settings = { URL: own.url, LOG_FORMAT: "text" };
  const port = new URL(own.url).port;
  const followed = await createAgent(own.client);
  const follower = spawnBinary(own.folder, ["log", followed, "--follow"], settings);
  const reader = follower.stdout.getReader();
  let shown = "";
  const until = async (text: string): Promise<void> => {
    const decoder = new TextDecoder();
    while (!shown.includes(text)) {
      const { value, done } = await reader.read();
      if (done) throw new Error(`it ended before ${text}: ${shown}`);
      shown += decoder.decode(value, { stream: true });
    }
  };
  await until("created");
  await talk(own.client, followed, "say one");
  await until("text          one");
  await own.kill();
  await own.start({ GRPC_PORT: port });
  await talk(own.client, followed, "say two");
  await until("text          two");
  follower.kill("SIGINT");
  expect(await follower.exited).toBe(0);
  expect(shown.match(/^ +\d+/gm)?.map(Number)).toEqual([1, 2, 3, 4, 5]);
  expect(await follower.stderr.text()).toMatch(
    /^engram: cannot reach http\S+: .*; waiting for it\n$/,
  );
});

test("a reader that goes away ends it", async () => {
  const long = await createAgent(engine.client, { model: "qwen3" });
  await talk(engine.client, long, `say ${"word ".repeat(40_000)}`);
  const piped = Bun.spawn(["sh", "-c", `'${binary}' log ${long} | head -c 10`], {
    env: { ...Bun.env, URL: engine.url },
    stdout: "pipe",
  });
  expect(await piped.stdout.text()).toBe('{"agentId"');
  expect(await piped.exited).toBe(0);
});

test("what cannot be is said in one line: 1 where it is not there, 2 where it was not asked rightly", async () => {
  const idle = await createAgent(engine.client);
  const cases: readonly (readonly [readonly string[], number, string])[] = [
    [["nobody"], 1, "no agent nobody"],
    [["nobody", "--prompt"], 1, "no agent nobody"],
    [["nobody", "--follow"], 1, "no agent nobody"],
    [[idle, "--prompt"], 1, `agent ${idle} has not called its model yet`],
    [[agentId, "--prompt", "5"], 1, "go from 1 to 4: there is no call 5"],
    [[agentId, "--url", "http://127.0.0.1:1"], 1, "cannot reach http://127.0.0.1:1"],
    [[agentId, "--url", "http://127.0.0.1:1", "--follow"], 1, "cannot reach http://127.0.0.1:1"],
    [[], 2, "usage: engram log AGENT"],
    [[agentId, "more"], 2, "usage: engram log AGENT"],
    [[agentId, "--follow", "--prompt"], 2, "usage: engram log AGENT"],
    [[agentId, "--prompt", "0"], 2, "numbered from 1 on"],
    [[agentId, "--prompt=x"], 2, "numbered from 1 on"],
    [[agentId, "--log-format", "xml"], 2, "LOG_FORMAT"],
    [[agentId, "--no-such"], 2, "--no-such"],
  ];
  for (const [args, code, words] of cases) {
    const { exitCode, stdout, stderr } = await run(args);
    expect([args, exitCode, stdout]).toEqual([args, code, ""]);
    expect(stderr).toMatch(/^engram: [^\n]+\n$/);
    expect(stderr).toContain(words);
  }
});

test("--prompt is to the byte of a server that had to be asked otherwise, too", async () => {
  const server = await openFakeOpenAi();
  await using own = await openEngine({ LLM_PROVIDER: "openai", LLM_BASE_URL: server.url });
  const model = "no-usage-no-format-no-thinking";
  const responseSchema = { type: "object" };
  const config = { noTools: true, responseSchema, enableThinking: true };
  const asked = await createAgent(own.client, { model, config });
  await talk(own.client, asked, 'say {"a":1}');
  const fields = ["stream_options", "response_format", "reasoning_effort"];
  expect(
    server.chats.map(({ body }) => fields.filter((field) => body[field] !== undefined).length),
  ).toEqual([3, 2, 1, 0]);
  for (const [index, { bodyText }] of server.chats.entries()) {
    const { stdout } = await run([asked, "--prompt", `${index + 1}`], { URL: own.url });
    expect(stdout).toBe(bodyText);
  }
  await server.close();
});
