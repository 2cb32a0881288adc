import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import fc from "fast-check";
import { systemClock } from "../../src/clock.ts";
import { EngramError } from "../../src/errors.ts";
import { openOpenAi, type OpenAiSettings } from "../../src/llm/openai.ts";
import { holdsCalls } from "../support/adapter-story.ts";
import { faults } from "../support/fake-openai-faults.ts";
import { openFakeOpenAi, type FakeOpenAi } from "../support/fake-openai.ts";
import { asking, assistant, collect, result, toolNamed, user } from "../support/model-reply.ts";

let fake: FakeOpenAi;

const openModel = (more: Partial<OpenAiSettings> = {}) =>
  openOpenAi({
    url: fake.url,
    apiKey: null,
    timeoutMs: 30_000,
    clock: systemClock,
    options: {},
    log: () => {},
    ...more,
  });

beforeAll(async () => {
  fake = await openFakeOpenAi();
});
afterEach(() => {
  fake.chats.length = 0;
  fake.others.length = 0;
});
afterAll(() => fake.close());

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
    expect(usage?.completionTokens).toBe(100);
    expect(usage?.promptTokens).toBeWithin(110, 130);
    expect((await collect(openModel(), hello)).usage).toEqual({
      promptTokens: 2,
      completionTokens: 0,
    });
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
      const reply = await collect(openModel({ timeoutMs: 50 }), hello);
      expect(reply).toMatchObject({ error: undefined, usage: { promptTokens: 2 } });
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

  test("is over at [DONE], whatever follows, and leaves no clock running", async () => {
    let running = 0;
    const after = () => {
      let canceled = false;
      running++;
      return () => {
        if (!canceled) running--;
        canceled = true;
      };
    };
    fake.next(async (x) => {
      x.delta({ content: "a" }, { finish_reason: "stop" });
      x.data("[DONE]");
      x.raw("garbage");
      await x.over;
    });
    const model = openModel({ clock: { ...systemClock, after } });
    expect((await collect(model, hello)).text).toBe("a");
    expect(await fake.chats[0]?.over).toBe(true);
    expect((await collect(model, asking([user("count to 50")]))).text).toEndWith(" 49 50");
    expect(running).toBe(0);
  });
});

describe("a request", () => {
  const sent = async (model = openModel(), ...args: Parameters<typeof asking>) => {
    const at = fake.chats.length;
    const request = asking(...args);
    fake.next((x) => x.finish());
    await collect(model, request);
    const { body, bodyText } = await fake.chat(at);
    expect(bodyText).toBe(model.bodyOf(request));
    return body;
  };

  test("carries the whole conversation as OpenAI takes it", async () => {
    const body = await sent(openModel(), [
      { role: "system", content: "s" },
      { role: "user", content: "u", images: [] },
      assistant("t", "f", "g"),
      result("f", "r"),
      result("g", "q"),
      assistant("", "h"),
      result("h", "p"),
      assistant("said"),
      user("more"),
    ]);
    const call = (name: string) => ({
      id: `id-${name}`,
      type: "function",
      function: { name, arguments: "{}" },
    });
    expect(body["messages"]).toEqual([
      { role: "system", content: "s" },
      { role: "user", content: "u" },
      { role: "assistant", content: "t", tool_calls: [call("f"), call("g")] },
      { role: "tool", tool_call_id: "id-f", content: "r", name: "f" },
      { role: "tool", tool_call_id: "id-g", content: "q", name: "g" },
      { role: "assistant", content: null, tool_calls: [call("h")] },
      { role: "tool", tool_call_id: "id-h", content: "p", name: "h" },
      { role: "assistant", content: "said" },
      { role: "user", content: "more" },
    ]);
    expect(
      (
        await collect(
          openModel(),
          asking([user("u"), assistant("t", "f"), result("f", "r"), user("say hi")]),
        )
      ).text,
    ).toEndWith(" hi");
  });

  test.each([
    ["image/png", "\x89PNG\r\n\x1a\n"],
    ["image/jpeg", "\xff\xd8\xff\xe0"],
    ["image/gif", "GIF89a"],
    ["image/webp", "RIFF\x01\x02\x03\x04WEBPVP8 "],
    ["image/png", "?"],
  ])("says that an image is %s", async (type, bytes) => {
    const image = Buffer.from(`${bytes}and so on`, "latin1").toString("base64");
    const look = { role: "user", content: "look", images: [image, image] } as const;
    const part = { type: "image_url", image_url: { url: `data:${type};base64,${image}` } };
    expect((await sent(openModel(), [look]))["messages"]).toEqual([
      { role: "user", content: [{ type: "text", text: "look" }, part, part] },
    ]);
  });

  test("puts options beside the rest, which they do not change", async () => {
    const options = { max_tokens: 9, temperature: 0.1, model: "x", messages: [], stream: false };
    const own = {
      model: "qwen3",
      messages: [{ role: "user", content: "x" }],
      stream: true,
      stream_options: { include_usage: true },
    };
    expect(await sent(openModel({ options }), [user("x")])).toEqual({
      ...own,
      max_tokens: 9,
      temperature: 0.1,
    });
    expect(await sent(openModel({ options }), [user("x")], { temperature: 0.7 })).toEqual({
      ...own,
      max_tokens: 9,
      temperature: 0.7,
    });
    expect(await sent(openModel(), [user("x")])).toEqual(own);
  });

  test("asks for thinking and for a form of the answer only where they are wanted", async () => {
    const format = { type: "object", properties: {} };
    expect(await sent(openModel(), [user("x")], { thinking: true, format })).toMatchObject({
      reasoning_effort: "medium",
      response_format: { type: "json_schema", json_schema: { name: "answer", schema: format } },
    });
    const options = { reasoning_effort: "low" };
    expect(await sent(openModel({ options }), [user("x")], { thinking: true })).toMatchObject(
      options,
    );
    expect(Object.keys(await sent(openModel(), [user("x")]))).not.toContain("reasoning_effort");
  });

  test("offers tools with schemas that OpenAI takes", async () => {
    const odd = { name: "odd", description: "", parameters: { properties: true, required: ["a"] } };
    const body = await sent(openModel(), [user("x")], { tools: [toolNamed("f"), odd] });
    const { parameters } = toolNamed("f");
    expect(body["tools"]).toEqual([
      { type: "function", function: { name: "f", description: "the f", parameters } },
      {
        type: "function",
        function: {
          name: "odd",
          description: "",
          parameters: { type: "object", properties: {}, required: ["a"] },
        },
      },
    ]);
  });

  test("says that an answer is to be gone on with where the server can, and only of such", async () => {
    const options = { continue_final_message: true, add_generation_prompt: true, top_k: 1 };
    const model = openModel({ options });
    const fields = ["continue_final_message", "add_generation_prompt", "top_k"];
    const kept = async (...messages: Parameters<typeof asking>[0]) => {
      const body = await sent(model, messages);
      return fields.map((field) => body[field]);
    };
    expect(await kept(user("x"))).toEqual([undefined, undefined, 1]);
    expect(await kept(user("x"), assistant("", "f"), result("f", "r"))).toEqual([
      undefined,
      undefined,
      1,
    ]);
    expect(await kept(user("x"), assistant("once"))).toEqual([true, false, 1]);
    const plain = await sent(openModel(), [user("x"), assistant("once")]);
    expect(Object.keys(plain)).not.toContain("continue_final_message");
  });

  test("goes to where the base URL leads, with what it asks", async () => {
    await collect(openModel({ url: `${fake.url}/deep/?api-version=7#x` }), hello);
    expect(fake.others.map(({ path }) => path)).toEqual([
      "/v1/deep/chat/completions?api-version=7",
    ]);
    fake.next((x) => x.finish());
    expect((await collect(openModel({ url: `${fake.url}/` }), hello)).error).toBeUndefined();
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
  wait: (count) => {
    const answer = async (x: Parameters<typeof faults.hang>[0]) => {
      await fake.chat(count - 1);
      x.say("all here");
      x.finish();
    };
    fake.next(...Array.from({ length: count }, () => answer));
  },
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
