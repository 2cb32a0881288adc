import { describe, expect, test } from "bun:test";
import { systemClock } from "../../src/clock.ts";
import { openOpenAi, type OpenAiSettings } from "../../src/llm/openai/openai.ts";
import { modelServerLimits } from "../../src/llm/server-limits.ts";
import { openFakeOpenAi } from "../support/fake-openai.ts";
import { makeManualClock } from "../support/manual-clock.ts";

const openModel = (url: string, more: Partial<OpenAiSettings> = {}) =>
  openOpenAi({
    url,
    apiKey: null,
    timeoutMs: 30_000,
    clock: systemClock,
    options: {},
    log: (line) => {
      throw new Error(`nobody wants to know: ${line}`);
    },
    ...more,
  });

describe("how much a model can read", () => {
  const { signal } = new AbortController();

  test("is what the server's list says, asked for once in a while", async () => {
    const clock = makeManualClock();
    const fake = await openFakeOpenAi({ contexts: { "big-model": 131_072, qwen3: 40_960 } });
    const model = openModel(fake.url, { clock });
    const read = async (name: string) => (await model.abilities(name, signal)).contextTokens;
    expect(await Promise.all(["qwen3", "big-model", "other"].map(read))).toEqual([
      40_960,
      131_072,
      null,
    ]);
    const kept = openModel(fake.url, { options: { max_tokens: 960 } });
    expect(await kept.abilities("qwen3", signal)).toMatchObject({ contextTokens: 40_000 });
    fake.others.pop();
    clock.advance(599_000);
    await read("qwen3");
    expect(fake.others.map(({ path }) => path)).toEqual(["/v1/models"]);
    clock.advance(2_000);
    expect(await read("qwen3")).toBe(40_960);
    expect(fake.others).toHaveLength(2);
    await fake.close();
  });

  test.each(["context_length", "context_window", "max_context_length"])(
    "also by the name of %s",
    async (field) => {
      const list = {
        data: [null, { id: 7 }, { id: "qwen3", [field]: 8192 }, { id: "b", [field]: "9" }],
      };
      const server = Bun.serve({
        port: 0,
        hostname: "127.0.0.1",
        fetch: () => Response.json(list),
      });
      const model = openModel(`http://127.0.0.1:${server.port}/v1/`);
      expect((await model.abilities("qwen3", signal)).contextTokens).toBe(8192);
      expect((await model.abilities("b", signal)).contextTokens).toBeNull();
      await server.stop(true);
    },
  );

  test("is not known where there is no list, and asked again after a while", async () => {
    const answers = [
      () => new Response("<html>", { status: 404 }),
      () => new Response("[]"),
      () => new Response("{"),
    ];
    for (const answer of answers) {
      let asked = 0;
      const fetch = () => {
        asked++;
        return answer();
      };
      const server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch });
      const model = openModel(`http://127.0.0.1:${server.port}/v1`);
      expect(await model.abilities("qwen3", signal)).toEqual({
        tools: true,
        thinking: true,
        contextTokens: null,
      });
      await model.abilities("qwen3", signal);
      expect(asked).toBe(1);
      await server.stop(true);
    }
    const clock = makeManualClock();
    const gone = openModel("http://127.0.0.1:1/v1", { clock });
    expect((await gone.abilities("qwen3", signal)).contextTokens).toBeNull();
  });

  test.each([503, 429])("is asked again soon where the server answered %p", async (status) => {
    const answers = [
      () => new Response("", { status }),
      () => Response.json({ data: [{ id: "qwen3", max_model_len: 8192 }] }),
    ];
    const fetch = () => answers.shift()?.() ?? new Response("");
    const server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch });
    const clock = makeManualClock();
    const model = openModel(`http://127.0.0.1:${server.port}/v1`, { clock });
    expect((await model.abilities("qwen3", signal)).contextTokens).toBeNull();
    clock.advance(modelServerLimits.unknownKeptMs);
    expect((await model.abilities("qwen3", signal)).contextTokens).toBe(8192);
    await server.stop(true);
  });

  test("is not waited for longer than a few seconds, nor when it is no longer wanted", async () => {
    const { promise: came, resolve } = Promise.withResolvers<void>();
    const fetch = () => {
      resolve();
      return new Promise<Response>(() => {});
    };
    const server = Bun.serve({ idleTimeout: 0, port: 0, hostname: "127.0.0.1", fetch });
    const clock = makeManualClock();
    const model = openModel(`http://127.0.0.1:${server.port}/v1`, { clock });
    const stop = new AbortController();
    const stopped = model.abilities("qwen3", stop.signal);
    const waited = model.abilities("qwen3", signal);
    await came;
    const reason = new Error("paused");
    stop.abort(reason);
    await expect(stopped).rejects.toBe(reason);
    clock.advance(5_000);
    expect((await waited).contextTokens).toBeNull();
    await server.stop(true);
  });
});
