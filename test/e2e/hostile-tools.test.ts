import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { ToolResult } from "../../src/gen/engram/api/v1/agent_pb.ts";
import { createAgent, historyOf, is, openChat, talk, valuesOf } from "../support/conversation.ts";
import { type EngineProcess, openEngine } from "../support/engine-process.ts";
import { openFakeOllama } from "../support/fake-ollama.ts";
import { putTools } from "../support/tool-modules.ts";

setDefaultTimeout(60_000);

let engine: EngineProcess;
beforeAll(async () => {
  engine = await openEngine();
  await putTools(engine.folder, "quick", "looping", "hoarding", "careless", "trapping", "failing");
  await putTools(engine.folder, "chattering", "reaching");
  await Bun.write(join(engine.folder, "tools", "broken.wasm"), "this is no module");
});
afterAll(() => engine[Symbol.asyncDispose]());

/** What a fresh agent gets when it calls a tool. */
const resultOf = async (
  tool: string,
  toolLimits: { fuel?: bigint; timeout?: { seconds: bigint } } = {},
): Promise<ToolResult> => {
  const agentId = await createAgent(engine.client, { config: { toolLimits } });
  const heard = await talk(engine.client, agentId, `call ${tool} with {}`);
  const results = valuesOf(heard, "toolResult");
  expect(results.length).toBe(1);
  const [text] = valuesOf(heard, "text");
  const result = results[0]!;
  // The model was told, and the agent goes on.
  expect(text?.content).toContain(result.isError ? result.errorCode : result.output);
  expect(valuesOf(await talk(engine.client, agentId, "say fine"), "text")[0]?.content).toBe("fine");
  return result;
};

test("each hostile tool ends with its own error while another agent's answer goes on", async () => {
  const writer = await createAgent(engine.client, { model: "scripted:15" });
  await using chat = openChat(engine.client, writer);
  chat.say("write 200 words");
  await chat.until(is("textDelta"));
  const codes = {
    looping: "TOOL_OUT_OF_FUEL",
    hoarding: "TOOL_OUT_OF_MEMORY",
    careless: "TOOL_OUT_OF_MEMORY",
    trapping: "TOOL_TRAPPED",
    failing: "TOOL_EXITED",
    chattering: "TOOL_OUTPUT_TOO_LARGE",
    broken: "TOOL_INVALID_MODULE",
    reaching: "TOOL_INVALID_MODULE",
    absent: "TOOL_NOT_FOUND",
    quick: "",
  };
  const calls = Object.entries(codes).map(async ([tool, code]) => {
    const { errorCode, isError, errorMessage } = await resultOf(tool);
    expect({ tool, errorCode }).toEqual({ tool, errorCode: code });
    expect(isError).toBe(code !== "");
    expect(errorMessage === "").toBe(code === "");
  });
  await Promise.all([chat.end(), ...calls]);
  expect(chat.listener.texts[0]?.split(" ").length).toBe(200);
  expect(chat.listener.restarts).toBe(0);
});

test("a tool with fuel for hours is ended by its time", async () => {
  const limits = { fuel: 100_000_000_000n, timeout: { seconds: 1n } };
  expect((await resultOf("looping", limits)).errorCode).toBe("TOOL_TIMEOUT");
});

test("the same call uses the same fuel on every run", async () => {
  const runs = [await resultOf("quick"), await resultOf("quick"), await resultOf("quick")];
  expect(runs[0]?.fuelUsed).toBeGreaterThan(0n);
  expect(new Set(runs.map(({ fuelUsed }) => fuelUsed)).size).toBe(1);
  expect(runs[0]?.output).toBe("done");
});

test("ListTools says why a file cannot be used", async () => {
  const { tools } = await engine.client.listTools({});
  const errors = new Map(tools.map(({ tool, error }) => [tool?.name, error]));
  expect(errors.get("quick")).toBe("");
  expect(errors.get("broken")).toContain("WebAssembly");
  expect(errors.get("reaching")).toContain("env");
  expect(tools.every(({ sha256 }) => /^[0-9a-f]{64}$/.test(sha256))).toBe(true);
});

test("a call that an agent may not make is refused, whoever asks", async () => {
  const only = await createAgent(engine.client, { tools: [{ name: "quick" }] });
  const none = await createAgent(engine.client, { config: { noTools: true } });
  for (const agentId of [only, none]) {
    const heard = await talk(engine.client, agentId, "call looping with {}");
    expect(valuesOf(heard, "toolResult")[0]?.errorCode).toBe("TOOL_NOT_ALLOWED");
  }
  const input = await talk(engine.client, only, "call quick with {not json}");
  expect(valuesOf(input, "toolResult")[0]?.errorCode).toBe("TOOL_INVALID_INPUT");
});

test("a model is offered what is usable in the folder at each call", async () => {
  const ollama = await openFakeOllama();
  await using other = await openEngine({ LLM_PROVIDER: "ollama", OLLAMA_URL: ollama.url });
  const offered = async (): Promise<unknown> => {
    await talk(other.client, agentId, "hello");
    const { tools } = ollama.chats.findLast(
      ({ body }) => body["_debug_render_only"] !== true,
    )!.body;
    return (tools as { function: { name: string } }[]).map((tool) => tool.function.name).toSorted();
  };
  const agentId = await createAgent(other.client, { model: "qwen3" });
  try {
    expect(await offered()).toEqual(["final_answer"]);
    await putTools(other.folder, "quick", "slow");
    await Bun.write(join(other.folder, "tools", "broken.wasm"), "this is no module");
    expect(await offered()).toEqual(["final_answer", "quick", "slow"]);
    await rm(join(other.folder, "tools", "slow.wasm"));
    expect(await offered()).toEqual(["final_answer", "quick"]);
  } finally {
    await ollama.close();
  }
});

test("a call that a kill broke off is run again, and has one result", async () => {
  await using other = await openEngine();
  await putTools(other.folder, "slow");
  const agentId = await createAgent(other.client);
  await using before = openChat(other.client, agentId);
  before.say("call slow with {}");
  const { sequenceId } = await before.until(is("toolCall"));
  await other.kill();
  await before.broken();
  await other.start();
  await using after = openChat(other.client, agentId, { after: sequenceId });
  await after.end();
  expect(valuesOf(after.heard, "toolResult").map(({ output }) => output)).toEqual(["done"]);
  // What has a result is not run again, whatever happens after.
  await other.kill();
  await other.start();
  const history = await historyOf(other.client, agentId);
  expect(valuesOf(history, "toolCall").length).toBe(1);
  expect(valuesOf(history, "toolResult").length).toBe(1);
  expect((await other.client.getAgent({ agentId })).stats?.toolCalls).toBe(1);
});
