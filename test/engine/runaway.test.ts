import { expect, test } from "bun:test";
import { condensingHead } from "../../src/agent/context.ts";
import { EngramError } from "../../src/errors.ts";
import { turnLimits } from "../../src/limits.ts";
import { makePlayedModel, partialOf } from "../support/played-model.ts";
import { openStage, quiet, type Stage, until } from "../support/stage.ts";
import type { Engine } from "../../src/engine/engine.ts";

const retry = async (stage: Stage, engine: Engine, agentId: string): Promise<void> => {
  await engine.command(agentId, { type: "Retry", key: null });
  await stage.untilSettled(agentId);
};

test.each(["thinking", "text"] as const)(
  "a model that writes without end fails the turn, and a retry is not tied to its %s",
  async (kind) => {
    const stage = openStage();
    const endless = Array<string>(40).fill("word ".repeat(32 * 1024));
    const model = makePlayedModel((_, number) =>
      number === 1 ? { [kind]: endless } : { text: ["short"] },
    );
    const engine = stage.start({ model });
    const agentId = await stage.create(engine, "hello");
    await stage.untilSettled(agentId);
    expect((await stage.log(agentId)).at(-1)?.event).toMatchObject({
      type: "TurnFailed",
      code: "MODEL_ERROR",
      message: expect.stringContaining(String(turnLimits.replyBytesMax)),
    });
    await retry(stage, engine, agentId);
    expect(model.calls).toHaveLength(2);
    expect(partialOf(model.calls[1]?.messages ?? [])).toBe("");
    expect((await stage.events(agentId)).slice(-3)).toEqual([
      "AgentRetried",
      "AnswerAbandoned",
      "ModelSpoke",
    ]);
    await engine.drain();
  },
);

test("a partial answer that is too much for the model is begun anew", async () => {
  const stage = openStage();
  const fails = (error: EngramError) => async (index: number) => {
    if (index === 1) throw error;
  };
  const model = makePlayedModel(({ messages }, number) => {
    if (number === 1)
      return {
        text: ["much ", "more"],
        before: fails(new EngramError("model_timeout", "silence", { transient: true })),
      };
    if (partialOf(messages) === "") return { text: ["short"] };
    return {
      text: ["much ", "more"],
      before: () => Promise.reject(new EngramError("context_overflow", "too long")),
    };
  });
  const engine = stage.start({ model });
  const agentId = await stage.create(engine, "hello");
  await until("it backs off", async () => (await stage.events(agentId)).includes("ModelFailed"));
  await quiet();
  stage.clock.advance(1_000);
  await stage.untilSettled(agentId);
  expect(model.calls.map(({ messages }) => partialOf(messages))).toEqual(["", "much", ""]);
  expect((await stage.events(agentId)).slice(1)).toEqual([
    "ModelFailed",
    "AnswerAbandoned",
    "ModelSpoke",
  ]);
  await engine.drain();
});

test("a summary without end is left when it is longer than an answer can be", async () => {
  const stage = openStage();
  let pieces = 0;
  const model = makePlayedModel(({ messages }) =>
    messages[0]?.content.startsWith(condensingHead) === true
      ? {
          text: Array<string>(400).fill("word ".repeat(8 * 1024)),
          before: async () => void pieces++,
        }
      : { text: ["x".repeat(2_000)] },
  );
  const engine = stage.start({ model });
  const agentId = await stage.create(engine, "help", { contextTokensMax: 1_500 });
  await stage.untilSettled(agentId);
  while (!(await stage.events(agentId)).includes("ContextCondensed")) {
    await stage.say(engine, agentId, "go on");
    await stage.untilSettled(agentId);
  }
  expect(pieces).toBeLessThan(turnLimits.replyBytesMax / (40 * 1024) + 3);
  expect(model.running()).toBe(0);
  expect((await stage.state(agentId)).summary).toStartWith("word word");
  await engine.drain();
});
