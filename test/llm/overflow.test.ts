import { expect, test } from "bun:test";
import { overflowIn } from "../../src/llm/overflow.ts";

/** What servers say, how much the model reads by that, and how long the prompt was. */
const said: readonly (readonly [string, number | null, number | null])[] = [
  [
    "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens.",
    8192,
    9001,
  ],
  [
    "This model's maximum context length is 4096 tokens. However, you requested 5100 tokens (5000 in the messages, 100 in the completion).",
    4096,
    5000,
  ],
  [
    "This model's maximum context length is 4096 tokens. However, you requested 100 output tokens and your prompt contains 5000 input tokens, for a total of 5100 tokens.",
    4096,
    5000,
  ],
  [
    "This model's maximum context length is 4096 tokens. However, you requested 100 output tokens and your prompt contains at least 3997 input tokens, for a total of at least 4097 tokens.",
    4096,
    null,
  ],
  [
    "'max_tokens' is too large: 500. This model's maximum context length is 4096 tokens and your request has 3700 input tokens (500 > 4096 - 3700).",
    4096,
    3700,
  ],
  ["The decoder prompt (length 5000) is longer than the maximum model length of 4096.", 4096, 5000],
  ["Input length (5000) exceeds model's maximum context length (4096).", 4096, 5000],
  ["The input (5000 tokens) is longer than the model's context length (4096 tokens).", 4096, 5000],
  ["request (9000 tokens) exceeds the available context size (4096 tokens), try", 4096, 9000],
  ['{"error":{"message":"too long","n_prompt_tokens":9000,"n_ctx":4096}}', 4096, 9000],
  [
    "Prompt contains 40000 tokens, too large for model with 32768 maximum context length",
    32768,
    40000,
  ],
  ["`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 `inputs` tokens", 4096, 5000],
  ["the model is loaded with context length of only 4096 tokens, which is not enough", 4096, null],
  [
    "This model's maximum prompt length is 131072 but the request contains 200000 tokens.",
    131072,
    200000,
  ],
  ["Your request exceeded model token limit: 8192 (requested: 9000)", 8192, null],
  ["prompt is too long: 215000 tokens > 200000 maximum", 200000, 215000],
  [
    "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
    1048576,
    1200000,
  ],
  [
    "Request too large for gpt-x on tokens per min (TPM): Limit 10000, Requested 14000.",
    10000,
    14000,
  ],
  [
    "This endpoint's maximum context length is 8192 tokens. However, you requested about 9000 tokens",
    8192,
    9000,
  ],
  ["Please reduce the length of the messages or completion.", null, null],
];

test.each(said)("%s", (text, contextTokens, promptTokens) => {
  expect(overflowIn(text)).toEqual({ contextTokens, promptTokens });
});
