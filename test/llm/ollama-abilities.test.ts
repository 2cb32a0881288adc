import { describe, expect, test } from "bun:test";
import { modelServerLimits } from "../../src/llm/server-limits.ts";
import { faults } from "../support/fake-ollama-faults.ts";
import { makeManualClock } from "../support/manual-clock.ts";
import { asking, collect, toolNamed, user } from "../support/model-reply.ts";
import { untilSeen } from "../support/ollama-story.ts";
import { withOllama } from "../support/with-ollama.ts";

const { fake, logged, openModel } = await withOllama();

const { signal } = new AbortController();
const all = { tools: true, thinking: true, contextTokens: 32_768 };

describe("what a model can do", () => {
  test.each([
    ["qwen3", {}, all],
    ["qwen3-no-tools-ctx8192", {}, { tools: false, thinking: true, contextTokens: 8_192 }],
    ["no-thinking", { num_ctx: 65_536 }, { ...all, thinking: false, contextTokens: 65_536 }],
    ["old-ctx4096", {}, { ...all, contextTokens: 4_096 }],
    ["qwen3-ctx4096", { num_ctx: "much" }, { ...all, contextTokens: 4_096 }],
    ["missing", {}, all],
    ["missing", { num_ctx: "much" }, { ...all, contextTokens: null }],
  ])("%s with %p", async (model, options, expected) => {
    expect(await openModel({ options }).abilities(model, signal)).toEqual(expected);
  });

  test("is asked once, by however many, and again after a while", async () => {
    const clock = makeManualClock();
    const model = openModel({ clock });
    await Promise.all([1, 2, 3].map(() => model.abilities("qwen3", signal)));
    clock.advance(modelServerLimits.abilitiesKeptMs - 1);
    await model.abilities("qwen3", signal);
    expect(fake.others.map(({ path, body }) => [path, body])).toEqual([
      ["/api/show", { model: "qwen3" }],
    ]);
    await model.abilities("llama3.2", signal);
    expect(fake.others).toHaveLength(2);
    clock.advance(1);
    await model.abilities("qwen3", signal);
    expect(fake.others).toHaveLength(3);
  });

  test.each(["html-502", "busy", "not-found", "reset-before-head", "cut"] as const)(
    "is everything where the server answers %s, and asked again",
    async (fault) => {
      const model = openModel();
      fake.nextAt("/api/show", faults[fault]);
      expect(await model.abilities("no-tools", signal)).toEqual(all);
      expect(logged).toEqual([expect.stringContaining('"no-tools" can do is not known')]);
      expect(await model.abilities("no-tools", signal)).toMatchObject({ tools: false });
    },
  );

  test("is everything where the server does not know the question, for a while", async () => {
    const clock = makeManualClock();
    const model = openModel({ clock });
    fake.nextAt("/api/show", faults.html);
    for (let times = 0; times < 3; times++)
      expect(await model.abilities("no-tools", signal)).toEqual(all);
    expect(logged).toEqual([expect.stringContaining('"no-tools" can do is not known')]);
    clock.advance(modelServerLimits.unknownKeptMs);
    expect(await model.abilities("no-tools", signal)).toMatchObject({ tools: false });
  });

  test("is everything where the server hangs, which nobody waits for long", async () => {
    const clock = makeManualClock();
    const model = openModel({ clock, timeoutMs: 3_600_000 });
    fake.nextAt("/api/show", faults.hang);
    const asked = [model.abilities("no-tools", signal), model.abilities("no-tools", signal)];
    await untilSeen(() => fake.others.length === 1);
    clock.advance(modelServerLimits.abilitiesTimeoutMs);
    expect(await Promise.all(asked)).toEqual([all, all]);
    expect(await fake.others[0]?.over).toBe(true);
    expect(await model.abilities("no-tools", signal)).toEqual(all);
    expect(fake.others).toHaveLength(1);
    clock.advance(modelServerLimits.unknownKeptMs);
    expect(await model.abilities("no-tools", signal)).toMatchObject({ tools: false });
    expect(clock.waiting()).toBe(0);
  });

  test("stays known while the server does not say it again", async () => {
    const clock = makeManualClock();
    const model = openModel({ clock });
    await model.abilities("no-tools-ctx8192", signal);
    clock.advance(modelServerLimits.abilitiesKeptMs);
    fake.nextAt("/api/show", faults.busy);
    const known = { tools: false, thinking: true, contextTokens: 8_192 };
    expect(await model.abilities("no-tools-ctx8192", signal)).toEqual(known);
  });

  test("is not answered when it is no longer wanted; the request goes with the last who asked", async () => {
    const model = openModel();
    fake.nextAt("/api/show", faults.hang);
    const reason = new Error("paused");
    const [first, second] = [new AbortController(), new AbortController()];
    const asked = [first, second].map((stop) => model.abilities("qwen3", stop.signal));
    await untilSeen(() => fake.others.length === 1);
    first.abort(reason);
    await expect(asked[0]).rejects.toBe(reason);
    expect(fake.others[0]?.signal.aborted).toBe(false);
    const third = new AbortController();
    const late = model.abilities("qwen3", third.signal);
    third.abort(reason);
    await expect(late).rejects.toBe(reason);
    expect(fake.others).toHaveLength(1);
    second.abort(reason);
    await expect(asked[1]).rejects.toBe(reason);
    expect(await fake.others[0]?.over).toBe(true);
    expect(logged).toEqual([]);
    expect(await model.abilities("qwen3", signal)).toEqual(all);
  });
});

describe("what a call is refused for", () => {
  const request = asking([user("say hello")], { model: "old-no-tools-no-thinking" });
  const tools = [toolNamed("f")];

  test("is remembered of the model, and the call may be made again", async () => {
    const model = openModel();
    expect(await model.abilities(request.model, signal)).toEqual(all);
    const refused = await collect(model, { ...request, tools });
    expect(refused.error).toMatchObject({ code: "model_error", transient: true });
    expect(await model.abilities(request.model, signal)).toEqual({ ...all, tools: false });
    const unthinking = await collect(model, { ...request, thinking: true });
    expect(unthinking.error).toMatchObject({ code: "model_error", transient: true });
    const known = { ...all, tools: false, thinking: false };
    expect(await model.abilities(request.model, signal)).toEqual(known);
    expect(await collect(model, request)).toMatchObject({ text: "hello", error: undefined });
  });

  test("is what the server says, not what the model wrote", async () => {
    const model = openModel();
    const raw = "error parsing tool call: raw='m does not support tools (', err=none";
    fake.next((x) => x.json(500, { error: raw }));
    expect((await collect(model, hello)).error).toMatchObject({ transient: true });
    expect(await model.abilities("qwen3", signal)).toEqual(all);
  });

  const hello = asking([user("hello")]);
});
