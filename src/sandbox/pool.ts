/**
 * Spreads jobs over child processes.
 *
 * 1. Children are started when there is a job and no idle child, up to `max`; beyond `warm` they end after a while idle.
 * 2. Jobs of one key have at most half of the children: others find one whatever those do.
 * 3. A child that has run many jobs, or stays large, is replaced.
 */
import type { Clock } from "../clock.ts";
import { EngramError } from "../errors.ts";
import { sandboxLimits } from "../limits.ts";
import {
  type Entry,
  type Job,
  type JobEnd,
  type Log,
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
   * when the pool closes; `resource_exhausted` when too many jobs wait.
   */
  run(job: Job, signal: AbortSignal): Promise<JobEnd>;
  /** Kills all children; resolves when they are gone. */
  close(): Promise<void>;
};

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

/** Opens a pool; no child is started before the first job. */
export const openPool = ({ command, warm, max, clock, log }: PoolOptions): Pool => {
  const workers = new Set<Worker>();
  const queue: Entry[] = [];
  const perKeyMax = Math.max(1, Math.ceil(max / 2));
  let isClosed = false;

  const workerFor = (key: string): Worker | null => {
    const idle = idleFor(workers, key);
    if (idle !== null || workers.size >= max) return idle;
    const worker = startWorker({ command, clock, log, onIdle, onGone });
    workers.add(worker);
    return worker;
  };

  const pump = (): void => {
    for (let i = 0; i < queue.length; i++) {
      const entry = queue[i];
      if (entry === undefined || busyWith(workers, entry.job.key) >= perKeyMax) continue;
      const worker = workerFor(entry.job.key);
      if (worker === null) return;
      queue.splice(i--, 1);
      giveJob(worker, entry);
    }
  };

  const onIdle = (worker: Worker): void => {
    if (isSpent(worker)) killWorker(worker, "retired");
    else if (workers.size > warm) retireLater(worker);
    pump();
  };

  const onGone = (worker: Worker): void => {
    workers.delete(worker);
    pump();
  };

  const enqueue = (job: Job, signal: AbortSignal): Promise<JobEnd> => {
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
    pump();
    return promise.finally(() => signal.removeEventListener("abort", onAbort));
  };

  return {
    run: async (job, signal) => {
      signal.throwIfAborted();
      if (isClosed) throw closedError();
      if (queue.length >= sandboxLimits.queuedCallsMax) {
        const message = "too many tool calls wait; try again later";
        throw new EngramError("resource_exhausted", message, { transient: true });
      }
      return enqueue(job, signal);
    },
    close: async () => {
      isClosed = true;
      for (const entry of queue.splice(0)) entry.reject(closedError());
      for (const worker of workers) killWorker(worker, "closed");
      await Promise.all([...workers].map(({ gone }) => gone));
    },
  };
};
