import type { Clock } from "../../clock.ts";
import { EngramError } from "../../errors.ts";
import { storeLimits } from "../../limits.ts";
import type { Log } from "../../log.ts";
import { type Committed, type Outcome, type Refusal, refusalOf } from "./commit.ts";
import { watchHealth } from "./health.ts";
import type { WriterThread } from "./worker.ts";
import type { Answer, AnswerTo, Values, Write, WriteKind } from "./writes.ts";
import type { Lease } from "../store.ts";

/*
 * Invariants
 * 1. One batch at a time is with the thread, and what is asked for meanwhile is the next: one sync of the disk for all.
 * 2. Writes are performed in the order in which they were asked for.
 * 3. Each is answered once: when its batch is committed or refused, or when it has waited too long. What was given up may
 *    be committed all the same; a lease that it brought then is let go of, since nobody has it.
 * 4. After a fault of the disk every write is refused at once, until a probe has found that the disk takes writes again.
 */

/** The queue before the thread that writes. */
export interface Writer {
  /** Resolves when the write is durable. Fails as the store's promise says. */
  write<K extends WriteKind>(write: Write & { readonly kind: K }): Promise<Values[K]>;
  /** Commits what is queued; nothing is taken afterwards. False: the disk does not answer, the file is still open. */
  close(): Promise<boolean>;
}

export type WriterParts = {
  readonly clock: Clock;
  readonly log: Log;
  readonly startThread: () => WriterThread;
  /** Called behind each commit with the writes that were not refused, when all are answered. */
  readonly committed: (writes: readonly Write[]) => void;
  /** Called when writes are taken again. */
  readonly recovered: () => void;
};

type Entry = {
  readonly write: Write;
  readonly atMs: number;
  /** Once; null: it was given up. */
  settle: ((outcome: Outcome) => void) | null;
};

const refused = (message: string): Refusal =>
  refusalOf(new EngramError("unavailable", message, { transient: true }));

const waited = `the store's disk has not answered for ${storeLimits.writeWaitMsMax / 1000} s`;
const hung = refused(
  `${waited}: mend it; until then nothing is written, and the engine goes on by itself`,
);
const unknown = refused(
  `${waited}, and it is not known whether this was written; repeat it with the same message_id or request_id`,
);
const crowded = refused("the store has too many writes waiting; try again later");
const isClosed = refused("the store is closed");

export function openWriter(parts: WriterParts): Writer {
  const lane = openLane(parts);
  let closed = false;
  return {
    write: <K extends WriteKind>(write: Write & { readonly kind: K }) =>
      new Promise<Values[K]>((resolve, reject) => {
        const refusal = closed ? isClosed : lane.refusal();
        if (refusal === null) lane.push(write, settling(write.kind, resolve, reject));
        else reject(errorOf(refusal));
      }),
    close: () => {
      closed = true;
      return within(parts.clock, storeLimits.closeWaitMsMax, lane.close());
    },
  };
}

type Lane = {
  /** Why nothing can be pushed; null: it can. */
  refusal(): Refusal | null;
  push(write: Write, settle: Entry["settle"]): void;
  close(): Promise<void>;
};

/** The writes on their way to the thread. */
function openLane(parts: WriterParts): Lane {
  const { clock } = parts;
  const batches = openBatches(parts.startThread);
  let queue: Entry[] = [];
  let scheduled = false;
  let closing = false;
  const health = watchHealth({
    ...parts,
    // A batch that is under way tells as much.
    probe: () => {
      if (!batches.isRunning())
        void run([{ write: { kind: "probe" }, atMs: clock.monotonicMs(), settle: null }]);
    },
  });
  const fail = (why: Refusal): void => {
    health.failed(why);
    const entries = queue;
    queue = [];
    for (const { settle } of entries) settle?.(why);
  };
  const giveUp = (): void => {
    for (const entry of batches.underWay()) {
      entry.settle?.(unknown);
      entry.settle = null;
    }
    fail(hung);
  };
  const watch = makeWatch(clock, () => batches.underWay()[0] ?? queue[0], giveUp);

  const push: Lane["push"] = (write, settle) => {
    queue.push({ write, atMs: clock.monotonicMs(), settle });
    watch.begin();
    schedule();
  };
  const run = async (entries: readonly Entry[]): Promise<void> => {
    const { outcomes, fault } = await batches.run(entries);
    if (fault === null) health.succeeded();
    else fail(fault);
    const { done, orphans } = answer(entries, outcomes);
    for (const holder of orphans) push(letGo(holder), null);
    if (done.length > 0) parts.committed(done);
    schedule();
  };
  const next = (): Promise<void> => run(queue.splice(0, storeLimits.writesPerCommitMax));
  const schedule = (): void => {
    if (scheduled || batches.isRunning() || queue.length === 0) return;
    scheduled = true;
    // A turn of the loop later: what the last commit's answers ask for comes along.
    setImmediate(() => {
      scheduled = false;
      if (!closing && !batches.isRunning() && queue.length > 0) void next();
    });
  };

  return {
    refusal: () => health.fault() ?? (queue.length < storeLimits.queuedWritesMax ? null : crowded),
    push,
    close: async () => {
      closing = true;
      health.stop();
      await batches.close(async () => {
        while (queue.length > 0) await next();
      });
      watch.stop();
    },
  };
}

/** Tells everyone what came of it; `orphans`: leases that nobody waits for any more. */
function answer(
  entries: readonly Entry[],
  outcomes: readonly Outcome[],
): { readonly done: readonly Write[]; readonly orphans: readonly Lease[] } {
  const done: Write[] = [];
  const orphans: Lease[] = [];
  for (const [index, { write, settle }] of entries.entries()) {
    const outcome = outcomes[index];
    if (outcome === undefined) throw new Error("a write was not answered");
    if (outcome.kind !== "refused") done.push(write);
    if (settle === null) orphans.push(...leasesOf(outcome));
    else settle(outcome);
  }
  return { done, orphans };
}

type Batches = {
  readonly underWay: () => readonly Entry[];
  readonly isRunning: () => boolean;
  /** Resolves with what came of them. One at a time. */
  run(entries: readonly Entry[]): Promise<Committed>;
  /** When the batch under way is done, runs `rest` and ends the thread. */
  close(rest: () => Promise<void>): Promise<void>;
};

/** Gives batches to the thread; to a new one, where that has ended. */
function openBatches(startThread: () => WriterThread): Batches {
  let thread = startThread();
  let underWay: readonly Entry[] = [];
  let running: Promise<Committed> | null = null;

  const commit = async (entries: readonly Entry[]): Promise<Committed> => {
    try {
      if (thread.hasEnded()) thread = startThread();
      return await thread.commit(entries.map(({ write }) => write));
    } catch (error) {
      const lost = refusalOf(EngramError.of(error));
      return { outcomes: entries.map(() => lost), fault: lost };
    } finally {
      underWay = [];
    }
  };
  return {
    underWay: () => underWay,
    isRunning: () => underWay.length > 0,
    run: (entries) => {
      underWay = entries;
      running = commit(entries);
      return running;
    },
    close: async (rest) => {
      await running;
      await rest();
      await thread.close();
    },
  };
}

/** Calls `late` when the oldest write has waited too long. One timer serves them all. */
function makeWatch(
  clock: Clock,
  oldest: () => Entry | undefined,
  late: () => void,
): { begin(): void; stop(): void } {
  let cancel: (() => void) | null = null;
  const leftMs = (): number | null => {
    const entry = oldest();
    if (entry === undefined) return null;
    return entry.atMs + storeLimits.writeWaitMsMax - clock.monotonicMs();
  };
  const begin = (): void => {
    const delayMs = leftMs();
    if (cancel !== null || delayMs === null) return;
    cancel = clock.after(delayMs, () => {
      cancel = null;
      if ((leftMs() ?? 1) <= 0) late();
      else begin();
    });
  };
  return { begin, stop: () => cancel?.() };
}

const errorOf = ({ code, message, transient }: Refusal): EngramError =>
  new EngramError(code, message, { transient });

const isTo = <K extends WriteKind>(given: Answer, kind: K): given is Answer & AnswerTo<K> =>
  given.kind === kind;

const settling =
  <K extends WriteKind>(
    kind: K,
    resolve: (value: Values[K]) => void,
    reject: (error: Error) => void,
  ) =>
  (outcome: Outcome): void => {
    if (outcome.kind === "refused") reject(errorOf(outcome));
    else if (isTo(outcome, kind)) resolve(outcome.value);
    else reject(new Error(`a ${kind} was answered as a ${outcome.kind}`));
  };

const letGo = (holder: Lease): Write => ({ kind: "release", holder, after: null, wakeAtMs: 0 });

function leasesOf(outcome: Outcome): readonly Lease[] {
  switch (outcome.kind) {
    case "claim":
      return outcome.value;
    case "create":
      return outcome.value.lease === null ? [] : [outcome.value.lease];
    case "append":
      return outcome.value === null ? [] : [outcome.value];
    default:
      return [];
  }
}

/** False: not in time. */
const within = (clock: Clock, delayMs: number, work: Promise<void>): Promise<boolean> =>
  new Promise((resolve, reject) => {
    const cancel = clock.after(delayMs, () => resolve(false));
    work.then(() => resolve(true), reject).finally(cancel);
  });
