import { describe, expect, spyOn, test } from "bun:test";
import type { JsonObject } from "../../src/agent/json.ts";
import { systemClock } from "../../src/clock.ts";
import { EngramError } from "../../src/errors.ts";
import type { FakeCompletion } from "../support/fake-openai-exchange.ts";
import { modelServerLimits } from "../../src/llm/server-limits.ts";
import { faults, refusals } from "../support/fake-openai-faults.ts";
import { outcomes } from "../support/fake-openai-outcomes.ts";
import { openFakeOpenAi } from "../support/fake-openai.ts";
import type { ScriptOf } from "../support/fake-server.ts";
import { makeManualClock } from "../support/manual-clock.ts";
import { asking, collect, toolNamed, user } from "../support/model-reply.ts";
import { withOpenAi } from "../support/with-openai.ts";

const apiKey = "key-test-the-whole";
const { fake, logged, openModel } = await withOpenAi(apiKey);

const hello = asking([user("hello")]);

const scriptNamed = (name: string): ScriptOf<FakeCompletion> =>
  new Map<string, ScriptOf<FakeCompletion>>(Object.entries({ ...faults, ...refusals })).get(name) ??
  faults.hang;

describe("a fault", () => {
  test.each(Object.entries(outcomes))("%s", async (name, [code, transient, message, text]) => {
    const printed = [spyOn(console, "log"), spyOn(console, "warn"), spyOn(console, "error")];
    fake.next(scriptNamed(name));
    const reply = await collect(openModel(), hello);
    expect(reply.error).toBeInstanceOf(EngramError);
    expect(reply.error).toMatchObject({ code, transient, message: expect.stringMatching(message) });
    expect(reply).toMatchObject({ text, usage: null, calls: [] });
    expect(fake.chats).toHaveLength(1);
    expect(await fake.chats[0]?.over).toBeDefined();
    for (const spy of printed) {
      expect(spy).not.toHaveBeenCalled();
      spy.mockRestore();
    }
  });

  test.each([
    ["context-openai", 8192, 9001],
    ["context-vllm", 4096, 5000],
    ["context-llama", 4096, 9000],
    ["context-mistral", 32768, 40000],
    ["context-minute", 10000, 14000],
    ["context-event", 4096, null],
  ] as const)("%s tells how much the model can read", async (name, contextTokens, promptTokens) => {
    fake.next(faults[name]);
    const { error } = await collect(openModel(), hello);
    expect(error).toMatchObject({ overflow: { contextTokens, promptTokens } });
  });

  test("what LLM_OPTIONS keep free for the reply is not for the prompt", async () => {
    fake.next(faults["context-llama"], faults["context-llama"]);
    const asked = async (options: JsonObject) =>
      (await collect(openModel({ options }), hello)).error;
    expect(await asked({ max_tokens: 1000 })).toMatchObject({ overflow: { contextTokens: 3096 } });
    expect(await asked({ max_completion_tokens: 9000 })).toMatchObject({
      code: "context_overflow",
      overflow: { contextTokens: 1, promptTokens: 9000 },
    });
  });

  test("a delay that the server asks for is passed on", async () => {
    const inOneMinute = new Date(Math.ceil(systemClock.nowMs() / 1000) * 1000 + 60_000);
    const clock = { ...systemClock, nowMs: () => inOneMinute.getTime() - 60_000 };
    const asked = async (headers: Record<string, string>) => {
      fake.next((x) => x.plain(429, '{"error":{"message":"busy"}}', headers));
      return (await collect(openModel({ clock }), hello)).error;
    };
    expect(await asked({ "Retry-After": "7" })).toMatchObject({ retryAfterMs: 7000 });
    expect(await asked({ "Retry-After": "1.5" })).toMatchObject({ retryAfterMs: 1500 });
    expect(await asked({ "Retry-After": "3", "retry-after-ms": "2750.5" })).toMatchObject({
      retryAfterMs: 2751,
    });
    expect(await asked({ "Retry-After": inOneMinute.toUTCString() })).toMatchObject({
      retryAfterMs: 60_000,
    });
    expect(await asked({ "Retry-After": "99999999" })).toMatchObject({
      retryAfterMs: 24 * 3600_000,
    });
    expect(await asked({ "Retry-After": "soon" })).toMatchObject({ retryAfterMs: null });
  });

  test("a server that is not there is unavailable, named without its password", async () => {
    const gone = await openFakeOpenAi();
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
    for (const url of ["ftp://localhost", "http://", "api.openai.com/v1"])
      expect(() => openModel({ url })).toThrow("LLM_BASE_URL must");
  });
});

describe("the key", () => {
  test("is in no message, though the server repeats it, in whole, in part or escaped", async () => {
    const texts = [`bad key ${apiKey}.`, "bad key sk-te*****key.", `${"x".repeat(490)} ${apiKey}`];
    for (const message of texts)
      for (const status of [400, 401, 404, 429, 500]) {
        fake.next((x) => x.json(status, { error: { message } }));
        const { error } = await collect(openModel(), hello);
        expect(String(error)).toContain(String(status));
        expect(String(error)).not.toMatch(/key-test|sk-te/);
      }
    fake.next((x) => x.plain(400, `not JSON, but ${apiKey}`));
    expect(String((await collect(openModel(), hello)).error)).not.toMatch(/key-test|sk-te/);
    fake.next((x) => x.data(JSON.stringify({ error: { message: `no ${apiKey}` } })));
    expect(String((await collect(openModel(), hello)).error)).not.toMatch(/key-test|sk-te/);
    expect(logged.join()).not.toMatch(/key-test|sk-te/);
  });

  test("goes to its server only, with nothing else of the environment", async () => {
    const elsewhere = await openFakeOpenAi();
    fake.next((x) => x.plain(308, "", { Location: `${elsewhere.url}/chat/completions` }));
    const secrets = {
      OPENAI_API_KEY: "sk-env",
      OPENAI_ADMIN_KEY: "sk-admin",
      OPENAI_ORG_ID: "org-env",
      OPENAI_PROJECT_ID: "project-env",
      OPENAI_BASE_URL: elsewhere.url,
      OPENAI_CUSTOM_HEADERS: "x-env: sk-custom",
      OPENAI_LOG: "debug",
      HTTP_PROXY: "http://127.0.0.1:1",
    };
    const printed = spyOn(console, "debug");
    Object.assign(process.env, secrets);
    try {
      expect(await collect(openModel(), hello)).toMatchObject({ error: { code: "model_error" } });
      expect((await collect(openModel(), asking([user("say hi")]))).text).toBe("hi");
    } finally {
      for (const name of Object.keys(secrets)) delete process.env[name];
    }
    expect(printed).not.toHaveBeenCalled();
    printed.mockRestore();
    expect([...elsewhere.chats, ...elsewhere.others]).toEqual([]);
    await elsewhere.close();
    const { host } = new URL(fake.url);
    expect(fake.chats[1]?.headers).toEqual({
      accept: "text/event-stream, application/json",
      "content-type": "application/json",
      "user-agent": "engram",
      authorization: `Bearer ${apiKey}`,
      "content-length": expect.any(String),
      connection: "close",
      host,
    });
  });

  test("is not needed by servers that want none", async () => {
    const open = await openFakeOpenAi();
    const model = openModel({ url: open.url, apiKey: null });
    expect(await collect(model, asking([user("say hi")]))).toMatchObject({ text: "hi" });
    expect(open.chats[0]?.headers["authorization"]).toBeUndefined();
    await open.close();
  });
});

describe("what a server does not take is left out from then on", () => {
  const tools = [toolNamed("f")];
  const { signal } = new AbortController();
  const whole = asking([user("count to 3")], { tools, thinking: true, format: { type: "object" } });
  const fields = ["stream_options", "reasoning_effort", "response_format", "tools"] as const;
  const sent = (): string[][] =>
    fake.chats.map(({ body }) => fields.filter((field) => body[field] !== undefined));
  test.each([
    ["usage", "usage"],
    ["usage-mistral", "usage"],
    ["format", "format"],
    ["thinking", "thinking"],
    ["thinking-ollama", "thinking"],
    ["thinking-with-tools", "thinking"],
    ["tools", "tools"],
    ["tools-vllm", "tools"],
    ["tools-llama", "tools"],
    ["tools-llama-old", "tools"],
    ["tools-pydantic", "tools"],
    ["tools-openrouter", "tools"],
    ["tools-groq", "tools"],
  ] as const)("%s: in the next one, as abilities tell", async (refusal, ability) => {
    const model = openModel();
    expect(await model.abilities("qwen3", signal)).toMatchObject({ tools: true, thinking: true });
    fake.next(refusals[refusal]);
    const { error } = await collect(model, whole);
    expect(error).toMatchObject({ code: "model_error", transient: true });
    const known = await model.abilities("qwen3", signal);
    expect(known).toMatchObject({ tools: true, thinking: true, [ability]: false });
    expect(logged).toHaveLength(1);
    const { [ability]: ofAnother = true } = await model.abilities("another", signal);
    expect(ofAnother).toBe(true);
  });

  test("for a while, since its operator may have mended it", async () => {
    const clock = makeManualClock();
    const model = openModel({ clock });
    const hasTools = async () => (await model.abilities("qwen3", signal)).tools;
    const refuse = async () => {
      fake.next(refusals["tools-vllm"]);
      await collect(model, whole);
    };
    await refuse();
    clock.advance(modelServerLimits.refusalsKeptMs - 1);
    expect(await hasTools()).toBe(false);
    clock.advance(1);
    expect(await hasTools()).toBe(true);
    await refuse();
    expect(await hasTools()).toBe(false);
    expect(logged).toHaveLength(2);
  });

  test("and a request that is made for such a server has nothing of it", async () => {
    const bare = { ...whole, thinking: false, format: null, usage: false };
    await collect(openModel(), bare);
    await collect(openModel(), whole);
    expect(sent()).toEqual([["tools"], [...fields]]);
  });

  test.each(Object.entries(refusals))("but not what was not sent (%s)", async (name) => {
    const options = { stream_options: { include_usage: true } };
    fake.next(scriptNamed(name));
    const { error } = await collect(openModel({ options }), hello);
    expect(error).toMatchObject({ code: "model_error", transient: name.startsWith("tools-llama") });
    expect(fake.chats).toHaveLength(1);
    expect(logged).toEqual([]);
  });

  test("nor what LLM_OPTIONS ask for", async () => {
    fake.next(refusals.thinking);
    const model = openModel({ options: { reasoning_effort: "high" } });
    expect((await collect(model, whole)).error).toMatchObject({ transient: false });
    expect(await model.abilities("qwen3", signal)).toMatchObject({ thinking: true });
    expect(fake.chats[0]?.body).toMatchObject({ reasoning_effort: "high" });
  });
});
