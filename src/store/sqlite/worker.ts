import { EngramError } from "../../errors.ts";
import type { Committed } from "./commit.ts";
import type { FromThread, ToThread } from "./thread.ts";
import type { Write } from "./writes.ts";

/** The thread that writes to one file, seen from outside. */
export interface WriterThread {
  /** Commits a batch, one at a time. Rejects with `unavailable` where the thread ends before it has answered. */
  commit(writes: readonly Write[]): Promise<Committed>;
  /** It takes nothing any more; a new one can. */
  hasEnded(): boolean;
  /** Resolves when the file is closed. */
  close(): Promise<void>;
}

/** A compiled binary has the module where its folder in src/ says, whichever chunk asks for it. */
const moduleUrl = import.meta.url.includes("/$bunfs/")
  ? new URL("./store/sqlite/thread.js", import.meta.url)
  : new URL("./thread.ts", import.meta.url);

const gone = (): EngramError =>
  new EngramError(
    "unavailable",
    "the thread that writes the store has ended, and it is not known whether this was written; repeat it with the same message_id or request_id",
    { transient: true },
  );

/** Starts the thread for the database at `path`. */
export function startThread(path: string): WriterThread {
  const worker = new Worker(moduleUrl);
  let ended = false;
  let waiting: PromiseWithResolvers<Committed> | null = null;
  const closed = Promise.withResolvers<void>();
  const send = (message: ToThread): void => worker.postMessage(message, []);
  const end = (): void => {
    ended = true;
    waiting?.reject(gone());
    waiting = null;
    closed.resolve();
  };
  worker.addEventListener("message", ({ data }: MessageEvent<FromThread>) => {
    if (data === null) return end();
    waiting?.resolve(data);
    waiting = null;
  });
  worker.addEventListener("error", end);
  worker.addEventListener("close", end);
  send({ path });
  return {
    commit: (writes) => {
      if (ended) return Promise.reject(gone());
      waiting = Promise.withResolvers();
      send({ writes });
      return waiting.promise;
    },
    hasEnded: () => ended,
    close: async () => {
      if (!ended) send(null);
      await closed.promise;
    },
  };
}
