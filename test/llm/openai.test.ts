import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { tokenScale } from "../../src/agent/context.ts";
import type { Event } from "../../src/agent/event.ts";
import { fold } from "../../src/agent/fold.ts";
import { requestOf } from "../../src/agent/request.ts";
import { systemClock, type Clock } from "../../src/clock.ts";
import { EngramError } from "../../src/errors.ts";
import { born, callAfter, logged, said as heard } from "../support/events.ts";
import { holdsCalls } from "../support/adapter-story.ts";
import type { FakeCompletion } from "../support/fake-openai-exchange.ts";
import { faults } from "../support/fake-openai-faults.ts";
import { asking, assistant, collect, result, user } from "../support/model-reply.ts";
import { withOpenAi } from "../support/with-openai.ts";

const { fake, logged: lines, openModel } = await withOpenAi();

const hello = asking([user("hello")]);

describe("a reply", () => {
  test("comes in pieces, with its usage after its end", async () => {
    fake.next((x) => {
      x.delta({ role: "assistant", content: null, reasoning_content: "Hm." });
      x.delta({ reasoning: " Ha.", content: "" });
      x.delta({ reasoning: " So.", reasoning_content: " So." });
      x.say("Hi ");
      x.delta({ content: [{ type: "text", text: "<you" }], refusal: null });
      x.delta({ content: [{ type: "thinking", thinking: [{ type: "text", text: " Well." }] }] });
      x.delta({ refusal: ">" });
      x.delta({ content: "not the first choice" }, { index: 1 });
      x.delta({ content: "!" }, { finish_reason: "" });
      x.finish("stop", { prompt_tokens: 11, completion_tokens: 4 });
    });
    expect(await collect(openModel(), hello)).toEqual({
      text: "Hi <you>!",
      thinking: "Hm. Ha. So. Well.",
      calls: [],
      usage: { promptTokens: 11, completionTokens: 4 },
      error: undefined,
    });
    expect(fake.chats[0]?.body).toMatchObject({ stream_options: { include_usage: true } });
  });

  test.each([
    ["in each chunk", '"usage":{"prompt_tokens":3,"completion_tokens":2}'],
    ["as Groq tells it", '"x_groq":{"usage":{"prompt_tokens":3,"completion_tokens":2}}'],
  ])("has its usage %s", async (_, usage) => {
    fake.next((x) => {
      x.data(`{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}],${usage}}`);
      x.end();
    });
    expect((await collect(openModel(), hello)).usage).toEqual({
      promptTokens: 3,
      completionTokens: 2,
    });
  });

  test("has its usage estimated where the server does not count", async () => {
    const call = { index: 0, id: "1", function: { name: "f", arguments: '{"a":"12345"}' } };
    fake.next(
      (x) => {
        x.delta({ content: "a".repeat(300), reasoning: "b".repeat(87), tool_calls: [call] });
        x.delta({}, { finish_reason: "stop" });
        x.end();
      },
      (x) => x.finish("length", { prompt_tokens: -1, completion_tokens: "7" }),
    );
    const request = asking([user("u".repeat(400)), assistant("once", "f"), result("f", "r")]);
    const { usage } = await collect(openModel(), request);
    expect(usage?.completionTokens).toBe(101);
    expect(usage?.promptTokens).toBeWithin(180, 210);
    expect((await collect(openModel(), hello)).usage).toEqual({
      promptTokens: 26,
      completionTokens: 0,
    });
  });

  test("has its usage estimated as conversations are: it is taken for the model's own count", async () => {
    for (const said of ["the river", "река и лес", "河流和森林", ""]) {
      const attachments = said === "" ? [{ name: "a", mimeType: "image/png", base64: "AAAA" }] : [];
      const events = [born({ waitForInput: true }), { ...heard(said.repeat(90)), attachments }];
      const state = fold(logged(events));
      fake.next((x) => {
        x.delta({ content: "so" }, { finish_reason: "stop" });
        x.end();
      });
      const call = callAfter(2);
      const { usage } = await collect(openModel(), requestOf(state, call, ""));
      if (usage === null) throw new Error("no usage");
      const spoke: Event = { type: "ModelSpoke", head: { call, usage }, content: "so" };
      expect(tokenScale(fold(logged([spoke], 2), state))).toBeWithin(0.95, 1.3);
    }
  });

  test("tells the operator that it was cut", async () => {
    const model = openModel();
    fake.next(
      (x) => x.finish("stop"),
      (x) => x.finish("length"),
    );
    await collect(model, hello);
    expect(lines).toEqual([]);
    await collect(model, hello);
    expect(lines).toEqual([expect.stringMatching(/"qwen3" was cut.*max_tokens/)]);
  });

  test.each(["cut", "reset", "stall", "malformed"] as const)(
    "loses nothing to what goes wrong after its end (%s)",
    async (fault) => {
      fake.next(async (x) => {
        x.delta({ content: "all" }, { finish_reason: "stop" });
        if (fault === "malformed") x.data("{");
        if (fault === "stall") return void (await x.over);
        return fault === "reset" ? faults.reset(x) : x.cut();
      });
      const reply = await collect(openModel({ timeoutMs: 1_000 }), hello);
      expect(reply).toMatchObject({ error: undefined, usage: { promptTokens: 26 } });
      expect(reply.text).toStartWith("all");
    },
  );

  test("may come at once, from a server that does not stream", async () => {
    const call = { id: "call_1", type: "function", function: { name: "f", arguments: '{"a":1}' } };
    const message = { role: "assistant", content: "Hi", reasoning: "Hm.", tool_calls: [call] };
    const choices = [{ index: 0, message, finish_reason: "tool_calls" }];
    const whole = { object: "chat.completion", choices, usage: { prompt_tokens: 5 } };
    fake.next((x) =>
      x.plain(200, JSON.stringify(whole, null, 2), { "Content-Type": "application/json" }),
    );
    expect(await collect(openModel(), hello)).toEqual({
      text: "Hi",
      thinking: "Hm.",
      calls: [{ name: "f", inputJson: '{"a":1}' }],
      usage: { promptTokens: 5, completionTokens: 0 },
      error: undefined,
    });
  });

  test("is the same however the bytes are cut and the lines are ended", async () => {
    const text = fc.string({ unit: "grapheme", maxLength: 40 });
    const end = fc.constantFrom("\n", "\r\n");
    await fc.assert(
      fc.asyncProperty(
        fc.array(text),
        end,
        fc.integer({ min: 1, max: 50 }),
        async (texts, nl, step) => {
          const events = texts.map(
            (content, at) =>
              `${at % 3 === 0 ? `: ping${nl}${nl}` : `id: ${at}${nl}`}data:${at % 2 === 0 ? " " : ""}${JSON.stringify({ choices: [{ delta: { content } }] })}${nl}${nl}`,
          );
          const last = `data: {"choices":[${nl}data: {"delta":{},"finish_reason":"stop"}]}${nl}`;
          const bytes = Buffer.from(
            `\uFEFF${nl}retry: 5${nl}data:${nl}${nl}${events.join("")}${last}`,
          );
          fake.next((x) => {
            for (let at = 0; at < bytes.length; at += step) x.raw(bytes.subarray(at, at + step));
            x.end();
          });
          const reply = await collect(openModel(), hello);
          expect(reply).toMatchObject({ text: texts.join(""), error: undefined });
        },
      ),
      { numRuns: 40 },
    );
  });

  test("is over at [DONE], whatever follows", async () => {
    fake.next(async (x) => {
      x.delta({ content: "a" }, { finish_reason: "stop" });
      x.data("[DONE]");
      x.raw("garbage");
      await x.over;
    });
    expect((await collect(openModel(), hello)).text).toBe("a");
    expect(await fake.chats[0]?.over).toBe(true);
  });
});

describe("a server that says that it is at work", () => {
  const stillMs = 10 * 30_000;

  test.each<[string, (x: FakeCompletion) => void, number]>([
    ["comments", (x) => x.raw(": at work\n\n"), 0],
    ["empty chunks", (x) => x.delta({ content: "" }), 0],
    ["texts", (x) => x.say("a"), 3],
    ["thoughts", (x) => x.delta({ reasoning: "a" }), 3],
    [
      "inputs",
      (x) => x.delta({ tool_calls: [{ index: 0, function: { name: "f", arguments: " " } }] }),
      3,
    ],
  ])("by %s: how often that counts of three times", async (_, sign, count) => {
    let armed = 0;
    const after: Clock["after"] = (delayMs, fn) => {
      if (delayMs === stillMs) armed++;
      return systemClock.after(delayMs, fn);
    };
    fake.next((x) => {
      for (let times = 0; times < 3; times++) sign(x);
      x.finish();
    });
    const model = openModel({ clock: { ...systemClock, after } });
    expect((await collect(model, hello)).error).toBeUndefined();
    expect(armed).toBe(1 + count);
  });

  test("is not waited for without end", async () => {
    let endPatience = (): void => {};
    const after: Clock["after"] = (delayMs, fn) => {
      if (delayMs !== stillMs) return systemClock.after(delayMs, fn);
      endPatience = fn;
      return () => {};
    };
    fake.next(async (x) => {
      for (let times = 0; times < 5; times++) {
        x.raw(": at work\n\n");
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      endPatience();
      await x.over;
    });
    const { error } = await collect(openModel({ clock: { ...systemClock, after } }), hello);
    expect(error).toMatchObject({ code: "model_timeout", transient: true });
    expect(String(error)).toContain(`nothing of a reply for ${stillMs} ms`);
    expect(await fake.chats[0]?.over).toBe(true);
  });
});

test("a stop is heard after the model's end too", async () => {
  const reason = new EngramError("unavailable", "paused", { transient: true });
  fake.next(async (x) => {
    x.delta({ content: "Hello" }, { finish_reason: "stop" });
    await x.over;
  });
  const stop = new AbortController();
  const pieces = openModel().call(hello, stop.signal)[Symbol.asyncIterator]();
  expect(await pieces.next()).toEqual({ done: false, value: { kind: "text", text: "Hello" } });
  stop.abort(reason);
  await expect(pieces.next()).rejects.toBe(reason);
  expect(await fake.chats[0]?.over).toBe(true);
});

holdsCalls({
  open: openModel,
  chats: () => fake.chats,
  chat: (n) => fake.chat(n),
  hang: () => fake.next(faults.hang),
  stall: () => fake.next(faults.stall),
  say: (text, once) =>
    fake.next(async (x) => {
      await once();
      x.say(text);
      x.finish();
    }),
});

describe("whether a partial answer is continued", () => {
  const { signal } = new AbortController();

  test("is what LLM_OPTIONS say, and if so the rest fits", async () => {
    const model = openModel({ options: { continue_final_message: true } });
    expect(await model.continuesPartial("qwen3", false, signal)).toBe(true);
    const request = asking([user("write 9 words"), assistant("stone-1 cloud-2 lamp-")]);
    expect((await collect(model, request)).text).toBe(
      "3 forest-4 bell-5 harbour-6 sparrow-7 winter-8 garden-9",
    );
    for (const options of [
      {},
      { continue_final_message: "true" },
      { add_generation_prompt: false },
    ])
      expect(await openModel({ options }).continuesPartial("qwen3", false, signal)).toBe(false);
    expect(fake.others).toEqual([]);
  });
});
