/**
 * Spreads jobs over child processes.
 *
 * 1. Children are started when there is a job and no idle child, up to `max`; beyond `warm` they end after a while idle.
 * 2. Jobs of one key have at most half of the children: others find one whatever those do.
 * 3. A child that has run many jobs, or stays large, is replaced.
 */
import type { Clock } from "../clock.ts";
import { EngramError, messageOf } from "../errors.ts";
import { sandboxLimits } from "../limits.ts";
import type { Log } from "../log.ts";
import {
  type Entry,
  type Job,
  type JobEnd,
  type Worker,
  closedError,
  giveJob,
  killWorker,
  residentBytes,
  retireLater,
  startWorker,
} from "./worker.ts";

export type Pool = {
  /**
   * Runs a job to its end. Throws the signal's reason, after the child is dead where the job had one; `unavailable`
   * when the pool closes or no child can be started; `resource_exhausted` when too many jobs wait.
   */
  run(job: Job, signal: AbortSignal): Promise<JobEnd>;
  load(): PoolLoad;
  /** Kills all children; resolves when they are gone. */
  close(): Promise<void>;
};

/** How many children there are, and how many jobs wait for one. */
export type PoolLoad = { readonly busy: number; readonly idle: number; readonly waiting: number };

type PoolOptions = {
  /** Starts a child; its process id's argument is added. */
  readonly command: readonly string[];
  /** Children that are kept, and the most there are at once. */
  readonly warm: number;
  readonly max: number;
  readonly clock: Clock;
  readonly log: Log;
};

const isIdle = (worker: Worker): boolean => worker.entry === null && worker.killedFor === null;

/** An idle child, best the one that had a job of this key last. */
const idleFor = (workers: ReadonlySet<Worker>, key: string): Worker | null => {
  let found: Worker | null = null;
  for (const worker of workers) {
    if (!isIdle(worker)) continue;
    if (worker.lastKey === key) return worker;
    found = worker;
  }
  return found;
};

const busyWith = (workers: ReadonlySet<Worker>, key: string): number => {
  let count = 0;
  for (const { entry } of workers) if (entry?.job.key === key) count++;
  return count;
};

/** Whether a child has to make room for a new one (3). */
const isSpent = (worker: Worker): boolean =>
  worker.jobs >= sandboxLimits.callsPerChildMax ||
  residentBytes(worker) > sandboxLimits.childMemoryBytesMax;

/** Puts a job at the queue's end; an abort takes it out as long as it is in there. */
const joinQueue = (queue: Entry[], job: Job, signal: AbortSignal): Promise<JobEnd> => {
  const { promise, resolve, reject } = Promise.withResolvers<JobEnd>();
  const entry: Entry = { job, signal, resolve, reject };
  const onAbort = (): void => {
    const at = queue.indexOf(entry);
    if (at < 0) return;
    queue.splice(at, 1);
    reject(signal.reason);
  };
  signal.addEventListener("abort", onAbort, { once: true });
  queue.push(entry);
  return promise.finally(() => signal.removeEventListener("abort", onAbort));
};

type Workers = {
  /** A child for a job of this key; null: it has to wait. Throws where there is none and none can be started. */
  take(key: string): Worker | null;
  count(): Omit<PoolLoad, "waiting">;
  close(): Promise<void>;
};

/** The children. `onFree` is called when one may be had that could not be before. */
const openWorkers = (options: PoolOptions, onFree: () => void): Workers => {
  const { command, warm, max, clock, log } = options;
  const all = new Set<Worker>();
  const perKeyMax = Math.max(1, Math.ceil(max / 2));

  const onIdle = (worker: Worker): void => {
    if (isSpent(worker)) killWorker(worker, "retired");
    else if (all.size > warm) retireLater(worker, () => all.size > warm);
    onFree();
  };

  const onGone = (worker: Worker): void => {
    all.delete(worker);
    onFree();
  };

  const start = (): Worker | null => {
    try {
      const worker = startWorker({ command, clock, log, onIdle, onGone });
      all.add(worker);
      return worker;
    } catch (error) {
      if (all.size > 0) return null;
      const message = `a sandbox process cannot be started: ${messageOf(error)}`;
      throw new EngramError("unavailable", message, { cause: error, transient: true });
    }
  };

  return {
    take: (key) => {
      if (busyWith(all, key) >= perKeyMax) return null;
      return idleFor(all, key) ?? (all.size < max ? start() : null);
    },
    count: () => {
      const idle = [...all].filter(isIdle).length;
      return { busy: all.size - idle, idle };
    },
    close: async () => {
      for (const worker of all) killWorker(worker, "closed");
      await Promise.all([...all].map(({ gone }) => gone));
    },
  };
};

/** Opens a pool; no child is started before the first job. */
export const openPool = (options: PoolOptions): Pool => {
  const queue: Entry[] = [];
  let isClosed = false;

  /** Starts what can be; a job that has to wait does not hold up those of other keys. */
  const pump = (): void => {
    for (const entry of queue.slice()) {
      let worker: Worker | null = null;
      try {
        worker = workers.take(entry.job.key);
      } catch (error) {
        entry.reject(error);
        queue.splice(queue.indexOf(entry), 1);
      }
      if (worker === null) continue;
      queue.splice(queue.indexOf(entry), 1);
      giveJob(worker, entry);
    }
  };
  const workers = openWorkers(options, pump);

  return {
    run: async (job, signal) => {
      signal.throwIfAborted();
      if (isClosed) throw closedError();
      if (queue.length >= sandboxLimits.queuedCallsMax) {
        const message = "too many tool calls wait; try again later";
        throw new EngramError("resource_exhausted", message, { transient: true });
      }
      const end = joinQueue(queue, job, signal);
      pump();
      return end;
    },
    load: () => ({ ...workers.count(), waiting: queue.length }),
    close: async () => {
      isClosed = true;
      for (const entry of queue.splice(0)) entry.reject(closedError());
      await workers.close();
    },
  };
};
