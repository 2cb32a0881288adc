import type { Fault } from "./fault.ts";

const faults = "test/llm/openai-faults.test.ts";
const replies = "test/llm/openai.test.ts";
const requests = "test/llm/openai-request.test.ts";
const calls = "test/llm/openai-calls.test.ts";
const models = "test/llm/openai-models.test.ts";

/** Of servers that speak OpenAI's API. */
export const openai: readonly Fault[] = [
  {
    name: "openai: a stream that was cut is taken for a whole answer",
    file: "src/llm/openai/openai.ts",
    text: "if (!reply.isFinished()) throw failureOfEnd(exchange.subject);",
    by: "",
    tests: [faults],
  },
  {
    name: "openai: an answer is lost to what goes wrong behind it",
    file: "src/llm/openai/openai.ts",
    text: "if (signal.aborted || !harmless) throw withRoom(failure, options);",
    by: "throw withRoom(failure, options);",
    tests: [replies],
  },
  {
    name: "openai: a pause behind the model's end is not heard",
    file: "src/llm/openai/openai.ts",
    text: "if (signal.aborted || !harmless) throw withRoom(failure, options);",
    by: "if (!harmless) throw withRoom(failure, options);",
    tests: [replies],
  },
  {
    name: "openai: a call that was stopped goes on at the server",
    file: "src/llm/openai/openai.ts",
    text: "      exchange.close();\n",
    by: "",
    tests: [replies],
  },
  {
    name: "openai: the package tries again by itself",
    file: "src/llm/openai/exchange.ts",
    text: "maxRetries: 0,",
    by: "maxRetries: 1,",
    tests: [faults],
  },
  {
    name: "openai: the package prints what it cannot do",
    file: "src/llm/openai/exchange.ts",
    text: '    logger: silent,\n    logLevel: "off",\n',
    by: "",
    tests: [faults],
  },
  {
    name: "openai: keys of the environment go to the server",
    file: "src/llm/openai/exchange.ts",
    text: "headers: () => headersFor(apiKey, true),",
    by: "headers: (given) => ({ ...Object.fromEntries(given), ...headersFor(apiKey, true) }),",
    tests: [faults],
  },
  {
    name: "openai: a key is sent where it may be read on its way, by an address without a scheme",
    file: "src/llm/openai/exchange.ts",
    text: 'if (!url.includes("://"))',
    by: 'if (url === "")',
    tests: [faults],
  },
  {
    name: "openai: the key is shown where the server repeats it",
    file: "src/llm/openai/failure.ts",
    text: 'text.replaceAll(apiKey, "[LLM_API_KEY]")',
    by: "text",
    tests: [faults],
  },
  {
    name: "openai: an empty account is asked again and again",
    file: "src/llm/openai/failure.ts",
    text: "pattern: /insufficient_quota|insufficient[ _](?:balance|credits?)/i,",
    by: "pattern: /insufficient[ _](?:balance|credits?)/i,",
    tests: [faults],
  },
  {
    name: "openai: an error in mid-stream is passed over",
    file: "src/llm/openai/events.ts",
    text: '    if (chunk["error"] !== undefined && chunk["error"] !== null) throw failureOf(chunk["error"]);\n    begun = true;',
    by: "    begun = true;",
    tests: [faults],
  },
  {
    name: "openai: what cannot be read is left to the package",
    file: "src/llm/openai/events.ts",
    text: 'if (chunk === null) throw failureOfBytes(subject, "an event that is not JSON", begun);',
    by: "if (chunk === null) { yield eventOf(data); continue; }",
    tests: [faults],
  },
  {
    name: "openai: calls that all say to be the first are one",
    file: "src/llm/openai/calls.ts",
    text: "if (id !== null && call.id !== null) return id !== call.id;",
    by: "if (id !== null && call.id !== null) return false;",
    tests: [calls],
  },
  {
    name: "openai: calls without ids are one",
    file: "src/llm/openai/calls.ts",
    text: "return whole.has(call) ||",
    by: "return",
    tests: [calls],
  },
  {
    name: "openai: a brace in a text ends an input",
    file: "src/llm/openai/calls.ts",
    text: "else if (char === '\"') inString = !inString;",
    by: "",
    tests: [calls],
  },
  {
    name: "openai: a message that is not to be gone on with is",
    file: "src/llm/openai/wire.ts",
    text: "continues &&\n      canContinue(options) &&",
    by: "canContinue(options) &&",
    tests: [requests],
  },
  {
    name: "openai: LLM_OPTIONS change whom a request is for",
    file: "src/llm/openai/wire.ts",
    text: "!ours.has(name) && ",
    by: "",
    tests: [requests],
  },
  {
    name: "openai: a server is asked again for what it has refused",
    file: "src/llm/openai/refusals.ts",
    text: "      known.set(model, clock.monotonicMs() + refusalsKeptMs);\n",
    by: "",
    tests: [faults],
  },
  {
    name: "openai: what a server has refused is remembered for ever",
    file: "src/llm/openai/refusals.ts",
    text: "clock.monotonicMs() + refusalsKeptMs",
    by: "Infinity",
    tests: [faults],
  },
  {
    name: "openai: an overloaded server's lack of a list is remembered like a list",
    file: "src/llm/openai/models.ts",
    text: "status === 429 || status >= 500",
    by: "status === 599",
    tests: [models],
  },
  {
    name: "openai: what was not sent is taken for refused",
    file: "src/llm/openai/refusals.ts",
    text: "refused.find((part) => sent[part]) ?? null",
    by: "refused[0] ?? null",
    tests: [faults],
  },
  {
    name: "openai: a turn waits for a list of models that does not come",
    file: "src/llm/openai/models.ts",
    text: "clock.after(modelServerLimits.abilitiesTimeoutMs, late)",
    by: "(late, () => {})",
    tests: [models],
  },
  {
    name: "openai: a server that only says that it is at work is waited for without end",
    file: "src/llm/watch.ts",
    text: "let expectNoMore = patience();",
    by: "let expectNoMore = (): void => {};",
    tests: [replies],
  },
  {
    name: "openai: a prompt may take the room that is kept for the reply",
    file: "src/llm/openai/openai.ts",
    text: "contextTokens: roomOf(options, contextTokens)",
    by: "contextTokens",
    tests: [faults],
  },
];
