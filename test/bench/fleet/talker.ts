import { create } from "@bufbuild/protobuf";
import { makeMessageQueue } from "../../../src/cli/message-queue.ts";
import {
  ClientMessageSchema,
  type ServerMessage,
} from "../../../src/gen/engram/api/v1/agent_pb.ts";
import type { EngineProcess } from "../../support/engine-process.ts";

/** A client that talks with one agent over one stream of Chat. */
export type Talker = {
  readonly agentId: string;
  /** Says something and reads to the answer's end; ms from saying it to the answer's first piece. */
  turn(): Promise<number>;
  /** Resolves with the time of the next piece of an answer. */
  piece(): Promise<number>;
  close(): Promise<void>;
};

/** Attaches to an agent; several talkers at one engine share its client's connection. */
export function openTalker({ client }: EngineProcess, agentId: string): Talker {
  const outgoing = makeMessageQueue();
  const leaving = new AbortController();
  const say = (content: string | null): void =>
    outgoing.push(
      create(ClientMessageSchema, {
        agentId,
        ...(content !== null && { payload: { case: "userInput", value: { content } } }),
      }),
    );
  say(null);
  const stream = client.chat(outgoing.read(), { signal: leaving.signal })[Symbol.asyncIterator]();
  const next = async (): Promise<ServerMessage["payload"]> => {
    const result = await stream.next();
    if (result.done === true) throw new Error(`the stream of ${agentId} has ended`);
    if (result.value.payload.case === "error") throw new Error(result.value.payload.value.message);
    return result.value.payload;
  };
  return {
    agentId,
    turn: async () => {
      const startMs = performance.now();
      let firstMs: number | null = null;
      say("Say ok.");
      for (;;) {
        const payload = await next();
        if (payload.case !== "textDelta" && payload.case !== "text") continue;
        firstMs ??= performance.now() - startMs;
        if (payload.case === "text") return firstMs;
      }
    },
    piece: async () => {
      while ((await next()).case !== "textDelta");
      return performance.now();
    },
    close: async () => {
      outgoing.close();
      leaving.abort();
      await stream.return?.(undefined).catch(() => {});
    },
  };
}

/** Makes an agent that waits for input by one engine, and attaches to it `at` another, or the same. */
export async function newTalker(
  by: EngineProcess,
  model: string,
  at: EngineProcess = by,
): Promise<Talker> {
  const goal = "Answer shortly.";
  const { agentId } = await by.client.createAgent({
    goal,
    model,
    config: { waitForInput: true, noTools: true },
  });
  return openTalker(at, agentId);
}
