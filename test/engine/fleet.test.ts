import { expect, test } from "bun:test";
import { makePlayedModel } from "../support/played-model.ts";
import { fileOf, makePlayedSandbox } from "../support/played-sandbox.ts";
import { leaseTtlMs, openStage, quiet } from "../support/stage.ts";

const calling = () =>
  makePlayedModel(({ messages }) =>
    messages.at(-1)?.role === "tool"
      ? { text: ["done"] }
      : { calls: [{ name: "rare", input: {} }] },
  );

/** A sandbox with this one tool. */
const having = (name: string, sha256 = "aa") => ({
  ...makePlayedSandbox(async (call) =>
    call.name === name ? {} : { error: { code: "TOOL_NOT_FOUND", message: "no such tool" } },
  ),
  list: async () => [{ ...fileOf(name), sha256 }],
});

test("an agent whose tool is missing here is left to an engine that has it", async () => {
  const stage = openStage();
  const poor = stage.start({ name: "poor", model: calling(), sandbox: having("other") });
  const rich = having("rare");
  const agentId = await stage.create(poor, "hello");
  // Alone it says that there is no such tool; so the other is there first.
  await stage.untilSettled(agentId);
  expect((await stage.log(agentId)).some(({ event }) => event.type === "ToolReturned")).toBe(true);
  const other = stage.start({ name: "rich", model: calling(), sandbox: rich });
  await quiet();
  const second = await stage.create(poor, "hello");
  await stage.untilSettled(second);
  const returned = (await stage.log(second)).flatMap(({ event }) =>
    event.type === "ToolReturned" ? [event.error] : [],
  );
  expect(returned).toEqual([null]);
  expect(rich.calls.length).toBe(1);
  await Promise.all([poor.drain(), other.drain()]);
});

test("where the engine that has the tool is gone, the call is answered that there is none", async () => {
  const stage = openStage();
  await stage.store.announce(
    { worker: "gone", tools: { rare: "aa" } },
    stage.clock.nowMs() + leaseTtlMs,
  );
  const engine = stage.start({ name: "poor", model: calling(), sandbox: having("other") });
  const agentId = await stage.create(engine, "hello");
  await quiet();
  expect(await stage.events(agentId)).not.toContain("ToolReturned");
  for (let waits = 0; waits < 4; waits++) {
    stage.clock.advance(leaseTtlMs);
    await quiet();
  }
  await stage.untilSettled(agentId);
  expect((await stage.log(agentId)).map(({ event }) => event)).toContainEqual(
    expect.objectContaining({ error: expect.objectContaining({ code: "TOOL_NOT_FOUND" }) }),
  );
  await engine.drain();
});

test("what differs between the engines' tools is told, for as long as they differ", async () => {
  const stage = openStage();
  const one = stage.start({ name: "one", sandbox: having("tool", "aa") });
  const same = stage.start({ name: "same", sandbox: having("tool", "aa") });
  await quiet();
  expect(await one.differences()).toEqual([]);
  const other = stage.start({ name: "other", sandbox: having("tool", "bb") });
  await quiet();
  for (const engine of [one, same, other])
    expect(await engine.differences()).toEqual([expect.stringContaining("the tool tool is not")]);
  await other.drain();
  expect(await one.differences()).toEqual([]);
  await Promise.all([one.drain(), same.drain()]);
});
