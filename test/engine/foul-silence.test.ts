import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { statusOf } from "../../src/agent/state.ts";
import type { Command } from "../../src/agent/accept.ts";
import { turnLimits } from "../../src/limits.ts";
import { faults } from "../support/fake-ollama-faults.ts";
import {
  askedOf,
  begin,
  lastOf,
  partialOf,
  pass,
  startOn,
  timeoutMs,
  untilRest,
  untilSeen,
  untilState,
} from "../support/ollama-story.ts";
import { quiet } from "../support/stage.ts";
import { withOllama } from "../support/with-ollama.ts";

// What is long here is what has to be read, on a machine that may have other things to do.
setDefaultTimeout(30_000);

const { fake } = await withOllama();

const pause: Command = { type: "Pause", key: null, reason: "" };
const cancel: Command = { type: "Cancel", key: null };
const resume: Command = { type: "Resume", key: null };

describe.each([
  ["before its first word", faults.hang, ""],
  ["in mid-sentence", faults.stall, "Hello wor"],
] as const)("a server that falls silent %s", (_, fault, partial) => {
  const silent = async () => {
    const story = await begin(fake);
    fake.next(fault);
    await story.stage.say(story.engine, story.agentId, "say Hello world");
    const chat = await fake.chat(0);
    await untilSeen(() => story.watcher.textBytes() === partial.length);
    await quiet();
    return { ...story, chat };
  };

  test("is given up after a time, and asked again", async () => {
    const story = await silent();
    await pass(story, timeoutMs - 1);
    expect(await lastOf(story)).toMatchObject({ type: "MessageReceived" });
    await pass(story, 1);
    await untilState(story, ({ turn }) => turn.attempts === 1);
    expect(await lastOf(story)).toMatchObject({ type: "ModelFailed", code: "MODEL_TIMEOUT" });
    expect(await story.chat.over).toBe(true);
    await untilRest(story);
    expect(await lastOf(story)).toMatchObject({ type: "ModelSpoke", content: "Hello world" });
    expect(askedOf(fake).map(partialOf)).toEqual(["", partial]);
    await story.engine.drain();
  });

  test.each([
    ["pause", pause],
    ["cancel", cancel],
  ] as const)("is left at once at a %s", async (_name, command) => {
    const story = await silent();
    const { engine, agentId } = story;
    await engine.command(agentId, command);
    expect(await story.chat.over).toBe(true);
    if (command === pause) {
      await engine.command(agentId, resume);
      await untilRest(story);
      expect(await lastOf(story)).toMatchObject({ type: "ModelSpoke", content: "Hello world" });
    } else {
      await story.stage.untilSettled(agentId);
      expect(statusOf(await story.stage.state(agentId))).toBe("canceled");
    }
    const calls = command === pause ? ["", partial] : [""];
    expect(askedOf(fake).map(partialOf)).toEqual(calls);
    await engine.drain();
  });

  test("is left by an engine that ends, and another one asks again", async () => {
    const story = await silent();
    await story.engine.drain();
    expect(await story.chat.over).toBe(true);
    const engine = startOn(fake, story.stage, "second");
    await untilRest(story);
    expect(await lastOf(story)).toMatchObject({ type: "ModelSpoke", content: "Hello world" });
    expect(askedOf(fake).map(partialOf)).toEqual(["", partial]);
    await engine.drain();
  });
});

test("a server that is silent about its models holds a turn up for a while only, and a pause not at all", async () => {
  const story = await begin(fake);
  const { stage, engine, agentId } = story;
  fake.nextAt("/api/show", faults.hang, faults.hang);
  await stage.say(engine, agentId, "say Hello world");
  await untilSeen(() => fake.others.length === 1);
  await engine.command(agentId, pause);
  expect(await fake.others[0]?.over).toBe(true);
  await engine.command(agentId, resume);
  await untilSeen(() => fake.others.length === 2);
  await pass(story, timeoutMs);
  await untilRest(story);
  expect(await lastOf(story)).toMatchObject({ type: "ModelSpoke", content: "Hello world" });
  await engine.drain();
});

describe("a server that asks to be left alone", () => {
  const hourMs = 3_600_000;

  test.each([
    [429, "seconds", 45_000],
    [503, "a date", 3 * hourMs],
    [429, "hours", 20 * hourMs],
    [503, "too long", 9_999 * hourMs],
  ] as const)("by %d with %s is, by the engine after this one too", async (status, as, delayMs) => {
    const story = await begin(fake);
    const { stage, engine, agentId } = story;
    const askedAtMs = stage.clock.nowMs();
    const retryAfter =
      as === "a date" ? new Date(askedAtMs + delayMs).toUTCString() : String(delayMs / 1_000);
    fake.next((x) => x.plain(status, '{"error":"not now"}', { "Retry-After": retryAfter }));
    await stage.say(engine, agentId, "say Hello world");
    const { turn } = await untilState(story, (state) => state.turn.attempts === 1);
    const waitMs = Math.min(delayMs, turnLimits.retryAfterMsMax);
    expect(turn.retryAtMs - askedAtMs).toBe(waitMs);
    await engine.drain();
    const next = startOn(fake, stage, "second");
    await quiet();
    stage.clock.advance(waitMs - 1);
    await quiet();
    expect(askedOf(fake)).toHaveLength(1);
    stage.clock.advance(1);
    await untilState(story, (state) => statusOf(state) === "waiting_for_input");
    expect(await lastOf(story)).toMatchObject({ type: "ModelSpoke", content: "Hello world" });
    expect(askedOf(fake)).toHaveLength(2);
    await next.drain();
  });
});

describe("30 MB", () => {
  const word = "word ".repeat(20_000);

  test.each(["content", "thinking"])(
    "of %s in many lines fail the turn; a retry is free of it",
    async (field) => {
      const story = await begin(fake);
      const { stage, engine, agentId, watcher } = story;
      fake.next(async (x) => {
        for (let sent = 0; sent < 30e6 && !x.signal.aborted; sent += word.length) {
          x.event({ message: { role: "assistant", content: "", [field]: word }, done: false });
          await new Promise(setImmediate);
        }
        await x.over;
      });
      await stage.say(engine, agentId, "say Hello world");
      await untilRest(story);
      expect(await lastOf(story)).toMatchObject({ type: "TurnFailed", code: "MODEL_ERROR" });
      expect(await fake.chats[0]?.over).toBe(true);
      await engine.command(agentId, { type: "Retry", key: null });
      await untilRest(story);
      expect(await lastOf(story)).toMatchObject({ type: "ModelSpoke", content: "Hello world" });
      expect(askedOf(fake).map(partialOf)).toEqual(["", ""]);
      await untilSeen(() => watcher.seen.at(-1)?.event.type === "ModelSpoke");
      expect(watcher.faults).toEqual([]);
      await engine.drain();
    },
  );
});
