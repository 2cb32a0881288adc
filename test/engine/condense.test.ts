import { expect, test } from "bun:test";
import { condensingHead } from "../../src/agent/context.ts";
import { EngramError } from "../../src/errors.ts";
import { contextLimits } from "../../src/limits.ts";
import type { ModelRequest } from "../../src/agent/request.ts";
import type { Model } from "../../src/llm/model.ts";
import { openScripted } from "../../src/llm/scripted/scripted.ts";
import { makePlayedModel } from "../support/played-model.ts";
import { openStage } from "../support/stage.ts";

const isCondensing = ({ messages }: ModelRequest): boolean =>
  messages[0]?.content.startsWith(condensingHead) === true;

const sizeOf = ({ messages }: ModelRequest): number =>
  messages.reduce((chars, { content }) => chars + content.length, 0) / contextLimits.charsPerToken;

const config = { contextTokensMax: 1_500, waitForInput: true };

test("a model is never sent more than its context, however long the conversation, and still knows its beginning", async () => {
  const stage = openStage();
  const scripted = openScripted({ clock: stage.clock });
  const requests: ModelRequest[] = [];
  const engine = stage.start({
    model: {
      ...scripted,
      call: (request, signal) => {
        requests.push(request);
        return scripted.call({ ...request, model: "scripted:instant" }, signal);
      },
    },
  });
  const agentId = await stage.create(engine, "help", config);
  const turn = async (content: string): Promise<void> => {
    await stage.say(engine, agentId, content);
    await stage.untilSettled(agentId);
  };
  await turn("The code is 42.");
  for (let n = 0; n < 120; n++) await turn(`say turn ${n} ${"and so on ".repeat(8)}`);
  await turn("What is the code?");
  const log = await stage.log(agentId);
  expect(log.at(-1)?.event).toMatchObject({ type: "ModelSpoke", content: "The code is 42." });
  expect(requests.filter(isCondensing).length).toBeGreaterThan(5);
  expect(Math.max(...requests.map(sizeOf))).toBeLessThan(1_500);
  // The state holds the newest part alone: it is as small as a young agent's.
  expect((await stage.state(agentId)).transcript.length).toBeLessThan(60);
  await engine.drain();
});

test("a summary that cannot be had is tried again after a pause, and the turn goes on", async () => {
  const stage = openStage();
  let refused = 0;
  const model = makePlayedModel((request) => {
    if (!isCondensing(request)) return { text: ["x".repeat(2_000)] };
    if (refused++ > 0) return { text: ["all that was said"] };
    return {
      text: ["never"],
      before: () =>
        Promise.reject(new EngramError("model_unavailable", "away", { transient: true })),
    };
  });
  const engine = stage.start({ model });
  const agentId = await stage.create(engine, "help", config);
  for (let n = 0; n < 20; n++) {
    await stage.say(engine, agentId, `and ${n}`);
    for (let waits = 0; waits < 3; waits++) {
      await stage.untilStatus(agentId, "waiting_for_input").catch(() => undefined);
      stage.clock.advance(700);
    }
    await stage.untilSettled(agentId);
  }
  const types = await stage.events(agentId);
  expect(types.filter((type) => type === "ModelFailed").length).toBe(1);
  expect(types).toContain("ContextCondensed");
  expect(types).not.toContain("TurnFailed");
  await engine.drain();
});

/** A model that reads `contextTokens` of its own tokens, three characters each, and says so or not. */
function narrowModel(contextTokens: number, tells: boolean): Model {
  const tokensOf = (request: ModelRequest): number =>
    Math.ceil((sizeOf(request) * contextLimits.charsPerToken) / 3);
  const played = makePlayedModel((request) => ({
    text: [isCondensing(request) ? "the code is 42" : "well ".repeat(40)],
  }));
  return {
    ...played,
    call: async function* (request, signal) {
      const promptTokens = tokensOf(request);
      const overflow = { contextTokens, promptTokens };
      if (promptTokens > contextTokens)
        throw new EngramError("context_overflow", "too long", tells ? { overflow } : {});
      for await (const piece of played.call(request, signal))
        yield piece.kind === "done" ? { ...piece, usage: { ...piece.usage, promptTokens } } : piece;
    },
  };
}

test("a conversation that is more than the server lets the model read is condensed, and the turn goes on", async () => {
  for (const tells of [true, false]) {
    const stage = openStage();
    const engine = stage.start({ model: narrowModel(1_200, tells) });
    const agentId = await stage.create(engine, "help", { waitForInput: true });
    for (let n = 0; n < 60; n++) {
      await stage.say(engine, agentId, `and ${n} ${"so on ".repeat(20)}`);
      await stage.untilSettled(agentId);
    }
    const types = await stage.events(agentId);
    expect(types).toContain("ContextCondensed");
    expect(types).not.toContain("TurnFailed");
    expect(types.filter((type) => type === "ModelSpoke").length).toBe(60);
    // Once is enough where it tells the figures; else it is found out little by little.
    expect(types.filter((type) => type === "ModelFailed").length).toBeLessThan(tells ? 2 : 6);
    await engine.drain();
  }
});

test("a message that is more than the model can read by itself ends the turn, and a retry mends it where the server reads more", async () => {
  const stage = openStage();
  const engine = stage.start({ model: narrowModel(1_000, true) });
  const agentId = await stage.create(engine, "help", { waitForInput: true });
  await stage.say(engine, agentId, "short");
  await stage.untilSettled(agentId);
  await stage.say(engine, agentId, "long ".repeat(2_000));
  await stage.untilSettled(agentId);
  const last = (await stage.log(agentId)).at(-1)?.event;
  expect(last).toMatchObject({ type: "TurnFailed", code: "CONTEXT_OVERFLOW" });
  await engine.drain();
  const larger = stage.start({ model: narrowModel(100_000, true) });
  await larger.command(agentId, { type: "Retry", key: null });
  await stage.untilSettled(agentId);
  expect((await stage.events(agentId)).at(-1)).toBe("ModelSpoke");
  await larger.drain();
});

test("a reply that runs out of room is told from a prompt that is too long", async () => {
  const stage = openStage();
  const model = makePlayedModel(({ messages }, number) => ({
    text: Array.from({ length: 9 }, () => "well ".repeat(200)),
    before: async (index) => {
      // The room is another's just now; the prompt with what was written of the answer does not fit in either.
      if (number > 1 && number < 4 && (index === 8 || messages.at(-1)?.role === "assistant"))
        throw new EngramError("context_overflow", "Context size has been exceeded.");
    },
  }));
  const engine = stage.start({ model });
  const agentId = await stage.create(engine, "help", { waitForInput: true });
  for (const content of ["one", "two"]) {
    await stage.say(engine, agentId, content);
    for (let waits = 0; waits < 3; waits++) {
      await stage.untilStatus(agentId, "waiting_for_input").catch(() => undefined);
      stage.clock.advance(700);
    }
    await stage.untilSettled(agentId);
  }
  expect((await stage.events(agentId)).slice(-4)).toEqual([
    "MessageReceived",
    "ModelFailed",
    "AnswerAbandoned",
    "ModelSpoke",
  ]);
  // What was sent could be read: all of it stays.
  const { reach, transcript } = await stage.state(agentId);
  expect(reach.learnt).toBeNull();
  expect(transcript.length).toBe(4);
  await engine.drain();
});

test("a prompt that leaves a reply no room is condensed", async () => {
  const stage = openStage();
  const played = makePlayedModel((request) => ({
    text: isCondensing(request) ? ["so far"] : ["well ".repeat(100), "and so on"],
    before: async (index) => {
      if (index === 1 && !isCondensing(request) && sizeOf(request) > 1_000)
        throw new EngramError("context_overflow", "Context size has been exceeded.");
    },
  }));
  const model: Model = {
    ...played,
    call: async function* (request, signal) {
      const promptTokens = Math.round(sizeOf(request));
      for await (const piece of played.call(request, signal))
        yield piece.kind === "done" ? { ...piece, usage: { ...piece.usage, promptTokens } } : piece;
    },
  };
  const engine = stage.start({ model });
  const agentId = await stage.create(engine, "help", { waitForInput: true });
  for (let n = 0; n < 12; n++) {
    await stage.say(engine, agentId, `and ${n} ${"so on ".repeat(20)}`);
    await stage.untilSettled(agentId);
  }
  const types = await stage.events(agentId);
  expect(types).toContain("ContextCondensed");
  expect(types).not.toContain("TurnFailed");
  expect((await stage.state(agentId)).reach.learnt).toBeGreaterThan(1_000);
  await engine.drain();
});
