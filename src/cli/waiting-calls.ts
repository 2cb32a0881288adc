import type { Client } from "@connectrpc/connect";
import type { AgentService, ServerMessage, ToolCall } from "../gen/engram/api/v1/agent_pb.ts";
import { clientLimits } from "./cli-limits.ts";

/** The tool calls of an agent that wait for a confirmation, in their order. */
export async function waitingCalls(
  client: Client<typeof AgentService>,
  agentId: string,
): Promise<readonly ToolCall[]> {
  const { headSequence } = await client.getAgent({ agentId });
  let length = BigInt(clientLimits.lookBackEvents);
  for (;;) {
    const isAll = length >= headSequence;
    const fromSequence = isAll ? 1n : headSequence - length + 1n;
    const request = { agentId, fromSequence, includeHistory: true };
    const tail: ServerMessage[] = [];
    for await (const message of client.replay(request))
      if (message.payload.case !== "heartbeat") tail.push(message);
    const calls = latestCalls(tail, isAll);
    if (calls !== null) return unanswered(calls, tail);
    length *= BigInt(clientLimits.lookBackFactor);
  }
}

/** The calls of the latest reply, which are recorded one behind the other and at once; null: the tail does not hold them all. */
function latestCalls(tail: readonly ServerMessage[], isAll: boolean): readonly ToolCall[] | null {
  const end = tail.findLastIndex(({ payload }) => replies.has(payload.case));
  const calls: ToolCall[] = [];
  let at = end;
  for (; at >= 0; at--) {
    const payload = tail[at]?.payload;
    if (payload?.case !== "toolCall") break;
    calls.unshift(payload.value);
  }
  return at < 0 && !isAll ? null : calls;
}

/** What a model's reply consists of. Of another reply no call waits any more. */
const replies: ReadonlySet<ServerMessage["payload"]["case"]> = new Set([
  "thought",
  "text",
  "toolCall",
  "finalAnswer",
]);

function unanswered(
  calls: readonly ToolCall[],
  tail: readonly ServerMessage[],
): readonly ToolCall[] {
  const answered = new Set<string>();
  for (const { payload } of tail)
    if (payload.case === "toolResult") answered.add(payload.value.callId);
    else if (payload.case === "status" && payload.value.status === "approved")
      answered.add(payload.value.message);
  return calls.filter((call) => call.requiresConfirmation && !answered.has(call.callId));
}
