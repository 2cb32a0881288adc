import { type Client, Code, ConnectError } from "@connectrpc/connect";
import { messageOf } from "../../errors.ts";
import type { AgentService } from "../../gen/engram/api/v1/agent_pb.ts";
import { tortureLimits } from "../../limits.ts";
import { type Connection, makeConnection } from "../demo-client.ts";
import type { Life, Lives } from "./engine.ts";
import { openExchange } from "./exchange.ts";
import type { Random } from "./random.ts";
import type { Recovery } from "./recovery.ts";
import type { Outgoing, Subject } from "./subject.ts";

export type AgentClient = Client<typeof AgentService>;

export type ClientCounts = {
  acknowledged: number;
  reconnects: number;
  retries: number;
  drops: number;
};

/** One client: it tries every call again until it is answered, whatever becomes of the engine meanwhile. */
export type TortureClient = {
  /** Fails with what the engine itself refuses the call with. */
  call<T>(attempt: (client: AgentClient, options: { timeoutMs: number }) => Promise<T>): Promise<T>;
  /**
   * Has messages recorded, in their order, over as many streams as it takes, and hears what the agent sends until it
   * rests. Fails with what the engine itself refuses one with.
   */
  converse(subject: Subject, outgoing: readonly Outgoing[]): Promise<void>;
  close(): void;
};

type ClientParts = {
  readonly name: string;
  readonly lives: Lives;
  readonly recovery: Recovery;
  readonly random: Random;
  readonly counts: ClientCounts;
};

/** Share of streams that the client itself breaks off, and how many messages it hears at most before. */
const dropped = { share: 0.08, messagesMax: 60 } as const;

type Connected = Connection & { readonly life: Life };

/** A client that is not connected yet. */
export function makeTortureClient(parts: ClientParts): TortureClient {
  const { name, recovery } = parts;
  const connector = makeConnector(parts);
  return {
    call: async (attempt) => {
      for (;;) {
        const { client, life } = await connector.connect();
        try {
          return await attempt(client, { timeoutMs: tortureLimits.callMs });
        } catch (error) {
          await connector.tryAgain(life, error);
        }
      }
    },
    converse: async (subject, outgoing) => {
      const leave = recovery.enter(name);
      try {
        while (!(await attemptStream(parts, connector, { subject, outgoing })));
      } finally {
        leave();
      }
    },
    close: connector.close,
  };
}

function makeConnector({ lives, counts }: ClientParts) {
  let connected: Connected | null = null;
  return {
    connect: async (): Promise<Connected> => {
      const life = await lives.now();
      if (connected?.life === life) return connected;
      if (connected !== null) counts.reconnects++;
      connected?.drop();
      connected = { ...makeConnection(life.url), life };
      return connected;
    },
    /** Waits for another engine, or a little. Fails with what is no sign of a broken connection. */
    tryAgain: async (life: Life, error: unknown): Promise<void> => {
      if (!isAway(error)) throw error;
      counts.retries++;
      await Promise.race([life.over, Bun.sleep(tortureLimits.retryMs)]);
    },
    close: (): void => connected?.drop(),
  };
}

type Conversation = { readonly subject: Subject; readonly outgoing: readonly Outgoing[] };

async function attemptStream(
  parts: ClientParts,
  connector: ReturnType<typeof makeConnector>,
  conversation: Conversation,
): Promise<boolean> {
  const connected = await connector.connect();
  try {
    return await stream(parts, connected, conversation);
  } catch (error) {
    conversation.subject.note(`the stream broke: ${messageOf(error)}`);
    await connector.tryAgain(connected.life, error);
    return false;
  }
}

/** One stream. True when all is recorded and the agent rests, false where the client itself left. */
async function stream(
  { name, recovery, random, counts }: ClientParts,
  { client, drop, life }: Connected,
  { subject, outgoing }: Conversation,
): Promise<boolean> {
  const exchange = openExchange(subject, outgoing, `engine ${life.number}`);
  const leaveAfter = random.chance(dropped.share)
    ? random.between(1, dropped.messagesMax)
    : Infinity;
  const controller = new AbortController();
  let heard = 0;
  try {
    for await (const message of client.chat(exchange.messages, { signal: controller.signal })) {
      const { isNews, ackedAt } = subject.hear(message);
      if (isNews) recovery.news(name);
      if (ackedAt !== null && exchange.acknowledge(ackedAt, message)) counts.acknowledged++;
      exchange.sendDue(message.payload.case === "heartbeat");
      if (++heard !== leaveAfter) continue;
      counts.drops++;
      if (random.chance(0.5)) drop();
      else controller.abort();
    }
    exchange.end();
    return true;
  } catch (error) {
    if (heard < leaveAfter) throw error;
    subject.note("left the stream");
    return false;
  } finally {
    exchange.close();
  }
}

/** The connection broke, or the engine is stopping; what else it refuses with a status is an answer. */
function isAway(error: unknown): boolean {
  if (!(error instanceof ConnectError)) return false;
  if (error.code === Code.Unavailable) return true;
  const broken = [Code.Canceled, Code.Aborted, Code.Internal, Code.Unknown];
  return broken.includes(error.code) && !error.metadata.has("grpc-status");
}
