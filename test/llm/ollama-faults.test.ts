import { describe, expect, spyOn, test } from "bun:test";
import { type Clock, systemClock } from "../../src/clock.ts";
import { EngramError, type ErrorCode } from "../../src/errors.ts";
import { faults, type Script } from "../support/fake-ollama-faults.ts";
import { openFakeOllama } from "../support/fake-ollama.ts";
import { asking, collect, user } from "../support/model-reply.ts";
import { withOllama } from "../support/with-ollama.ts";

const { fake, openModel } = await withOllama();

const hello = asking([user("hello")]);

/** code, transient, what the message says, the text that came before. */
type Expected = readonly [ErrorCode, boolean, RegExp, string];

const begun = "Hello wor";

// Those left out are no failures by themselves.
const expected: Record<
  Exclude<
    keyof typeof faults,
    "hang" | "late" | "stall" | "load" | "silent" | "blank-thinking" | "call-flood" | "endless-name"
  >,
  Expected
> = {
  "not-found": ["model_not_found", false, /ollama pull qwen3/, ""],
  "bad-request": ["model_error", false, /invalid model name/, ""],
  "no-tools": ["model_error", true, /offered to it as text/, ""],
  "no-thinking": ["model_error", true, /asked without/, ""],
  "no-chat": ["model_error", false, /does not support chat/, ""],
  "context-text": ["context_overflow", false, /max_context_tokens/, ""],
  "context-nested": ["context_overflow", false, /status 400: request \(9000 tokens/, ""],
  unauthorized: ["model_error", false, /ollama signin/, ""],
  forbidden: ["model_error", false, /OLLAMA_URL/, ""],
  "rate-limit": ["model_unavailable", true, /too many requests/, ""],
  busy: ["model_unavailable", true, /server busy/, ""],
  "no-images": ["model_error", false, /takes no images/, ""],
  "bad-option": ["model_error", false, /LLM_OPTIONS/, ""],
  "runner-died": ["model_error", true, /unexpectedly stopped/, ""],
  "broken-call": ["model_error", true, /broken tool call/, ""],
  html: ["model_error", false, /OLLAMA_URL/, ""],
  "html-404": ["model_error", false, /OLLAMA_URL/, ""],
  "html-502": ["model_unavailable", true, /502/, ""],
  redirect: ["model_error", false, /302, a redirection.*OLLAMA_URL/, ""],
  "http-500": ["model_error", true, /status 500/, ""],
  sse: ["model_error", false, /not JSON.*OLLAMA_URL/, ""],
  "plain-text": ["model_error", false, /not JSON.*OLLAMA_URL/, ""],
  "other-json": ["model_error", true, /before it was done/, ""],
  empty: ["model_error", true, /before it was done/, ""],
  gzip: ["model_error", false, /packed as gzip.*OLLAMA_URL/, ""],
  "not-streamed": ["model_error", true, /before it was done/, begun],
  "error-first": ["model_error", true, /no space/, ""],
  repeating: ["model_error", true, /before it was done/, begun + " ".repeat(30)],
  "call-without-name": ["model_error", true, /call without a name/, begun],
  "reset-before-head": ["model_unavailable", true, /ollama serve/, ""],
  reset: ["model_error", true, /broke in mid-reply/, begun],
  cut: ["model_error", true, /broke in mid-reply/, begun],
  "no-done": ["model_error", true, /before it was done/, begun],
  "other-end": ["model_error", true, /before it was done/, begun],
  "error-line": ["model_error", true, /CUDA error/, begun],
  "context-line": ["context_overflow", false, /mid-reply: request \(9000 tokens/, begun],
  "malformed-line": ["model_error", true, /not JSON/, begun],
  "null-line": ["model_error", true, /not JSON/, begun],
  "invalid-utf8": ["model_error", true, /not JSON/, begun],
  "odd-shape": ["model_error", true, /content that is not text/, begun],
  "bottomless-call": ["model_error", true, /without end/, begun],
  "endless-line": ["model_error", true, /without end/, begun],
};

describe("a fault", () => {
  test.each(Object.entries(expected))("%s", async (name, [code, transient, message, text]) => {
    const printed = [spyOn(console, "log"), spyOn(console, "warn"), spyOn(console, "error")];
    fake.next(new Map<string, Script>(Object.entries(faults)).get(name) ?? faults.hang);
    const reply = await collect(openModel(), hello);
    expect(reply.error).toBeInstanceOf(EngramError);
    expect(reply.error).toMatchObject({ code, transient, message: expect.stringMatching(message) });
    expect(reply).toMatchObject({ text, usage: null });
    for (const spy of printed) {
      expect(spy).not.toHaveBeenCalled();
      spy.mockRestore();
    }
  });

  test.each([
    ["context-nested", { promptTokens: 9_000, contextTokens: 4_096 }],
    ["context-line", { promptTokens: 9_000, contextTokens: 4_096 }],
    ["context-text", { promptTokens: null, contextTokens: null }],
  ] as const)("%s tells by how much the prompt is too long", async (name, overflow) => {
    fake.next(faults[name]);
    expect((await collect(openModel(), hello)).error).toMatchObject({ overflow });
  });

  test.each<[string, string]>([
    ["blank lines", "\n"],
    ["empty chunks", '{"message":{"role":"assistant","content":""},"done":false}\n'],
  ])("%s are not waited for without end", async (_, sign) => {
    const stillMs = 10 * 30_000;
    let armed = 0;
    let endPatience = (): void => {};
    const after: Clock["after"] = (delayMs, fn) => {
      if (delayMs !== stillMs) return systemClock.after(delayMs, fn);
      armed++;
      endPatience = fn;
      return () => {};
    };
    fake.next(async (x) => {
      x.say("Hello");
      for (let times = 0; times < 5; times++) {
        x.raw(sign);
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      endPatience();
      x.raw(sign);
      await x.over;
    });
    const reply = await collect(openModel({ clock: { ...systemClock, after } }), hello);
    expect(reply).toMatchObject({ text: "Hello", error: { code: "model_timeout" } });
    expect(String(reply.error)).toContain(`nothing of a reply for ${stillMs} ms`);
    // At first, and for the text.
    expect(armed).toBe(2);
    expect(await fake.chats[0]?.over).toBe(true);
  });

  test("what a server says is passed on in whole characters", async () => {
    fake.next((x) => x.json(500, { error: `${"x".repeat(499)}\u{1F600}` }));
    const { error } = await collect(openModel(), hello);
    expect(String(error).isWellFormed()).toBe(true);
  });

  test("a prompt longer than the room is refused, not cut", async () => {
    const request = asking([user("word ".repeat(50))], { model: "m-ctx40", contextTokens: 40 });
    expect((await collect(openModel(), request)).error).toMatchObject({
      code: "context_overflow",
      overflow: { promptTokens: 50, contextTokens: 40 },
    });
  });

  test("a delay that the server asks for is passed on", async () => {
    const inOneMinute = new Date(Math.ceil(systemClock.nowMs() / 1000) * 1000 + 60_000);
    const clock = { ...systemClock, nowMs: () => inOneMinute.getTime() - 60_000 };
    const asked = async (value: string) => {
      fake.next((x) => x.plain(503, '{"error":"busy"}', { "Retry-After": value }));
      return (await collect(openModel({ clock }), hello)).error;
    };
    expect(await asked("7")).toMatchObject({ retryAfterMs: 7000 });
    expect(await asked(inOneMinute.toUTCString())).toMatchObject({ retryAfterMs: 60_000 });
    expect(await asked("99999999")).toMatchObject({ retryAfterMs: 24 * 3600_000 });
    expect(await asked("soon")).toMatchObject({ retryAfterMs: null });
  });

  test.each([
    [429, "model_unavailable", 3_600_000],
    [503, "model_unavailable", 3_600_000],
    [500, "model_error", 3_600_000],
    [400, "model_error", null],
  ] as const)("%p whose words break off", async (status, code, retryAfterMs) => {
    const headers = { "Retry-After": "3600", "Content-Length": "100" };
    fake.next((x) => x.plain(status, '{"error":"', headers));
    const { error } = await collect(openModel(), hello);
    expect(error).toMatchObject({ code, transient: true, retryAfterMs });
  });

  test("a server that is not there is unavailable, named without its password", async () => {
    const gone = await openFakeOllama();
    await gone.close();
    const url = gone.url.replace("http://", "http://me:secret@");
    const { error } = await collect(openModel({ url }), hello);
    expect(error).toMatchObject({
      code: "model_unavailable",
      transient: true,
      message: expect.stringContaining(`at ${gone.url} cannot be reached`),
    });
    expect(String(error)).not.toContain("secret");
  });

  test("what is no address is refused at once", () => {
    expect(() => openModel({ url: "ftp://localhost" })).toThrow("OLLAMA_URL must be");
    expect(() => openModel({ url: "http://" })).toThrow("OLLAMA_URL must be");
  });
});
