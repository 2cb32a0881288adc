import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { JsonObject } from "../../src/agent/json.ts";
import type { ModelRequest } from "../../src/agent/request.ts";
import { modelServerLimits } from "../../src/llm/server-limits.ts";
import { holdsCalls } from "../support/adapter-story.ts";
import { faults } from "../support/fake-ollama-faults.ts";
import { makeManualClock } from "../support/manual-clock.ts";
import { asking, assistant, collect, result, toolNamed, user } from "../support/model-reply.ts";
import { untilSeen } from "../support/ollama-story.ts";
import { quiet } from "../support/stage.ts";
import { withOllama } from "../support/with-ollama.ts";

const { fake, logged, openModel } = await withOllama();

const hello = asking([user("hello")]);

describe("a reply", () => {
  test("comes in pieces, each line's counted, the last line's too", async () => {
    fake.next((x) => {
      x.event({ message: { role: "assistant", content: "", thinking: "Hm." }, done: false });
      x.say("Hi ");
      x.event({ message: { role: "assistant", content: "<you>", thinking: null }, done: false });
      x.done({ message: { role: "assistant", content: "!", thinking: " Ha." }, eval_count: 4 });
    });
    expect(await collect(openModel(), asking([user("hello")], { thinking: true }))).toEqual({
      text: "Hi <you>!",
      thinking: "Hm. Ha.",
      calls: [],
      usage: { promptTokens: 11, completionTokens: 4 },
      error: undefined,
    });
    expect(await fake.chats[0]?.over).toBe(false);
  });

  test("holds tool calls, those in the last line too", async () => {
    const called = (name: string, input?: JsonObject) => ({
      message: {
        role: "assistant",
        content: "",
        tool_calls: [{ id: "", function: { index: 0, name, ...(input && { arguments: input }) } }],
      },
      done: false,
    });
    fake.next((x) => {
      x.event(called("a", { k: [1, "é"] }));
      x.event(called("b"));
      x.done({ ...called("c", {}), done: true });
    });
    expect((await collect(openModel(), hello)).calls).toEqual([
      { name: "a", inputJson: '{"k":[1,"é"]}' },
      { name: "b", inputJson: "{}" },
      { name: "c", inputJson: "{}" },
    ]);
  });

  test.each([
    ['{"a":1}', '{"a":1}'],
    ["not JSON", "not JSON"],
    [[1, 2], "[1,2]"],
    [7, "7"],
    [null, "{}"],
    [false, "false"],
  ])("holds a call's input as the model wrote it: %p", async (input, inputJson) => {
    const call = { function: { name: "f", arguments: input } };
    fake.next((x) => x.done({ message: { role: "assistant", content: "", tool_calls: [call] } }));
    const reply = await collect(openModel(), hello);
    expect(reply).toMatchObject({ calls: [{ name: "f", inputJson }], error: undefined });
  });

  test("is the same however the bytes are cut", async () => {
    const text = fc.string({ unit: "grapheme", maxLength: 40 });
    await fc.assert(
      fc.asyncProperty(fc.array(text), fc.integer({ min: 1, max: 50 }), async (texts, step) => {
        const lines = texts.map(
          (content) => `${JSON.stringify({ message: { content }, done: false })}\n`,
        );
        const bytes = Buffer.from(`${lines.join("\r\n")}{"done":true}`);
        fake.next((x) => {
          for (let at = 0; at < bytes.length; at += step) x.raw(bytes.subarray(at, at + step));
          x.end();
        });
        const reply = await collect(openModel(), hello);
        expect(reply).toMatchObject({ text: texts.join(""), error: undefined });
      }),
      { numRuns: 40 },
    );
  });
});

describe("a request", () => {
  const sent = async (...args: Parameters<typeof asking>): Promise<JsonObject> => {
    const at = fake.chats.length;
    const options = { num_ctx: 8192, keep_alive: "10m", truncate: true, temperature: 0.1 };
    await collect(openModel({ options }), asking(...args));
    return (await fake.chat(at)).body;
  };

  test("carries the whole conversation in the server's spelling", async () => {
    const image = Buffer.from("/etc/hostname").toString("base64");
    const body = await sent([
      { role: "system", content: "s" },
      { role: "user", content: "u", images: [image, "/etc/hostname"] },
      assistant("t", "f"),
      result("f", "r"),
    ]);
    expect(body["messages"]).toEqual([
      { role: "system", content: "s" },
      {
        role: "user",
        content: "u",
        // Never a file's content.
        images: [image, "/etc/hostname"],
      },
      {
        role: "assistant",
        content: "t",
        tool_calls: [{ id: "id-f", function: { name: "f", arguments: {} } }],
      },
      { role: "tool", content: "r", tool_name: "f", tool_call_id: "id-f" },
    ]);
  });

  test("puts options where the server looks for them", async () => {
    expect(await sent([user("x")], { temperature: 0.7 })).toEqual({
      model: "qwen3",
      messages: [{ role: "user", content: "x" }],
      stream: true,
      think: false,
      options: { num_ctx: 8192, temperature: 0.7 },
      keep_alive: "10m",
      truncate: true,
      shift: false,
    });
    expect(await sent([user("x")])).toMatchObject({ options: { temperature: 0.1 } });
    await collect(openModel(), hello);
    expect(fake.chats.at(-1)?.body).toEqual({
      model: "qwen3",
      messages: [{ role: "user", content: "hello" }],
      stream: true,
      think: false,
      truncate: false,
      shift: false,
      options: { num_ctx: 32_768 },
    });
  });

  test("offers tools with schemas that the server can read", async () => {
    const odd = {
      name: "odd",
      description: "",
      parameters: { properties: { a: true, b: { type: { not: "a name" }, format: "date" } } },
    };
    const body = await sent([user("x")], { tools: [toolNamed("f"), odd] });
    expect(body["tools"]).toEqual([
      {
        type: "function",
        function: {
          name: "f",
          description: "the f",
          parameters: {
            type: "object",
            properties: { input: { type: "string" } },
            required: ["input"],
          },
        },
      },
      {
        type: "function",
        function: {
          name: "odd",
          description: "",
          parameters: {
            type: "object",
            properties: { a: {}, b: { format: "date" } },
            required: [],
          },
        },
      },
    ]);
  });

  test("says whether to think, but not to a model that goes on with its answer", async () => {
    expect((await sent([user("x")], { thinking: true }))["think"]).toBe(true);
    expect((await sent([user("x")]))["think"]).toBe(false);
    const continuing = await sent([user("count to 3"), assistant("1 2")], { thinking: true });
    expect(continuing["think"]).toBe(false);
  });

  test("asks for the room that the model has, and for no other than is set", async () => {
    const roomOf = async (options: JsonObject, contextTokens: number | null) => {
      await collect(openModel({ options }), asking([user("x")], { contextTokens }));
      return fake.chats.at(-1)?.body["options"];
    };
    expect(await roomOf({}, 8_192)).toEqual({ num_ctx: 8_192 });
    expect(await roomOf({}, 131_072)).toEqual({ num_ctx: 32_768 });
    expect(await roomOf({ num_ctx: 65_536 }, 131_072)).toEqual({ num_ctx: 65_536 });
    expect(await roomOf({ num_ctx: 65_536 }, 8_192)).toEqual({ num_ctx: 8_192 });
    expect(await roomOf({ num_ctx: "much" }, 8_192)).toEqual({ num_ctx: "much" });
  });

  const image = Buffer.alloc(4096, 7).toString("base64");
  const called = { callId: "call_1", name: "f", input: { images: ["image-"] } };
  const requests: Record<string, ModelRequest> = {
    plain: hello,
    "with everything": asking(
      [
        { role: "system", content: 's "\u2028 é \u{1F600}' },
        { role: "user", content: "u", images: [image, image] },
        { role: "assistant", content: "t", toolCalls: [called] },
        result("f", "r"),
        { role: "user", content: "image-", images: [image] },
      ],
      { tools: [toolNamed("f")], temperature: 0.3, thinking: true, contextTokens: 9_000 },
    ),
    "for a form": asking([user("x")], { format: { type: "object", required: ["a"] } }),
    "to go on": asking([user("count to 3"), assistant("1 2")], { thinking: true }),
  };

  test.each(Object.entries(requests))("%s is known to the byte", async (_, request) => {
    const model = openModel({ options: { num_ctx: 16_384, keep_alive: -1, seed: 7 } });
    fake.next((x) => x.done());
    await collect(model, request);
    expect(fake.chats.at(-1)?.bodyText).toBe(model.bodyOf(request));
  });

  test("with a form asks the server to hold the model to it", async () => {
    const format = { type: "object", properties: { a: { type: "integer" } } };
    expect((await sent([user("x")], { format }))["format"]).toEqual(format);
    expect(await sent([user("x")])).not.toHaveProperty("format");
  });
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
      x.done();
    }),
});

describe("whether a partial answer is continued", () => {
  const { signal } = new AbortController();

  test("is asked of the server without generating, with the options of every request", async () => {
    const model = openModel({ options: { num_ctx: 4096, keep_alive: -1 } });
    expect(await model.continuesPartial("qwen3", true, signal)).toBe(true);
    expect(fake.chats[0]?.body).toMatchObject({
      _debug_render_only: true,
      stream: false,
      think: false,
      keep_alive: -1,
      options: { num_ctx: 4096, num_predict: 1 },
    });
    expect(await model.continuesPartial("qwen3-no-prefill", false, signal)).toBe(false);
  });

  test("is asked again only when the model has changed", async () => {
    const model = openModel();
    await model.continuesPartial("qwen3", false, signal);
    expect(await model.continuesPartial("QWEN3:latest", true, signal)).toBe(true);
    expect(fake.chats).toHaveLength(1);
    fake.repull();
    expect(await model.continuesPartial("qwen3", false, signal)).toBe(true);
    expect(fake.chats).toHaveLength(2);
  });

  test("is no where the server cannot say, and asked again", async () => {
    const model = openModel();
    fake.next((x) => x.json(200, { message: { role: "assistant", content: "y" }, done: true }));
    expect(await model.continuesPartial("qwen3", false, signal)).toBe(false);
    expect(await model.continuesPartial("qwen3", false, signal)).toBe(true);
  });

  test.each(["busy", "reset", "html", "not-found", "cut"] as const)(
    "is no at %s",
    async (fault) => {
      fake.next(faults[fault]);
      expect(await openModel().continuesPartial("qwen3", false, signal)).toBe(false);
      expect(logged).toEqual([expect.stringContaining('"qwen3"')]);
    },
  );

  test("is asked also where the server does not say which model it is, each time", async () => {
    const clock = makeManualClock();
    const model = openModel({ clock });
    fake.nextAt("/api/tags", faults.hang);
    const answer = model.continuesPartial("qwen3", false, signal);
    await untilSeen(() => fake.others.some(({ path }) => path === "/api/tags"));
    await quiet();
    clock.advance(modelServerLimits.abilitiesTimeoutMs);
    expect(await answer).toBe(true);
    expect(await model.continuesPartial("qwen3", false, signal)).toBe(true);
    expect(fake.chats).toHaveLength(2);
  });

  test("is no after silence", async () => {
    fake.next(faults.hang);
    expect(await openModel({ timeoutMs: 50 }).continuesPartial("qwen3", false, signal)).toBe(false);
  });

  test("is not answered when it is no longer wanted", async () => {
    fake.next(faults.hang);
    const stop = new AbortController();
    const answer = openModel().continuesPartial("qwen3", false, stop.signal);
    const { over } = await fake.chat(0);
    const reason = new Error("paused");
    stop.abort(reason);
    await expect(answer).rejects.toBe(reason);
    expect(await over).toBe(true);
  });

  test("and if so the rest fits", async () => {
    const request = asking([user("write 9 words"), assistant("stone-1 cloud-2 lamp-")]);
    expect((await collect(openModel(), request)).text).toBe(
      "3 forest-4 bell-5 harbour-6 sparrow-7 winter-8 garden-9",
    );
  });
});
