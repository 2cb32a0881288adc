import { type Client, ConnectError } from "@connectrpc/connect";
import { messageOf } from "../../errors.ts";
import type {
  Agent,
  AgentService,
  ServerMessage,
  ToolCall,
} from "../../gen/engram/api/v1/agent_pb.ts";
import { makeOutbox, type Payload, type Sending } from "./outbox.ts";
import { clientLimits } from "../cli-limits.ts";
import { isAway, nextDelayMs } from "../client.ts";
import { waitingCalls } from "../waiting-calls.ts";

/** What a chat is told, in its order. */
export type Heard =
  /** A stream begins, which sends an answer being written from its beginning. */
  | { readonly kind: "attached" }
  | { readonly kind: "message"; readonly message: ServerMessage }
  /** Nothing happens before a client acts; `waiting`: the calls to be confirmed. */
  | { readonly kind: "rests"; readonly agent: Agent; readonly waiting: readonly ToolCall[] }
  /** The engine does not take what was sent last. */
  | { readonly kind: "refused"; readonly reason: string }
  /** The engine is gone, since so long; it is tried again. */
  | { readonly kind: "away"; readonly reason: string; readonly awayMs: number }
  | { readonly kind: "back" };

/** One attachment; it is left by an abort. */
type Stream = { readonly sending: Sending; readonly controller: AbortController };

/** A conversation that outlives its streams. */
export type ChatStream = {
  /** Has it recorded, once however often the connection breaks; an agent that works takes it in at its next step. */
  send(payload: Payload): void;
  /** Whether every text that was said is known to be recorded. */
  isAllRecorded(): boolean;
  /** Goes on for ever. Fails where the engine refuses to attach. */
  hear(): AsyncGenerator<Heard>;
};

/** Attaches to an agent behind the event `after`. */
export function makeChatStream(
  client: Client<typeof AgentService>,
  agentId: string,
  after: bigint,
): ChatStream {
  const outbox = makeOutbox(agentId, after);
  const absence = makeAbsence();
  let isResting = false;
  let stream: Stream | null = null;

  const open = (): Stream => {
    const opened = { sending: outbox.attach(), controller: new AbortController() };
    // While the agent rests the stream is kept open, for what others may do.
    if (!isResting || !outbox.isEmpty()) opened.sending.finish();
    stream = opened;
    return opened;
  };
  async function* listen({ sending, controller }: Stream): AsyncGenerator<Heard> {
    yield { kind: "attached" };
    for await (const message of client.chat(sending.messages, { signal: controller.signal })) {
      if (!outbox.take(message)) continue;
      isResting = false;
      if (sending.isOpen()) sending.finish();
      yield { kind: "message", message };
    }
    sending.forget();
    stream = null;
    const agent = await client.getAgent({ agentId });
    const isAsking = agent.status === "waiting_for_confirmation";
    const waiting = isAsking ? await waitingCalls(client, agentId) : [];
    isResting = true;
    yield { kind: "rests", agent, waiting };
  }
  /** What a stream's failure means; null: nothing. Fails where it ends the chat. */
  const told = (error: unknown, on: Stream | null): Heard | null => {
    if (on?.controller.signal.aborted === true) return null;
    if (isAway(error)) return { kind: "away", ...absence.begin(error) };
    if (!(error instanceof ConnectError) || on === null || on.sending.count() === 0) throw error;
    on.sending.forget();
    isResting = false;
    return { kind: "refused", reason: error.rawMessage };
  };

  return {
    send: (payload) => {
      outbox.add(payload);
      // A stream that is half-closed is left for another.
      if (stream?.sending.isOpen() === true) stream.sending.finish();
      else stream?.controller.abort();
    },
    isAllRecorded: outbox.isRecorded,
    async *hear() {
      for (;;) {
        try {
          if (absence.isOver()) yield* listen(open());
          else yield await absence.end(() => client.getAgent({ agentId }));
        } catch (error) {
          const heard = told(error, stream);
          stream = null;
          if (heard !== null) yield heard;
          if (heard?.kind === "away") await absence.wait();
        }
      }
    },
  };
}

/** How long the engine has been gone. */
function makeAbsence() {
  let sinceMs: number | null = null;
  let delayMs: number = clientLimits.retryMsFirst;
  return {
    isOver: (): boolean => sinceMs === null,
    begin: (error: unknown): { readonly reason: string; readonly awayMs: number } => {
      sinceMs ??= performance.now();
      const reason = error instanceof ConnectError ? error.rawMessage : messageOf(error);
      return { reason, awayMs: performance.now() - sinceMs };
    },
    wait: async (): Promise<void> => {
      await Bun.sleep(delayMs);
      delayMs = nextDelayMs(delayMs);
    },
    end: async (isThere: () => Promise<unknown>): Promise<Heard> => {
      await isThere();
      sinceMs = null;
      delayMs = clientLimits.retryMsFirst;
      return { kind: "back" };
    },
  };
}
