import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { type Client, Code, ConnectError } from "@connectrpc/connect";
import type { AgentService } from "../../src/gen/engram/api/v1/agent_pb.ts";
import { createAgent, historyOf, openChat, valuesOf } from "../support/conversation.ts";
import { type EngineProcess, openEngine } from "../support/engine-process.ts";
import { type FakeOllama, openFakeOllama } from "../support/fake-ollama.ts";
import { makeListener } from "../support/listener.ts";
import { numbersIn, numbersTo } from "../support/numbered-words.ts";
import { seeded } from "../support/seed.ts";
import { putTools } from "../support/tool-modules.ts";

setDefaultTimeout(120_000);

let ollama: FakeOllama;
beforeAll(async () => {
  ollama = await openFakeOllama({ delayMs: 2 });
});
afterAll(() => ollama.close());

type AgentClient = Client<typeof AgentService>;

const kills = 12;
const requests = [
  "write 60 words",
  "call quick with {}",
  "call quick with {}, then call clock with {}, then write 30 words",
  "what is the code?",
];

/** Numbers from 0 to below 1, the same for the same seed. */
const randomFrom = (seed: number) => (): number => {
  seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
  return seed / 2 ** 31;
};

/** The engine as its clients see it: gone for a while, then there again. */
const makeService = (engine: EngineProcess) => {
  let up = Promise.resolve();
  const again = async (): Promise<void> => {
    await engine.kill();
    await engine.start();
  };
  return {
    client: async (): Promise<AgentClient> => {
      await up;
      return engine.client;
    },
    replace: (): Promise<void> => (up = again()),
  };
};
type Service = ReturnType<typeof makeService>;

/** What an unreachable engine looks like; anything else is a failure of the test. */
const mustBeAway = (error: unknown): void => {
  const away = [Code.Unavailable, Code.Canceled, Code.Aborted, Code.Internal, Code.Unknown];
  if (error instanceof ConnectError && away.includes(error.code) && !isFromServer(error)) return;
  throw error;
};
const isFromServer = (error: ConnectError): boolean => error.metadata.has("grpc-status");

/** Kills that leave a step no time for anything, several in a row, are taken for its own fault. */
const retriedIfFailed = async (client: AgentClient, agentId: string): Promise<boolean> => {
  const { status, statusReason } = await client.getAgent({ agentId });
  if (status !== "failed") return false;
  expect(statusReason).toContain("ended its engine three times");
  await client.controlAgent({ agentId, command: { case: "retry", value: {} } });
  return true;
};

/** A client that gives every message an id, and tries each again until it is answered. */
const converse = async (service: Service, model: string, stop: () => boolean) => {
  const listener = makeListener();
  const said: string[] = [];
  const requestId = crypto.randomUUID();
  let agentId = "";
  while (agentId === "")
    try {
      agentId = await createAgent(await service.client(), { model, requestId });
    } catch (error) {
      mustBeAway(error);
    }
  for (let n = 0; !stop() || n < requests.length; n++) {
    const content = n === 0 ? "The code is 42." : requests[n % requests.length]!;
    said.push(content);
    for (let done = false; !done;)
      try {
        // From the first event on, or from behind the last that is known.
        const after = listener.sequence === 0n ? 1n : listener.sequence;
        const engine = await service.client();
        await using chat = openChat(engine, agentId, { after, listener });
        chat.say(content, `m${n}`);
        await chat.end();
        done = !(await retriedIfFailed(engine, agentId));
      } catch (error) {
        mustBeAway(error);
      }
  }
  return { agentId, said, listener };
};

const models = {
  "the scripted model": { model: "scripted:2", settings: () => ({}) },
  "an Ollama that continues": {
    model: "qwen3",
    settings: () => ({ LLM_PROVIDER: "ollama", OLLAMA_URL: ollama.url }),
  },
  "an Ollama that answers anew": {
    model: "qwen3-no-prefill",
    settings: () => ({ LLM_PROVIDER: "ollama", OLLAMA_URL: ollama.url }),
  },
};

test.each(Object.entries(models))(
  "clients that try again lose and double nothing, however often the engine of %s is killed",
  async (_, { model, settings }) => {
    await using engine = await openEngine(settings());
    await putTools(engine.folder, "quick");
    const service = makeService(engine);
    const random = randomFrom(seeded(kills).seed);
    let killed = 0;
    const conversations = [1, 2, 3].map(() => converse(service, model, () => killed >= kills));
    const all = Promise.all(conversations);
    for (; killed < kills; killed++) {
      // Some moment; there is no event to wait for that would be as unkind.
      await Promise.race([Bun.sleep(40 + random() * 150), all]);
      await service.replace();
    }
    for (const { agentId, said, listener } of await all) {
      const history = await historyOf(engine.client, agentId);
      const statuses = valuesOf(history, "status");
      const inputs = statuses.filter(({ status }) => status === "user_input");
      expect(inputs.map(({ message }) => message)).toEqual(said);
      const texts = valuesOf(history, "text").map(({ content }) => content);
      expect(texts).toEqual([...listener.texts]);
      expect(texts.length).toBe(said.length);
      for (const [index, content] of said.entries()) {
        const text = texts[index] ?? "";
        if (content === "write 60 words") expect(numbersIn(text)).toEqual(numbersTo(60));
        if (content === "what is the code?") expect(text).toBe("The code is 42.");
      }
      const calls = valuesOf(history, "toolCall").map(({ callId }) => callId);
      const results = valuesOf(history, "toolResult").map(({ callId }) => callId);
      expect(results.toSorted()).toEqual(calls.toSorted());
      expect(new Set(results).size).toBe(results.length);
      if (!model.includes("no-prefill")) expect(listener.restarts).toBe(0);
    }
  },
);
