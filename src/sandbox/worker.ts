/**
 * A child process with at most one job. A job that takes too long, takes too much memory or is aborted ends with the
 * child, by SIGKILL; a child that ends without an answer has crashed. It never gets a second job before the first is
 * answered.
 */
import { readFileSync } from "node:fs";
import type { JsonObject } from "../agent/json.ts";
import type { Clock } from "../clock.ts";
import { EngramError } from "../errors.ts";
import { sandboxLimits } from "../limits.ts";
import type { Log } from "../log.ts";
import { type Child, type ChildEnd, spawnChild } from "./child-process.ts";
import { type Frame, textOf } from "./frame.ts";

export type Job = {
  readonly header: JsonObject;
  /** Jobs of the same key do well in the same child. */
  readonly key: string;
  /** Until the frame `started` or the answer; and from `started` on. */
  readonly loadMs: number;
  readonly runMs: number;
  /** Resident memory at which the child is killed. */
  readonly memoryBytesMax: number;
};

export type JobEnd = { readonly durationMs: number } & (
  | { readonly kind: "answered"; readonly frame: Frame }
  | { readonly kind: "tooSlow"; readonly hasStarted: boolean }
  | { readonly kind: "tooLarge" }
  | { readonly kind: "crashed"; readonly end: ChildEnd }
);

/** A job and whoever waits for it. */
export type Entry = {
  readonly job: Job;
  readonly signal: AbortSignal;
  readonly resolve: (end: JobEnd) => void;
  readonly reject: (reason: unknown) => void;
};

export type WorkerOptions = {
  readonly command: readonly string[];
  readonly clock: Clock;
  readonly log: Log;
  readonly onIdle: (worker: Worker) => void;
  /** Its child is dead, and its job ended. */
  readonly onGone: (worker: Worker) => void;
};

type KilledFor = "tooSlow" | "tooLarge" | "aborted" | "closed" | "retired";

export type Worker = {
  readonly options: WorkerOptions;
  readonly child: Child;
  readonly gone: Promise<void>;
  entry: Entry | null;
  /** Why the child was killed; null: it was not. */
  killedFor: KilledFor | null;
  lastKey: string | null;
  jobs: number;
  startedAtMs: number;
  hasStarted: boolean;
  /** Takes back the timers and listeners that are armed. */
  disarm: () => void;
};

/** Resident memory in bytes; 0: it cannot be found out (not Linux, or the child is gone). */
export const residentBytes = (worker: Worker): number => {
  if (process.platform !== "linux") return 0;
  try {
    const status = readFileSync(`/proc/${worker.child.pid}/status`, "latin1");
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
};

export const closedError = (): EngramError =>
  new EngramError("unavailable", "the engine is shutting down; try again later", {
    transient: true,
  });

/** Kills the child; the first reason counts. `gone` follows. */
export const killWorker = (worker: Worker, why: KilledFor): void => {
  worker.killedFor ??= why;
  worker.child.kill();
};

/** Kills the child after a while without a job, if it is still one too many then. */
export const retireLater = (worker: Worker, isSurplus: () => boolean): void => {
  worker.disarm();
  worker.disarm = worker.options.clock.after(sandboxLimits.childIdleMs, () => {
    if (isSurplus()) killWorker(worker, "retired");
  });
};

const durationOf = (worker: Worker): number =>
  worker.options.clock.monotonicMs() - worker.startedAtMs;

const watchMemory = (worker: Worker, bytesMax: number): (() => void) => {
  const { clock } = worker.options;
  let cancel = (): void => undefined;
  const checkLater = (): void => {
    cancel = clock.after(sandboxLimits.memoryCheckMs, () => {
      if (residentBytes(worker) > bytesMax) killWorker(worker, "tooLarge");
      else checkLater();
    });
  };
  checkLater();
  return () => cancel();
};

/** Kills the child after `ms`, when it grows too large, or when the job is aborted. */
const arm = (worker: Worker, { job, signal }: Entry, ms: number): void => {
  worker.disarm();
  const cancelDeadline = worker.options.clock.after(ms, () => killWorker(worker, "tooSlow"));
  const cancelWatch = watchMemory(worker, job.memoryBytesMax);
  const onAbort = (): void => killWorker(worker, "aborted");
  signal.addEventListener("abort", onAbort, { once: true });
  worker.disarm = () => {
    cancelDeadline();
    cancelWatch();
    signal.removeEventListener("abort", onAbort);
  };
};

/** Gives an idle worker its next job. */
export const giveJob = (worker: Worker, entry: Entry): void => {
  worker.entry = entry;
  worker.startedAtMs = worker.options.clock.monotonicMs();
  worker.hasStarted = false;
  worker.lastKey = entry.job.key;
  arm(worker, entry, entry.job.loadMs);
  worker.child.send(entry.job.header);
};

const onFrame = (worker: Worker, frame: Frame): void => {
  const { entry } = worker;
  if (entry === null) throw new Error("an answer came without a question");
  // Once it is killed for something, that is what happened.
  if (worker.killedFor !== null) return;
  if (textOf(frame.header, "kind") === "started") {
    worker.hasStarted = true;
    arm(worker, entry, entry.job.runMs + sandboxLimits.killGraceMs);
    return;
  }
  worker.disarm();
  worker.entry = null;
  worker.jobs++;
  entry.resolve({ kind: "answered", frame, durationMs: durationOf(worker) });
  worker.options.onIdle(worker);
};

const endEntry = (worker: Worker, entry: Entry, end: ChildEnd): void => {
  const durationMs = durationOf(worker);
  switch (worker.killedFor) {
    case "aborted":
      return entry.reject(entry.signal.reason);
    case "closed":
    case "retired":
      return entry.reject(closedError());
    case "tooSlow":
      return entry.resolve({ kind: "tooSlow", hasStarted: worker.hasStarted, durationMs });
    case "tooLarge":
      return entry.resolve({ kind: "tooLarge", durationMs });
    case null:
      return entry.resolve({ kind: "crashed", end, durationMs });
  }
};

const onEnded = (worker: Worker, end: ChildEnd): void => {
  worker.disarm();
  if (worker.killedFor === null) {
    worker.options.log("warn", "a sandbox child ended by itself", {
      pid: worker.child.pid,
      ...end,
    });
  }
  const { entry } = worker;
  worker.entry = null;
  if (entry !== null) endEntry(worker, entry, end);
  worker.options.onGone(worker);
};

/** Starts a child, idle. It is gone after `killWorker` or by its own fault. */
export const startWorker = (options: WorkerOptions): Worker => {
  const child = spawnChild(options.command, (frame) => onFrame(worker, frame));
  const worker: Worker = {
    options,
    child,
    gone: child.ended.then((end) => onEnded(worker, end)),
    entry: null,
    killedFor: null,
    lastKey: null,
    jobs: 0,
    startedAtMs: 0,
    hasStarted: false,
    disarm: () => undefined,
  };
  return worker;
};
