import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { HandlerContext } from "@connectrpc/connect";
import type { Event, LoggedEvent } from "../agent/event.ts";
import { fold } from "../agent/fold.ts";
import type { Recorded } from "../engine/record.ts";
import { type AgentState, isResting, statusOf } from "../agent/state.ts";
import { EngramError } from "../errors.ts";
import {
  type SendMessageRequest,
  type SendMessageResponse,
  SendMessageResponseSchema,
  type ToolResult,
  ToolResultSchema,
} from "../gen/engram/api/v1/agent_pb.ts";
import { requestLimits } from "../limits.ts";
import type { StreamParts } from "./chat.ts";
import { sayOf } from "./commands.ts";
import { msOf } from "./spec.ts";
import { agentOf, finalAnswerOf, sizeOf, toolResultOf } from "./wire.ts";

/** SendMessage: records the message and answers when the agent rests. A repeated one waits for the same turn. */
export async function sendMessage(
  parts: StreamParts,
  request: SendMessageRequest,
  { signal }: HandlerContext,
): Promise<SendMessageResponse> {
  const { agentId } = request;
  if (agentId === "") throw new EngramError("invalid_argument", "agent_id is missing");
  const askedMs = msOf("timeout", request.timeout);
  const timeoutMs = Math.min(
    askedMs === 0 ? requestLimits.sendMessageTimeoutMsDefault : askedMs,
    requestLimits.sendMessageTimeoutMsMax,
  );
  const endMs = parts.clock.monotonicMs() + timeoutMs;
  const recorded = await parts.engine.command(agentId, sayOf(request.userInput, request.messageId));
  const advice =
    request.messageId === ""
      ? "look at it by GetAgent and Replay, and give messages an id to wait for their turns again"
      : "ask again with the same message_id to wait for it";
  const events = await turnBehind(parts, { agentId, recorded, endMs, timeoutMs, advice }, signal);
  const agent = agentOf(await parts.engine.get(agentId));
  return fitting(create(SendMessageResponseSchema, { agent, ...answerOf(events) }));
}

/** Without its oldest tool results, where all of them would make the answer larger than clients take. */
function fitting(answer: SendMessageResponse): SendMessageResponse {
  const { toolResults } = answer;
  let bytesLeft = requestLimits.answerBytesMax;
  bytesLeft -= sizeOf(SendMessageResponseSchema, { ...answer, toolResults: [] });
  const tooMany = toolResults.findLastIndex(
    (result) => (bytesLeft -= sizeOf(ToolResultSchema, result)) < 0,
  );
  return { ...answer, toolResults: toolResults.slice(tooMany + 1) };
}

/** The events behind an input until the agent rests. Fails with deadline_exceeded, while the agent goes on. */
async function turnBehind(
  { engine, clock }: StreamParts,
  on: {
    readonly agentId: string;
    readonly recorded: Recorded;
    readonly endMs: number;
    readonly timeoutMs: number;
    /** To who has waited in vain. */
    readonly advice: string;
  },
  signal: AbortSignal,
): Promise<readonly LoggedEvent[]> {
  const { sequence, state: known } = on.recorded;
  // Of a repeated message the state is the one of now.
  let state = known.sequence === sequence ? known : await engine.stateAt(on.agentId, sequence);
  const events: LoggedEvent[] = [];
  const follower = await engine.follow(on.agentId, sequence, false);
  signal.addEventListener("abort", follower.wake, { once: true });
  try {
    for (;;) {
      signal.throwIfAborted();
      const followed = await follower.take();
      for (const item of followed) {
        if (item.kind !== "event") continue;
        if (isOver(state) && !continues(item.logged.event)) return events;
        events.push(item.logged);
        state = fold([item.logged], state);
      }
      if (followed.length > 0) continue;
      if (isResting(statusOf(state))) return events;
      const leftMs = on.endMs - clock.monotonicMs();
      if (leftMs <= 0 || !(await follower.wait(leftMs)))
        throw new EngramError(
          "deadline_exceeded",
          `the agent still works after ${on.timeoutMs} ms and goes on; ${on.advice}`,
        );
    }
  } finally {
    follower.close();
  }
}

/** A pause, and a wait for a confirmation, interrupt a turn: what comes behind them belongs to it. */
function isOver(state: AgentState): boolean {
  const status = statusOf(state);
  return isResting(status) && status !== "paused" && status !== "waiting_for_confirmation";
}

/**
 * The events of a reply are recorded at once: between them an agent does not rest, though a fold of half of them says so.
 * A failed turn goes on where it was retried.
 */
const continues = (event: Event): boolean =>
  event.type === "AgentRetried" || ("head" in event && event.head === null);

type Answer = Omit<MessageInitShape<typeof SendMessageResponseSchema> & object, "$typeName">;

function answerOf(events: readonly LoggedEvent[]): Answer {
  let answer: Answer = {};
  const toolResults: ToolResult[] = [];
  for (const { event } of events)
    if (event.type === "ModelSpoke") answer = { ...answer, text: event.content };
    else if (event.type === "FinalAnswered")
      answer = { ...answer, finalAnswer: finalAnswerOf(event) };
    else if (event.type === "TurnFailed")
      answer = { ...answer, error: { code: event.code, message: event.message } };
    else if (event.type === "AgentRetried") answer = { ...answer, error: undefined };
    else if (event.type === "ToolReturned") toolResults.push(toolResultOf(event.callId, event));
  return { ...answer, toolResults };
}
