import type { HandlerContext } from "@connectrpc/connect";
import type { ReplayRequest, ServerMessage } from "../gen/engram/api/v1/agent_pb.ts";
import type { StreamParts } from "./chat.ts";
import { makeObserved } from "./observed.ts";
import { makeSilence } from "./silence.ts";
import { sequenceOf } from "./spec.ts";
import { heartbeatOf, isOutput, serverMessageOf } from "./wire.ts";

/** Replay: the log again from a place on, to its head or on as it grows. */
export async function* replay(
  { engine, clock, heartbeatMs }: StreamParts,
  request: ReplayRequest,
  { signal }: HandlerContext,
): AsyncGenerator<ServerMessage> {
  const { agentId, includeHistory, follow } = request;
  const after = Math.max(0, sequenceOf("from_sequence", request.fromSequence) - 1);
  const row = await engine.get(agentId);
  const { sequence: head } = row;
  const observed = makeObserved(row);
  const follower = await engine.follow(agentId, after, false);
  signal.addEventListener("abort", follower.wake, { once: true });
  const silence = makeSilence(clock, heartbeatMs);
  let cursor = Math.min(after, head);
  try {
    for (;;) {
      signal.throwIfAborted();
      for (const item of await follower.take()) {
        if (item.kind !== "event") continue;
        cursor = item.logged.sequence;
        if (!follow && cursor > head) return;
        const isObserved = observed(item.logged);
        if (!includeHistory && !isOutput(item.logged.event, isObserved)) continue;
        yield serverMessageOf(agentId, item.logged, isObserved);
        silence.broken();
      }
      if (!follow && cursor >= head) return;
      await follower.wait(silence.leftMs());
      if (silence.leftMs() > 0) continue;
      yield heartbeatOf(agentId, cursor, clock.nowMs());
      silence.broken();
    }
  } finally {
    follower.close();
  }
}
