import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  type Agent,
  AgentSchema,
  type ServerMessage,
  ServerMessageSchema,
} from "../../src/gen/engram/api/v1/agent_pb.ts";
import type { Sent } from "../../src/cli/torture/check.ts";

type Payload = Parameters<typeof create<typeof ServerMessageSchema>>[1] extends infer Init
  ? Init extends { payload?: infer P }
    ? P
    : never
  : never;

/** A message as an engine sends it; its time is made of its sequence. */
export const at = (
  sequence: number,
  payload: NonNullable<Payload>,
  ms = sequence * 10,
): ServerMessage =>
  create(ServerMessageSchema, {
    agentId: "a",
    sequenceId: BigInt(sequence),
    timestamp: timestampFromMs(ms),
    payload,
  });

export const status = (sequence: number, word: string, message = ""): ServerMessage =>
  at(sequence, { case: "status", value: { status: word, message } });
export const input = (sequence: number, content: string): ServerMessage =>
  status(sequence, "user_input", content);
export const text = (sequence: number, content: string): ServerMessage =>
  at(sequence, { case: "text", value: { content } });
export const delta = (sequence: number, offset: number, content: string): ServerMessage =>
  at(sequence, { case: "textDelta", value: { content, offset: BigInt(offset) } });
export const call = (sequence: number, requiresConfirmation = false): ServerMessage =>
  at(sequence, {
    case: "toolCall",
    value: { toolName: "clock", inputJson: "{}", callId: `call_${sequence}`, requiresConfirmation },
  });
export const result = (sequence: number, callId: string): ServerMessage =>
  at(sequence, { case: "toolResult", value: { callId, output: "noon", fuelUsed: 7n } });

/** The log of one turn: hello is asked for and written. */
export const oneTurn = (): ServerMessage[] => [
  status(1, "created", "the goal"),
  input(2, "say hello (1)"),
  text(3, "hello you"),
];

/** GetAgent of an agent with this log, where nothing is wrong. */
export const agentOf = (
  log: readonly ServerMessage[],
  said: Partial<Pick<Agent, "status">> & { steps?: number; toolCalls?: number; fuel?: number } = {},
): Agent => {
  const [first, last] = [log[0], log.at(-1)];
  return create(AgentSchema, {
    agentId: "a",
    status: said.status ?? "waiting_for_input",
    headSequence: BigInt(log.length),
    ...(first?.timestamp ? { createdAt: first.timestamp } : {}),
    ...(last?.timestamp ? { updatedAt: last.timestamp } : {}),
    stats: {
      totalSteps: said.steps ?? 1,
      toolCalls: said.toolCalls ?? 0,
      fuelUsed: BigInt(said.fuel ?? 0),
      tokensUsed: 5,
      promptTokens: 3n,
      completionTokens: 2n,
    },
  });
};

export const sent = (message: string, ackedAt: number | null, more: Partial<Sent> = {}): Sent => ({
  word: "user_input",
  message,
  hasId: true,
  ackedAt,
  expects: "",
  ...more,
});
