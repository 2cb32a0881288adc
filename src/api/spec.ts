import type { Duration } from "@bufbuild/protobuf/wkt";
import type { AgentConfig, AgentSpec, AgentTool } from "../agent/event.ts";
import { EngramError } from "../errors.ts";
import type * as wire from "../gen/engram/api/v1/agent_pb.ts";

/** What a client may set of an agent, as it came on the wire; the engine checks it. */
export const specOf = (
  request: Pick<
    wire.CreateAgentRequest,
    "goal" | "model" | "systemPrompt" | "metadata" | "config" | "tools"
  >,
): AgentSpec => ({
  goal: request.goal,
  model: request.model,
  systemPrompt: request.systemPrompt,
  metadata: { ...request.metadata },
  config: configOf(request.config),
  tools: request.tools.map(toolOf),
});

const configOf = (config: wire.AgentConfig | undefined): AgentConfig => ({
  stepsMax: config?.maxSteps ?? 0,
  durationMsMax: msOf("config.max_duration", config?.maxDuration),
  temperature: temperatureOf(config?.temperature ?? 0),
  contextTokensMax: config?.maxContextTokens ?? 0,
  enableThinking: config?.enableThinking ?? false,
  enableObservation: config?.enableObservation ?? false,
  waitForInput: config?.waitForInput ?? false,
  responseSchema: config?.responseSchema ?? null,
  totalTokensMax: numberOf("config.max_total_tokens", config?.maxTotalTokens ?? 0n),
  noTools: config?.noTools ?? false,
  toolLimits: {
    fuel: numberOf("config.tool_limits.fuel", config?.toolLimits?.fuel ?? 0n),
    memoryBytes: numberOf("config.tool_limits.memory_bytes", config?.toolLimits?.memoryBytes ?? 0n),
    timeoutMs: msOf("config.tool_limits.timeout", config?.toolLimits?.timeout),
    outputBytesMax: numberOf(
      "config.tool_limits.max_output_bytes",
      config?.toolLimits?.maxOutputBytes ?? 0n,
    ),
  },
});

/**
 * null: on the wire 0 is what an unset number looks like. There it has the 24 bits of a float, in JSON it has not; of
 * both the 7 digits are taken that floats keep, so that 0.7 is 0.7.
 */
const temperatureOf = (given: number): number | null =>
  given === 0 ? null : Number(Math.fround(given).toPrecision(7));

const toolOf = (tool: wire.Tool): AgentTool => ({
  name: tool.name,
  description: tool.description,
  parameters: tool.parametersSchema ?? null,
  requiresConfirmation: tool.requiresConfirmation,
});

/** The longest that a Duration may be, some 10,000 years: JSON has no word for one that is longer. */
const durationSecondsMax = 315_576_000_000n;
const nanosMax = 999_999_999;

/** A duration in ms, parts of one rounded up; absent: 0. Fails with invalid_argument on a negative one, or one that is none. */
export function msOf(field: string, duration: Duration | undefined): number {
  if (duration === undefined) return 0;
  const { seconds, nanos } = duration;
  if (seconds < 0n || nanos < 0) throw new EngramError("invalid_argument", `${field} is negative`);
  if (seconds > durationSecondsMax || nanos > nanosMax)
    throw new EngramError(
      "invalid_argument",
      `${field} has ${seconds} seconds and ${nanos} nanos; a Duration has at most ${durationSecondsMax} and ${nanosMax}`,
    );
  return numberOf(field, seconds) * 1000 + Math.ceil(nanos / 1e6);
}

/** A 64-bit integer as a number. Fails with invalid_argument past 2^53. */
function numberOf(field: string, value: bigint): number {
  const number = Number(value);
  if (Number.isSafeInteger(number)) return number;
  throw new EngramError(
    "invalid_argument",
    `${field} is ${value}; the largest number taken is 2^53`,
  );
}

/** A sequence as a client names it. Fails with invalid_argument on a negative one. */
export function sequenceOf(field: string, value: bigint): number {
  const sequence = numberOf(field, value);
  if (sequence < 0) throw new EngramError("invalid_argument", `${field} is negative`);
  return sequence;
}
