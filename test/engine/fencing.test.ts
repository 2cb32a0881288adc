import { describe, expect, test } from "bun:test";
import type { Command } from "../../src/agent/accept.ts";
import type { Store } from "../../src/store/store.ts";
import { makeManualClock } from "../support/manual-clock.ts";
import { aborted, makePlayedModel } from "../support/played-model.ts";
import { makePlayedSandbox } from "../support/played-sandbox.ts";
import { echoing, leaseTtlMs, makeGate, openStage, quiet, until } from "../support/stage.ts";

/** A worker that hears nothing of what others write. */
const deaf = (store: Store): Store => ({ ...store, follow: () => () => {} });

const usesTool = () =>
  makePlayedModel(({ messages }) =>
    messages.some(({ role }) => role === "tool")
      ? { text: ["it is back"] }
      : { calls: [{ name: "echo", input: { n: 1 } }] },
  );

describe("an engine that was frozen past its lease", () => {
  test("in a model call: another takes the agent over, and not a byte of the first is written", async () => {
    const stage = openStage();
    const thaw = makeGate();
    const frozen = makePlayedModel(() => ({
      text: ["from ", "the ", "first"],
      // What is frozen does not notice that it is stopped.
      before: async (index) => (index === 1 ? thaw.passed : undefined),
    }));
    const first = stage.start({
      name: "first",
      model: frozen,
      store: deaf(stage.store),
      clock: makeManualClock(),
    });
    const hold = makeGate();
    const slow = makePlayedModel(
      () => ({
        text: ["from ", "the ", "second"],
        before: async (index) => (index === 2 ? hold.passed : undefined),
      }),
      true,
    );
    const second = stage.start({ name: "second", model: slow });
    await quiet();
    const agentId = await stage.create(first, "hello");
    await until("a piece is durable", async () => {
      return (await stage.store.readDraft(agentId, 0)) !== null;
    });
    await quiet();
    expect(slow.calls).toEqual([]);

    // Nobody has told the second engine of the agent.
    stage.clock.advance(leaseTtlMs + 1);
    await quiet();
    stage.clock.advance(leaseTtlMs + 1);
    await until("the second engine writes", () => slow.calls.length === 1);
    await until("and is in the middle of it", async () => {
      return (await stage.store.readDraft(agentId, 0))?.piecesTotal === 2;
    });
    thaw.open();
    await until("the first lets go", () => stage.lines.includes('let go of an agent "fenced"'));
    expect((await stage.store.readDraft(agentId, 0))?.piecesTotal).toBe(2);
    hold.open();
    await stage.untilSettled(agentId);
    expect((await stage.log(agentId)).map(({ event }) => event)).toEqual([
      expect.objectContaining({ type: "AgentCreated" }),
      expect.objectContaining({ type: "ModelSpoke", content: "from the second" }),
    ]);

    // It is a worker like any other afterwards.
    const other = await stage.create(first, "and now?");
    await stage.untilSettled(other);
    expect(await stage.events(other)).toEqual(["AgentCreated", "ModelSpoke"]);
    await Promise.all([first.drain(), second.drain()]);
  });

  test("in a tool call: its result is not a second one", async () => {
    const stage = openStage();
    const thaw = makeGate();
    const frozen = makePlayedSandbox(async () => {
      await thaw.passed;
      return { output: "late" };
    });
    const first = stage.start({
      name: "first",
      model: usesTool(),
      sandbox: frozen,
      store: deaf(stage.store),
      clock: makeManualClock(),
    });
    const agentId = await stage.create(first, "use it");
    await until("the tool runs", () => frozen.calls.length === 1);
    stage.clock.advance(leaseTtlMs + 1);
    const second = stage.start({ name: "second", model: usesTool() });
    await stage.untilSettled(agentId);
    thaw.open();
    await until("the first lets go", () => stage.lines.includes('let go of an agent "fenced"'));
    const log = await stage.log(agentId);
    expect(log.map(({ event }) => event.type)).toEqual([
      "AgentCreated",
      "ToolRequested",
      "ToolReturned",
      "ModelSpoke",
    ]);
    expect(log[2]?.event).toMatchObject({ output: '{"n":1}' });
    await Promise.all([first.drain(), second.drain()]);
  });

  test("is stopped when its next renewal is refused", async () => {
    const stage = openStage();
    const stopped = makeGate();
    const clock = makeManualClock();
    const frozen = makePlayedModel(() => ({
      text: ["never"],
      before: async (_index, signal) => {
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
        stopped.open();
      },
    }));
    const first = stage.start({ name: "first", model: frozen, store: deaf(stage.store), clock });
    const agentId = await stage.create(first, "hello");
    await until("it calls the model", () => frozen.calls.length === 1);
    stage.clock.advance(leaseTtlMs + 1);
    const second = stage.start({ name: "second" });
    await stage.untilSettled(agentId);
    clock.advance(leaseTtlMs / 3 + 1);
    await stopped.passed;
    expect(await stage.events(agentId)).toEqual(["AgentCreated", "ModelSpoke"]);
    await Promise.all([first.drain(), second.drain()]);
  });
});

test("an engine that is only slow keeps its lease, however long the call", async () => {
  const stage = openStage();
  const gate = makeGate();
  const slow = makePlayedModel(() => ({ text: ["done"], before: () => gate.passed }));
  const first = stage.start({ name: "first", model: slow });
  const idle = echoing();
  const second = stage.start({ name: "second", model: idle });
  const agentId = await stage.create(first, "hello");
  for (let elapsedMs = 0; elapsedMs < 20 * leaseTtlMs; elapsedMs += leaseTtlMs / 4) {
    stage.clock.advance(leaseTtlMs / 4);
    await quiet();
  }
  gate.open();
  await stage.untilSettled(agentId);
  expect([slow.calls.length, idle.calls.length]).toEqual([1, 0]);
  await Promise.all([first.drain(), second.drain()]);
});

test("a command to one engine stops a call in another, though it was recorded before that listened", async () => {
  const stage = openStage();
  const model = makePlayedModel(() => ({
    text: ["never"],
    before: async (_index, signal) => aborted(signal),
  }));
  const other = stage.start({ name: "other", concurrency: 0 });
  const pause: Command = { type: "Pause", key: null, reason: "" };
  let armed = true;
  const first = stage.start({
    model,
    store: {
      ...stage.store,
      // The driver has just seen the head; now it moves.
      read: async (agentId, after) => {
        const page = await stage.store.read(agentId, after);
        if (armed && page.length === 0) {
          armed = false;
          await other.command(agentId, pause);
        }
        return page;
      },
    },
  });
  const agentId = await stage.create(first, "hello");
  await stage.untilSettled(agentId);
  expect(await stage.events(agentId)).toEqual(["AgentCreated", "AgentPaused"]);
  await first.drain();
});
