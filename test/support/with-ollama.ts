import { afterAll, afterEach } from "bun:test";
import { systemClock } from "../../src/clock.ts";
import type { Model } from "../../src/llm/model.ts";
import type { OllamaSettings } from "../../src/llm/ollama/exchange.ts";
import { openOllama } from "../../src/llm/ollama/ollama.ts";
import { openFakeOllama, type FakeOllama } from "./fake-ollama.ts";

/** A stand-in for all tests of a file, which is as new for each, and adapters that ask it. */
export const withOllama = async (): Promise<{
  readonly fake: FakeOllama;
  readonly openModel: (more?: Partial<OllamaSettings>) => Model;
  /** What the adapters told the operator. */
  readonly logged: readonly string[];
}> => {
  const fake = await openFakeOllama();
  const logged: string[] = [];
  afterEach(() => {
    for (const list of [fake.chats, fake.others, logged]) list.length = 0;
  });
  afterAll(() => fake.close());
  return {
    fake,
    logged,
    openModel: (more = {}) =>
      openOllama({
        url: fake.url,
        timeoutMs: 30_000,
        clock: systemClock,
        options: {},
        log: (line) => void logged.push(line),
        ...more,
      }),
  };
};
