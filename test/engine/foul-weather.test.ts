import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import type { TurnErrorCode } from "../../src/agent/event.ts";
import { statusOf } from "../../src/agent/state.ts";
import { turnLimits } from "../../src/limits.ts";
import { faults, type Script } from "../support/fake-ollama-faults.ts";
import { openFakeOllama, type FakeOllama } from "../support/fake-ollama.ts";
import {
  askedOf,
  begin,
  lastOf,
  partialOf,
  untilRest,
  untilSeen,
} from "../support/ollama-story.ts";

/*
 * An engine whose model is on an Ollama server that fails in every way there is: what is asked again, what of a partial
 * answer stays, what the client is told, and that a retry goes on when the weather is fine.
 */

let fake: FakeOllama;
beforeAll(async () => {
  fake = await openFakeOllama();
});
afterEach(() => {
  fake.chats.length = 0;
});
afterAll(() => fake.close());

/** Each: the code that it comes to, whether it is tried again, and the beginning of an answer that it leaves. */
const weather: Partial<Record<keyof typeof faults, readonly [TurnErrorCode, boolean, string]>> = {
  "not-found": ["MODEL_NOT_FOUND", false, ""],
  "bad-request": ["MODEL_ERROR", false, ""],
  "no-chat": ["MODEL_ERROR", false, ""],
  unauthorized: ["MODEL_ERROR", false, ""],
  forbidden: ["MODEL_ERROR", false, ""],
  "no-images": ["MODEL_ERROR", false, ""],
  "bad-option": ["MODEL_ERROR", false, ""],
  html: ["MODEL_ERROR", false, ""],
  "html-404": ["MODEL_ERROR", false, ""],
  redirect: ["MODEL_ERROR", false, ""],
  sse: ["MODEL_ERROR", false, ""],
  "plain-text": ["MODEL_ERROR", false, ""],
  gzip: ["MODEL_ERROR", false, ""],
  "context-text": ["CONTEXT_OVERFLOW", false, ""],
  "context-nested": ["CONTEXT_OVERFLOW", false, ""],
  "rate-limit": ["MODEL_UNAVAILABLE", true, ""],
  busy: ["MODEL_UNAVAILABLE", true, ""],
  "html-502": ["MODEL_UNAVAILABLE", true, ""],
  "reset-before-head": ["MODEL_UNAVAILABLE", true, ""],
  "http-500": ["MODEL_ERROR", true, ""],
  "runner-died": ["MODEL_ERROR", true, ""],
  "broken-call": ["MODEL_ERROR", true, ""],
  "error-first": ["MODEL_ERROR", true, ""],
  "other-json": ["MODEL_ERROR", true, ""],
  empty: ["MODEL_ERROR", true, ""],
  load: ["MODEL_ERROR", true, ""],
  silent: ["MODEL_ERROR", true, ""],
  "blank-thinking": ["MODEL_ERROR", true, ""],
  reset: ["MODEL_ERROR", true, "Hello wor"],
  cut: ["MODEL_ERROR", true, "Hello wor"],
  "no-done": ["MODEL_ERROR", true, "Hello wor"],
  "not-streamed": ["MODEL_ERROR", true, "Hello wor"],
  "error-line": ["MODEL_ERROR", true, "Hello wor"],
  "malformed-line": ["MODEL_ERROR", true, "Hello wor"],
  "null-line": ["MODEL_ERROR", true, "Hello wor"],
  "odd-shape": ["MODEL_ERROR", true, "Hello wor"],
  "invalid-utf8": ["MODEL_ERROR", true, "Hello wor"],
  "bottomless-call": ["MODEL_ERROR", true, "Hello wor"],
  "call-flood": ["MODEL_ERROR", true, "Hello wor"],
  "endless-name": ["MODEL_ERROR", true, "Hello wor"],
  "call-without-name": ["MODEL_ERROR", true, "Hello wor"],
  "endless-line": ["MODEL_ERROR", true, "Hello wor"],
};

const sky = new Map<string, Script>(Object.entries(faults));

describe.each(Object.entries(weather))("%s", (name, [code, isTransient, partial]) => {
  const fault = sky.get(name) ?? faults.hang;

  test("once, and the answer is whole, each piece once", async () => {
    const story = await begin(fake);
    const { stage, engine, agentId, watcher } = story;
    fake.next(fault);
    await stage.say(engine, agentId, "say Hello world");
    const rested = await untilRest(story);
    if (isTransient) expect(statusOf(rested)).toBe("waiting_for_input");
    else {
      expect(await lastOf(story)).toMatchObject({ type: "TurnFailed", code });
      await engine.command(agentId, { type: "Retry", key: null });
      await untilRest(story);
    }
    expect(await lastOf(story)).toMatchObject({ type: "ModelSpoke", content: "Hello world" });
    expect(askedOf(fake).map(partialOf)).toEqual(["", partial]);
    await untilSeen(() => watcher.seen.at(-1)?.event.type === "ModelSpoke");
    expect(watcher.faults).toEqual([]);
    await engine.drain();
  });

  test("for ever, and the turn fails for all to see, until a retry", async () => {
    const story = await begin(fake);
    const { stage, engine, agentId } = story;
    const calls = isTransient ? 1 + turnLimits.attemptsMax : 1;
    const again = fake.always(fault);
    await stage.say(engine, agentId, "say Hello world");
    await untilRest(story);
    again();
    expect(await lastOf(story)).toMatchObject({ type: "TurnFailed", code });
    expect(askedOf(fake)).toHaveLength(calls);
    await engine.command(agentId, { type: "Retry", key: null });
    await untilRest(story);
    const { type, content = "" } = (await lastOf(story)) as { type: string; content?: string };
    expect([type, content.endsWith("ld")]).toEqual(["ModelSpoke", true]);
    await engine.drain();
  });
});
