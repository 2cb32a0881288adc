import { expect, test } from "bun:test";
import type { AgentSpec } from "../../src/agent/event.ts";
import { EngramError } from "../../src/errors.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { openScripted } from "../../src/llm/scripted/scripted.ts";
import { makePlayedModel } from "../support/played-model.ts";
import { makePlayedSandbox } from "../support/played-sandbox.ts";
import { makeGate, openStage, until } from "../support/stage.ts";

const edit = (engine: Engine, agentId: string, change: (spec: AgentSpec) => AgentSpec) =>
  engine.command(agentId, { type: "Edit", key: null, change, description: "" });
const command = (engine: Engine, agentId: string, type: "Resume" | "Retry") =>
  engine.command(agentId, { type, key: null });
const pause = (engine: Engine, agentId: string) =>
  engine.command(agentId, { type: "Pause", key: null, reason: "" });

test("a tool that has to be confirmed since an edit is not run, though the model was asked before it", async () => {
  const stage = openStage();
  const gate = makeGate();
  const model = makePlayedModel((_, number) =>
    number === 1
      ? { calls: [{ name: "echo", input: {} }], before: () => gate.passed }
      : { text: ["so"] },
  );
  const sandbox = makePlayedSandbox();
  const engine = stage.start({ model, sandbox });
  const agentId = await stage.create(engine, "work");
  await until("the model is asked", () => model.calls.length === 1);
  const echo = { name: "echo", description: "", parameters: null, requiresConfirmation: true };
  await edit(engine, agentId, (spec) => ({ ...spec, tools: [echo] }));
  gate.open();
  await stage.untilSettled(agentId);
  expect((await stage.state(agentId)).pendingCalls).toMatchObject([{ awaitsConfirmation: true }]);
  expect(sandbox.calls).toEqual([]);
  await engine.drain();
});

test("another model is asked at once, however long the one before wanted to be left alone", async () => {
  const stage = openStage();
  const day = { transient: true, retryAfterMs: 24 * 3600_000 };
  const model = makePlayedModel((request) => ({
    text: ["here"],
    before: async () => {
      if (request.model === "scripted") throw new EngramError("model_unavailable", "tomorrow", day);
    },
  }));
  const engine = stage.start({ model });
  const agentId = await stage.create(engine, "work");
  await until("it waits", async () => (await stage.events(agentId)).includes("ModelFailed"));
  await edit(engine, agentId, (spec) => ({ ...spec, systemPrompt: "be patient" }));
  await until("it waits on", async () => ((await stage.store.nextWakeMs()) ?? 0) > 3600_000);
  expect(model.calls.length).toBe(1);
  await edit(engine, agentId, (spec) => ({ ...spec, model: "other" }));
  await stage.untilSettled(agentId);
  expect((await stage.events(agentId)).at(-1)).toBe("ModelSpoke");
  expect((await stage.state(agentId)).turn).toMatchObject({ attempts: 0, retryAtMs: 0 });
  await engine.drain();
});

test("a present time is told with what is sent, not with what is to be condensed first", async () => {
  const stage = openStage();
  const model = makePlayedModel(({ messages }) => ({
    text: ["well ".repeat(400)],
    before: async () => {
      if (messages[0]?.content.startsWith("Condense") !== true) return;
      throw new EngramError("model_unavailable", "away", {
        transient: true,
        retryAfterMs: 3600_000,
      });
    },
  }));
  const engine = stage.start({ model });
  const agentId = await stage.create(engine, "help", {
    contextTokensMax: 1_500,
    waitForInput: true,
  });
  for (let n = 0; !(await stage.events(agentId)).includes("ModelFailed"); n++) {
    await stage.say(engine, agentId, `and ${n}`);
    await stage.untilStatus(agentId, "waiting_for_input").catch(() => undefined);
  }
  expect((await stage.state(agentId)).transcript.at(-1)).toMatchObject({ nowMs: null });
  await engine.drain();
});

test("a scripted model that an edit has named wrongly is not found, also in mid-answer", async () => {
  const stage = openStage();
  const engine = stage.start({ model: openScripted({ clock: stage.clock }) });
  const agentId = await stage.create(engine, "write 50 words");
  await until("it is written", async () => {
    stage.clock.advance(20);
    return ((await stage.store.readDraft(agentId, 0))?.pieces.length ?? 0) > 3;
  });
  await pause(engine, agentId);
  await edit(engine, agentId, (spec) => ({ ...spec, model: "scripted:wrong" }));
  await command(engine, agentId, "Resume");
  await stage.untilSettled(agentId);
  expect((await stage.log(agentId)).at(-1)?.event).toMatchObject({
    type: "TurnFailed",
    code: "MODEL_NOT_FOUND",
  });
  await edit(engine, agentId, (spec) => ({ ...spec, model: "scripted:instant" }));
  await command(engine, agentId, "Retry");
  await stage.untilSettled(agentId);
  expect((await stage.events(agentId)).filter((type) => type === "ModelSpoke").length).toBe(1);
  await engine.drain();
});
