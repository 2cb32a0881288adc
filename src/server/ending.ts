import type { Server as NetServer } from "node:net";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Clock } from "../clock.ts";
import { serverLimits } from "../limits.ts";
import type { Connections } from "./connections.ts";
import type { HttpServers } from "./http-servers.ts";

type Parts = HttpServers & { readonly sockets: NetServer; readonly connections: Connections };

/** How a port ends. Both may be called in any order, and again. */
export type Ending = {
  /**
   * Refuses what is new, tells clients to go elsewhere and waits for the calls that run; shortly before the deadline
   * their signals abort with UNAVAILABLE, at the deadline what is left is destroyed.
   */
  readonly drain: (deadlineMs: number) => Promise<void>;
  /** Destroys every connection at once. */
  readonly close: () => Promise<void>;
};

const wait = async (clock: Clock, delayMs: number, done: Promise<void>): Promise<void> =>
  new Promise((resolve) => {
    const cancel = clock.after(Math.max(0, delayMs), resolve);
    void done.then(cancel).then(resolve);
  });

export const makeEnding = (
  { sockets, http1, http2, connections }: Parts,
  clock: Clock,
  shutdown: AbortController,
): Ending => {
  const closed = new Promise<void>((resolve) => sockets.once("close", () => resolve()));
  let draining: Promise<void> | null = null;
  const close = async (): Promise<void> => {
    sockets.close();
    const empty = connections.goodbye();
    connections.destroyAll();
    http1.close();
    http2.close();
    // The port may be closed before its last sockets are.
    await Promise.all([closed, empty]);
  };
  const drain = async (deadlineMs: number): Promise<void> => {
    sockets.close();
    const empty = connections.goodbye();
    const graceMs = Math.min(serverLimits.drainAbortMs, deadlineMs / 2);
    let left = true;
    void empty.then(() => (left = false));
    await wait(clock, deadlineMs - graceMs, empty);
    if (left) {
      const message = "the server is stopping: connect again and go on after the last sequence_id";
      shutdown.abort(new ConnectError(message, Code.Unavailable));
      await wait(clock, graceMs, empty);
    }
    await close();
  };
  return {
    close,
    drain: async (deadlineMs) => (draining ??= drain(deadlineMs)),
  };
};
