import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { createAgent, talk, valuesOf } from "../support/conversation.ts";
import { type EngineProcess, openEngine, runBinary } from "../support/engine-process.ts";
import { buildGo } from "../support/go.ts";

// The first build compiles Go's own library.
setDefaultTimeout(180_000);

let engine: EngineProcess;
beforeAll(async () => {
  engine = await openEngine();
  // Into a folder that is in use: it is a tool from then on.
  buildGo("clock", join(engine.folder, "tools", "clock.wasm"));
});
afterAll(() => engine[Symbol.asyncDispose]());

/** Holds a time that was told to be one between the call's beginning and now. */
const expectPresent = (told: string, sinceMs: number): void => {
  expect(told).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/);
  expect(Math.ceil(Date.parse(told))).toBeWithin(sinceMs - 1, Date.now() + 1);
};

test("a clock written in Go tells the present time from the command line", async () => {
  const sinceMs = Date.now();
  const { exitCode, stdout, stderr } = await runBinary(engine.folder, ["tool", "run", "clock"]);
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: expect.stringContaining("fuel") });
  expectPresent(stdout.trim(), sinceMs);
  const worded = await runBinary(engine.folder, [
    "tool",
    "run",
    "clock",
    '{"format": "né\\u0065"}',
  ]);
  expect(worded.stdout).toBe("née\n");
});

test("a clock written in Go tells an agent the present time", async () => {
  const agentId = await createAgent(engine.client);
  const sinceMs = Date.now();
  const heard = await talk(engine.client, agentId, "call clock with {}");
  const [result] = valuesOf(heard, "toolResult");
  expect(result?.errorMessage).toBe("");
  expectPresent(result?.output.trim() ?? "", sinceMs);
  expect(valuesOf(heard, "text")[0]?.content).toContain(result?.output.trim() ?? "no result");
});

test("what a tool in Go says on failing reaches the agent", async () => {
  const agentId = await createAgent(engine.client);
  const heard = await talk(engine.client, agentId, 'call clock with {"format": 7}');
  const [result] = valuesOf(heard, "toolResult");
  expect(result?.errorCode).toBe("TOOL_EXITED");
  expect(result?.errorMessage).toContain("cannot unmarshal number");
});
