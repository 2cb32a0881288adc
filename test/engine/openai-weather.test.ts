import { afterAll, afterEach, beforeAll } from "bun:test";
import type { TurnErrorCode } from "../../src/agent/event.ts";
import type { ErrorCode } from "../../src/errors.ts";
import { turnLimits } from "../../src/limits.ts";
import { openOpenAi } from "../../src/llm/openai/openai.ts";
import { faults } from "../support/fake-openai-faults.ts";
import { outcomes } from "../support/fake-openai-outcomes.ts";
import { openFakeOpenAi, type FakeOpenAi } from "../support/fake-openai.ts";
import { timeoutMs } from "../support/ollama-story.ts";
import { holdsInWeather, type Weather } from "../support/weather.ts";

/*
 * As foul-weather.test.ts, of a server of OpenAI's API that goes on with partial answers.
 */

let fake: FakeOpenAi;
beforeAll(async () => {
  fake = await openFakeOpenAi();
});
afterEach(() => {
  fake.chats.length = 0;
});
afterAll(() => fake.close());

const turnErrors: Partial<Record<ErrorCode, TurnErrorCode>> = {
  model_unavailable: "MODEL_UNAVAILABLE",
  model_not_found: "MODEL_NOT_FOUND",
  model_error: "MODEL_ERROR",
  context_overflow: "CONTEXT_OVERFLOW",
};

const weather = {
  ...Object.fromEntries(
    Object.entries(outcomes).map(([name, [code, isTransient, , text]]): [string, Weather] => [
      name,
      [turnErrors[code] ?? "INTERNAL", isTransient, text],
    ]),
  ),
  // A reply that has begun found no room: it is gone on with, and where that finds none either begun anew, at each attempt.
  "context-event": [
    "CONTEXT_OVERFLOW",
    true,
    outcomes["context-event"][3],
    1 + 2 * turnLimits.attemptsMax,
  ],
} satisfies Record<string, Weather>;

holdsInWeather(
  () => fake,
  weather,
  faults,
  (url, clock) =>
    openOpenAi({
      url,
      apiKey: null,
      timeoutMs,
      clock,
      options: { continue_final_message: true },
      log: () => {},
    }),
);
