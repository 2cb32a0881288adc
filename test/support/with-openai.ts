import { afterAll, afterEach } from "bun:test";
import { systemClock } from "../../src/clock.ts";
import type { Model } from "../../src/llm/model.ts";
import { openOpenAi, type OpenAiSettings } from "../../src/llm/openai/openai.ts";
import { openFakeOpenAi, type FakeOpenAi } from "./fake-openai.ts";

/** A stand-in for all tests of a file, which is as new for each, and adapters that ask it with the key that it wants. */
export const withOpenAi = async (
  apiKey: string | null = null,
): Promise<{
  readonly fake: FakeOpenAi;
  readonly openModel: (more?: Partial<OpenAiSettings>) => Model;
  /** What the adapters told the operator. */
  readonly logged: readonly string[];
}> => {
  const fake = await openFakeOpenAi({ apiKey });
  const logged: string[] = [];
  afterEach(() => {
    for (const list of [fake.chats, fake.others, logged]) list.length = 0;
  });
  afterAll(() => fake.close());
  return {
    fake,
    logged,
    openModel: (more = {}) =>
      openOpenAi({
        url: fake.url,
        apiKey,
        timeoutMs: 30_000,
        clock: systemClock,
        options: {},
        log: (line) => void logged.push(line),
        ...more,
      }),
  };
};
