import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { curl, json } from "../support/curl.ts";
import { type EngineProcess, openEngine } from "../support/engine-process.ts";

setDefaultTimeout(60_000);

let engine: EngineProcess;
beforeAll(async () => {
  engine = await openEngine();
});
afterAll(() => engine[Symbol.asyncDispose]());

const versions = { "HTTP/1.1": "--http1.1", "HTTP/2": "--http2-prior-knowledge" };

const post = async (flag: string, method: string, body: unknown): Promise<unknown> => {
  const url = `${engine.url}/engram.api.v1.AgentService/${method}`;
  const answer = await curl(url, flag, ...json, JSON.stringify(body));
  expect(answer.httpVersion).toBe(flag === "--http1.1" ? "HTTP/1.1" : "HTTP/2");
  return JSON.parse(answer.body);
};

const parameters = { type: "object", properties: { the_city: { type: "string" } } };
const camel = {
  goal: "help",
  model: "scripted:instant",
  systemPrompt: "be brief",
  metadata: { some_key: "kept as it is" },
  tools: [{ name: "a_tool", parametersSchema: parameters, requiresConfirmation: true }],
  config: {
    waitForInput: true,
    maxSteps: 7,
    maxDuration: "90.500s",
    maxTotalTokens: "9007199254740991",
    maxContextTokens: 4096,
    enableObservation: true,
    toolLimits: { fuel: "12345", memoryBytes: "1048576", timeout: "0.250s" },
  },
};
/** The proto's own names, and numbers where 64 bits may be written as either. */
const snake = {
  goal: "help",
  model: "scripted:instant",
  system_prompt: "be brief",
  metadata: { some_key: "kept as it is" },
  tools: [{ name: "a_tool", parameters_schema: parameters, requires_confirmation: true }],
  config: {
    wait_for_input: true,
    max_steps: 7,
    max_duration: "90.5s",
    max_total_tokens: 9007199254740991,
    max_context_tokens: 4096,
    enable_observation: true,
    tool_limits: { fuel: 12345, memory_bytes: "1048576", timeout: "0.25s" },
  },
};
const later = { invented_later: { deep: [1] }, inventedLater: null };
const spellings = {
  lowerCamelCase: camel,
  "the proto's names": snake,
  "both, and fields that nobody knows": {
    ...later,
    ...camel,
    config: { ...later, ...snake.config },
  },
};

for (const [version, flag] of Object.entries(versions))
  for (const [spelling, wishes] of Object.entries(spellings))
    test(`curl over ${version} makes an agent in JSON with ${spelling}`, async () => {
      expect(await post(flag, "CreateAgent", wishes)).toMatchObject({
        agent: { ...camel, status: "waiting_for_input", headSequence: "1" },
      });
    });

test.each(Object.entries(versions))(
  "curl over %s holds a conversation in either spelling",
  async (_, flag) => {
    const made = await post(flag, "CreateAgent", { ...snake, tools: [] });
    const { agentId } = Object(made);
    const first = { agentId, userInput: { content: "say one" }, messageId: "m1", timeout: "20s" };
    const second = {
      agent_id: agentId,
      user_input: { content: "say two" },
      message_id: "m2",
      timeout: "20.000s",
    };
    expect(await post(flag, "SendMessage", first)).toMatchObject({ text: "one" });
    expect(await post(flag, "SendMessage", second)).toMatchObject({
      text: "two",
      agent: {
        headSequence: "5",
        stats: { totalSteps: 2, totalDuration: expect.stringMatching(/^[\d.]+s$/) },
      },
    });
    const forked = await post(flag, "ForkAgent", { agent_id: agentId, at_sequence: "3" });
    const fork = { parentAgentId: agentId, forkedAtSequence: "3" };
    expect(forked).toMatchObject({ agent: fork });
    const numbered = await post(flag, "ForkAgent", { agentId, atSequence: 3 });
    expect(numbered).toMatchObject({ agent: fork });
  },
);

const refused: readonly (readonly [what: string, body: object, said: string])[] = [
  ["a Duration without its unit", { config: { maxDuration: "90" } }, 'config.max_duration is "90"'],
  ["a Duration as a number", { config: { max_duration: 90 } }, "config.max_duration is 90"],
  ["an int64 with a fraction", { config: { maxTotalTokens: "1.5" } }, "config.max_total_tokens is"],
  [
    "an int64 that is none",
    { config: { max_total_tokens: `1${"0".repeat(19)}` } },
    "max_total_tokens",
  ],
  ["a field in both spellings", { systemPrompt: "a", system_prompt: "b" }, "system_prompt is"],
];

test.each(refused)("curl is refused %s, and told which", async (_, wrong, said) => {
  expect(await post("--http1.1", "CreateAgent", { ...camel, ...wrong })).toMatchObject({
    code: "invalid_argument",
    message: expect.stringContaining(said),
  });
});
