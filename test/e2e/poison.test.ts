import { expect, setDefaultTimeout, test } from "bun:test";
import {
  createAgent,
  historyOf,
  openChat,
  restingAgent,
  talk,
  valuesOf,
} from "../support/conversation.ts";
import { type EngineProcess, openEngine } from "../support/engine-process.ts";
import { openFakeOllama } from "../support/fake-ollama.ts";
import { startRedis } from "../support/redis-server.ts";
import { numbersIn, numbersTo } from "../support/numbered-words.ts";

setDefaultTimeout(60_000);

const poisonous = "fault:hang";

test("an agent that kills each engine of a fleet that drives it is given up after three, and no other with it", async () => {
  const redis = await startRedis();
  const settings = {
    STORE_TYPE: "redis",
    REDIS_URL: `127.0.0.1:${redis.port}`,
    LEASE_TTL_MS: "1000",
  };
  // Each engine has a model server of its own, which tells whose step it is.
  const models = await Promise.all([1, 2, 3].map(() => openFakeOllama({ delayMs: 10 })));
  const engines = await Promise.all(
    models.map(({ url }) => openEngine({ ...settings, LLM_PROVIDER: "ollama", OLLAMA_URL: url })),
  );
  await using front = await openEngine({ ...settings, WORKER_CONCURRENCY: "0" });
  let deaths = 0;
  let over = false;
  /** Kills an engine as soon as it has the poisonous agent's step, and starts it again. */
  const poison = async (engine: EngineProcess, model: (typeof models)[number]): Promise<void> => {
    for (let n = 0; ; n++) {
      const { body } = await model.chat(n);
      if (over) return;
      if (body["model"] !== poisonous) continue;
      deaths++;
      await engine.kill();
      await engine.start();
    }
  };
  engines.forEach((engine, index) => void poison(engine, models[index]!));
  try {
    const make = (model: string): Promise<string> => createAgent(front.client, { model });
    // Some are silent when their engine dies, and so look as if they had killed it too; others are in mid-answer.
    const silent = await Promise.all(Array.from({ length: 6 }, () => make("fault:late")));
    const busy = await Promise.all(Array.from({ length: 6 }, () => make("qwen3")));
    const agentId = await make(poisonous);
    await using chat = openChat(front.client, agentId);
    chat.say("say hello");
    const others = [
      ...silent.map((other) => talk(front.client, other, "say fine")),
      ...busy.map((other) => talk(front.client, other, "write 100 words")),
    ];
    await Promise.all(others);
    const { status, statusReason } = await restingAgent(front.client, agentId);
    expect(status).toBe("failed");
    expect(statusReason).toContain("ended its engine three times");
    expect(deaths).toBe(3);
    for (const other of [...silent, ...busy]) {
      const { status: rests, statusReason: why } = await front.client.getAgent({ agentId: other });
      expect([rests, why]).toEqual(["waiting_for_input", ""]);
    }
    for (const other of silent) {
      const texts = valuesOf(await historyOf(front.client, other), "text");
      expect(texts.map(({ content }) => content)).toEqual(["fine"]);
    }
    for (const other of busy) {
      const texts = valuesOf(await historyOf(front.client, other), "text");
      expect(texts.map(({ content }) => numbersIn(content))).toEqual([numbersTo(100)]);
    }
  } finally {
    over = true;
    await Promise.all(engines.map((engine) => engine[Symbol.asyncDispose]()));
    await Promise.all(models.map(({ close }) => close()));
    await redis.stop();
  }
});
