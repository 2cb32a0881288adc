import { createClient, ErrorReply } from "redis";
import type { Clock } from "../../clock.ts";
import { messageOf } from "../../errors.ts";
import { redisLimits } from "../../limits.ts";
import { nameOf, type RedisAddress, type RedisPlace } from "./address.ts";

export type Command = readonly [string, ...string[]];

/** Nobody can say whether what was sent has been done, unless it is known that it was not sent. */
export class LineDown extends Error {
  override readonly name = "LineDown";
  readonly sent: boolean;

  constructor(message: string, sent: boolean, cause?: unknown) {
    super(message, { cause });
    this.sent = sent;
  }
}

/** One connection, for its life. */
export type Connection = {
  /** Fails with what Redis answers, or LineDown: at once without a connection, at the latest after `replyMs`. */
  send(command: Command): Promise<unknown>;
  subscribe(channel: string, sharded: boolean, heard: (message: string) => void): Promise<void>;
  /** Gives it up for a new one. */
  end(cause: Error): void;
};

/** A connection to one server, made again whenever it is lost. */
export type Line = {
  readonly address: RedisAddress;
  /** null: down. Another object after each reconnection. */
  connection(): Connection | null;
  /** Why it is down. */
  fault(): LineDown;
  close(): void;
};

export type Access = Pick<RedisPlace, "username" | "password" | "database" | "tls"> & {
  /** PEM of the authority that signs the servers' certificates; null: the system's. */
  readonly ca: string | null;
};

type LineParts = {
  readonly access: Access;
  readonly clock: Clock;
  /** Makes a new connection fit for use, or fails: then it is given up and tried again later. */
  readonly prepare: (connection: Connection) => Promise<void>;
  readonly changed: () => void;
};

type Client = ReturnType<typeof clientFor>;

/** The client's own waiting and retrying is off: a command that was cut off must never be sent again unasked. */
const clientFor = ({ host, port }: RedisAddress, access: Access) =>
  createClient({
    RESP: 2,
    database: access.database,
    disableClientInfo: true,
    disableOfflineQueue: true,
    maintNotifications: "disabled",
    commandOptions: { timeout: 0 },
    ...(access.username === null ? {} : { username: access.username }),
    ...(access.password === null ? {} : { password: access.password }),
    socket: {
      host,
      port,
      connectTimeout: redisLimits.connectMs,
      reconnectStrategy: false,
      ...(access.tls ? { tls: true, ...(access.ca === null ? {} : { ca: access.ca }) } : {}),
    },
  });

export function openLine(address: RedisAddress, parts: LineParts): Line {
  const { access, clock, prepare, changed } = parts;
  let closed = false;
  let current: Connection | null = null;
  let drop = (): void => {};
  let failures = 0;
  let fault: unknown = new Error("not connected yet");
  let cancelRetry = (): void => {};

  const lost = (cause: unknown): void => {
    current = null;
    if (closed) return;
    fault = cause;
    const { reconnectMsFirst, reconnectMsMax } = redisLimits;
    const delayMs = Math.min(reconnectMsFirst * 2 ** failures, reconnectMsMax);
    failures = Math.min(failures + 1, 16);
    // With some chance, so that many engines do not come back in step.
    cancelRetry = clock.after(delayMs * (0.75 + Math.random() / 2), () => void connect());
    changed();
  };
  const connect = async (): Promise<void> => {
    const client = clientFor(address, access);
    let over = false;
    const end = (cause: unknown): void => {
      if (over) return;
      over = true;
      client.destroy();
      lost(cause);
    };
    drop = () => end(new Error("closed"));
    client.on("error", end);
    const connection = connectionOn(client, clock, end);
    const cancel = clock.after(redisLimits.connectMs, () => end(new Error("connecting timed out")));
    try {
      await client.connect();
      await prepare(connection);
      if (over || closed) return;
      failures = 0;
      current = connection;
      changed();
    } catch (error) {
      end(error);
    } finally {
      cancel();
    }
  };

  void connect();
  return {
    address,
    connection: () => current,
    fault: () => new LineDown(`${nameOf(address)}: ${saidBy(fault)}`, false, fault),
    close: () => {
      closed = true;
      cancelRetry();
      drop();
    },
  };
}

/** The client's errors of several addresses have no message of their own. */
const saidBy = (error: unknown): string =>
  error instanceof AggregateError ? error.errors.map(messageOf).join(", ") : messageOf(error);

/**
 * Calls `late` where nobody cancels it in time. An engine that was halted finds the end of its wait and the answer there
 * at once, and may see the end first: then it looks once more.
 */
function awaitReply(clock: Clock, late: () => void): () => void {
  let cancel = (): void => {};
  const wait = (forMs: number): void => {
    const dueMs = clock.monotonicMs() + forMs;
    cancel = clock.after(forMs, () => {
      if (clock.monotonicMs() - dueMs > redisLimits.stallMs) wait(redisLimits.stallMs);
      else late();
    });
  };
  wait(redisLimits.replyMs);
  return () => cancel();
}

function connectionOn(client: Client, clock: Clock, end: (cause: unknown) => void): Connection {
  let open = 0;
  const guarded = async <T>(run: () => Promise<T>): Promise<T> => {
    if (!client.isReady) throw new LineDown("the connection is down", false);
    if (open >= redisLimits.commandsMax)
      throw new LineDown("too many commands wait for an answer", false);
    open++;
    // A server that keeps silent has to be taken for gone, with all that was asked of it.
    const cancel = awaitReply(clock, () =>
      end(new Error(`no answer within ${redisLimits.replyMs / 1000} s`)),
    );
    try {
      return await run();
    } catch (error) {
      if (error instanceof ErrorReply) throw error;
      throw new LineDown(messageOf(error) || "the connection was lost", true, error);
    } finally {
      cancel();
      open--;
    }
  };
  return {
    send: (command) => guarded(() => client.sendCommand<unknown>([...command])),
    subscribe: (channel, sharded, heard) =>
      guarded(() =>
        sharded ? client.sSubscribe(channel, heard) : client.subscribe(channel, heard),
      ),
    end,
  };
}
