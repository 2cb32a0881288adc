import type { Client } from "@connectrpc/connect";
import { messageOf } from "../../errors.ts";
import type { AgentService } from "../../gen/engram/api/v1/agent_pb.ts";
import { isAway } from "../client.ts";
import { type Connection, makeConnection } from "../demo/client.ts";
import { openExchange } from "./exchange.ts";
import type { Random } from "./random.ts";
import type { Outgoing, Subject } from "./subject.ts";
import type { Audience, Host, Life } from "./world.ts";
import { tortureLimits } from "./torture-limits.ts";

export type AgentClient = Client<typeof AgentService>;

export type ClientCounts = {
  acknowledged: number;
  reconnects: number;
  retries: number;
  drops: number;
  /** Streams left because their engine kept silent. */
  silences: number;
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
  /** Where it finds its engines. */
  readonly host: Host;
  close(): void;
};

type ClientParts = {
  readonly name: string;
  readonly host: Host;
  readonly audience: Audience;
  readonly random: Random;
  readonly counts: ClientCounts;
};

/** How many messages a client hears at most before it breaks a stream off. */
const droppedMessagesMax = 60;

type Connected = Connection & { readonly life: Life };

/** A client that is not connected yet. */
export function makeTortureClient(parts: ClientParts): TortureClient {
  const { name, host, audience } = parts;
  const connector = makeConnector(parts);
  return {
    host,
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
      const leave = audience.enter(name);
      try {
        while (!(await attemptStream(parts, connector, { subject, outgoing })));
      } finally {
        leave();
      }
    },
    close: connector.close,
  };
}

function makeConnector({ host, counts }: ClientParts) {
  const connections = new Map<Life, Connected>();
  let newest: Life | null = null;

  const connectTo = (life: Life): Connected => {
    for (const { drop, life: other } of connections.values()) if (ended.has(other)) drop();
    for (const other of connections.keys()) if (ended.has(other)) connections.delete(other);
    const connected = { ...makeConnection(life.url), life };
    connections.set(life, connected);
    void life.over.then(() => ended.add(life));
    return connected;
  };
  const ended = new WeakSet<Life>();
  return {
    connect: async (): Promise<Connected> => {
      const life = await host.now();
      if (newest !== null && newest !== life) counts.reconnects++;
      newest = life;
      return connections.get(life) ?? connectTo(life);
    },
    /** Waits for another engine, or a little. Fails with what is no sign of a broken connection. */
    tryAgain: async (life: Life, error: unknown): Promise<void> => {
      if (!isAway(error)) throw error;
      counts.retries++;
      host.leave(life);
      await Promise.race([life.over, Bun.sleep(host.retryMs)]);
    },
    close: (): void => {
      for (const { drop } of connections.values()) drop();
    },
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
  { name, audience, host, random, counts }: ClientParts,
  { client, drop, life }: Connected,
  { subject, outgoing }: Conversation,
): Promise<boolean> {
  const exchange = openExchange(subject, outgoing, life.name);
  const leaveAfter = random.chance(host.dropShare)
    ? random.between(1, droppedMessagesMax)
    : Infinity;
  const controller = new AbortController();
  const silence = startSilence(host.silenceMs, () => {
    subject.note(`${life.name} keeps silent`);
    counts.silences++;
    controller.abort();
  });
  let heard = 0;
  try {
    for await (const message of client.chat(exchange.messages, { signal: controller.signal })) {
      silence.isBroken();
      const { isNews, ackedAt } = subject.hear(message);
      if (isNews) audience.news(name, message.payload.case !== "status");
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
    silence.end();
    exchange.close();
  }
}

/** Calls `tooLong` where nothing was heard for `silenceMs`; null: never. */
function startSilence(
  silenceMs: number | null,
  tooLong: () => void,
): { isBroken(): void; end(): void } {
  if (silenceMs === null) return { isBroken: () => {}, end: () => {} };
  const timer = setTimeout(tooLong, silenceMs);
  return { isBroken: () => void timer.refresh(), end: () => clearTimeout(timer) };
}
