import { beforeEach, describe, expect, test } from "bun:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import { EngramError } from "../../src/errors.ts";
import { storeLimits } from "../../src/limits.ts";
import type { Committed, Refusal } from "../../src/store/sqlite/commit.ts";
import { startThread, type WriterThread } from "../../src/store/sqlite/worker.ts";
import { openWriter, type Writer } from "../../src/store/sqlite/writer.ts";
import type { Answer, Write } from "../../src/store/sqlite/writes.ts";
import { makeManualClock, type ManualClock } from "../support/manual-clock.ts";
import { codeIs } from "../support/store-contract.ts";
import { folderFixture } from "../support/stores.ts";

/** A thread that answers when the test says so. */
type Played = WriterThread & {
  readonly batches: (readonly Write[])[];
  /** What it has not answered yet. */
  readonly waiting: () => number;
  answer(committed?: Partial<Committed>): Promise<void>;
  die(): Promise<void>;
  closed: boolean;
};

const answerTo = (write: Write): Answer => {
  if (write.kind === "claim") {
    const { worker } = write.wish;
    const lease = { agentId: worker, epoch: 1, claims: 1, recovered: false, workedMs: 0 };
    return { kind: "claim", value: [lease] };
  }
  if (write.kind === "release") return { kind: "release", value: true };
  if (write.kind === "probe") return { kind: "probe", value: null };
  throw new Error(`nobody plays ${write.kind}`);
};

const playThread = (): Played => {
  let waiting: PromiseWithResolvers<Committed> | null = null;
  let ended = false;
  const batches: (readonly Write[])[] = [];
  return {
    batches,
    closed: false,
    waiting: () => (waiting === null ? 0 : 1),
    commit: (writes) => {
      expect(waiting).toBeNull();
      batches.push(writes);
      waiting = Promise.withResolvers();
      return waiting.promise;
    },
    hasEnded: () => ended,
    async close() {
      this.closed = true;
    },
    answer: async (committed = {}) => {
      await nextTurn();
      const answered = waiting;
      waiting = null;
      const outcomes = (batches.at(-1) ?? []).map(answerTo);
      answered?.resolve({ outcomes, fault: null, ...committed });
      await nextTurn();
    },
    die: async () => {
      await nextTurn();
      ended = true;
      waiting?.reject(new EngramError("unavailable", "it has ended", { transient: true }));
      waiting = null;
      await nextTurn();
    },
  };
};

const release = (agentId: string): Write & { readonly kind: "release" } => ({
  kind: "release",
  holder: { agentId, epoch: 1, workedMs: 0 },
  after: null,
  wakeAtMs: null,
});
const claim = (worker: string): Write & { readonly kind: "claim" } => ({
  kind: "claim",
  wish: { worker, untilMs: 9 },
  skip: [],
  nowMs: 0,
  limit: 1,
});
const named = (write: Write): string =>
  `${write.kind} ${write.kind === "release" ? write.holder.agentId : ""}`.trim();
const full: Refusal = { kind: "refused", code: "unavailable", message: "full", transient: true };
const failed = (writes: number): Committed => ({
  outcomes: Array.from({ length: writes }, () => full),
  fault: full,
});

let clock: ManualClock;
let threads: Played[];
let told: string[];
let writer: Writer;
beforeEach(() => {
  clock = makeManualClock();
  threads = [];
  told = [];
  writer = openWriter({
    clock,
    log: (level) => void told.push(level),
    startThread: () => {
      const thread = playThread();
      threads.push(thread);
      return thread;
    },
    committed: (writes) => void told.push(writes.map(named).join()),
    recovered: () => void told.push("recovered"),
  });
});
const thread = (): Played => threads.at(-1) ?? playThread();
/** Settled; what it says is looked at later. */
const quietly = <T>(promise: Promise<T>): Promise<T> => {
  promise.catch(() => {});
  return promise;
};

describe("writes on their way to the disk", () => {
  test("go together, in order; what comes meanwhile is the next batch", async () => {
    const first = [writer.write(release("a")), writer.write(release("b"))];
    await nextTurn();
    const second = [writer.write(release("c")), writer.write(release("d"))];
    await thread().answer();
    expect(await Promise.all(first)).toEqual([true, true]);
    await thread().answer();
    expect(await Promise.all(second)).toEqual([true, true]);
    expect(thread().batches.map((batch) => batch.map(named))).toEqual([
      ["release a", "release b"],
      ["release c", "release d"],
    ]);
    expect(told).toEqual(["release a,release b", "release c,release d"]);
  });
  test("are no more than the limit in one batch, and in the queue", async () => {
    const writes = Array.from({ length: storeLimits.queuedWritesMax }, (_, n) =>
      writer.write(release(`${n}`)),
    );
    await expect(writer.write(release("x"))).rejects.toMatchObject({
      code: "unavailable",
      transient: true,
    });
    for (let at = 0; at < writes.length; at += storeLimits.writesPerCommitMax)
      await thread().answer();
    await Promise.all(writes);
    expect(thread().batches[0]).toHaveLength(storeLimits.writesPerCommitMax);
  });
  test("are committed by a close that they came before; nothing comes after", async () => {
    const writes = [writer.write(release("a"))];
    await nextTurn();
    writes.push(writer.write(release("b")));
    const closing = writer.close();
    await expect(writer.write(release("c"))).rejects.toEqual(codeIs("unavailable"));
    await thread().answer();
    await thread().answer();
    expect(await closing).toBe(true);
    expect(await Promise.all(writes)).toEqual([true, true]);
    expect(thread().closed).toBe(true);
    expect(clock.waiting()).toBe(0);
  });
});

describe("after a fault of the disk", () => {
  test("all that waits is refused, and all that comes, until a probe finds it well", async () => {
    const first = quietly(writer.write(release("a")));
    await nextTurn();
    const queued = quietly(writer.write(release("b")));
    await thread().answer(failed(1));
    for (const write of [first, queued, writer.write(release("c"))])
      await expect(write).rejects.toMatchObject({ message: "full", transient: true });
    expect(thread().batches).toHaveLength(1);
    expect(told).toEqual(["error"]);

    clock.advance(storeLimits.probeMsFirst);
    expect(thread().batches.at(-1)).toEqual([{ kind: "probe" }]);
    await thread().answer(failed(1));
    await expect(writer.write(release("d"))).rejects.toMatchObject({ message: "full" });

    clock.advance(2 * storeLimits.probeMsFirst);
    await thread().answer();
    expect(told).toEqual(["error", "info", "recovered", "probe"]);
    const last = writer.write(release("e"));
    await thread().answer();
    expect(await last).toBe(true);
  });
  test("it is probed ever more seldom, and anew after it was well for long", async () => {
    const pauses: number[] = [];
    const failOnce = async (): Promise<void> => {
      const write = quietly(writer.write(release("a")));
      await thread().answer(failed(1));
      await expect(write).rejects.toEqual(codeIs("unavailable"));
    };
    /** How long the clock has to go on for the next probe. */
    const untilProbe = (): number => {
      const before = thread().batches.length;
      for (let waitedMs = 0; ; waitedMs += 50) {
        if (thread().batches.length > before) return waitedMs;
        clock.advance(50);
      }
    };
    await failOnce();
    for (let probes = 0; probes < 6; probes++) {
      pauses.push(untilProbe());
      await thread().answer(failed(1));
    }
    expect(pauses).toEqual([250, 500, 1000, 2000, 2000, 2000]);
    untilProbe();
    await thread().answer();
    await failOnce();
    expect(untilProbe()).toBe(2000);
    await thread().answer();
    clock.advance(storeLimits.probeMsMax + 1);
    await failOnce();
    expect(untilProbe()).toBe(250);
  });
});

describe("a disk that hangs", () => {
  test("fails who has waited too long, and who comes, until it answers", async () => {
    const first = quietly(writer.write(release("a")));
    await nextTurn();
    const queued = quietly(writer.write(release("b")));
    clock.advance(storeLimits.writeWaitMsMax - 1);
    expect(told).toEqual([]);
    clock.advance(1);
    await expect(first).rejects.toMatchObject({
      code: "unavailable",
      message: expect.stringContaining("not known whether this was written"),
    });
    const notWritten = {
      code: "unavailable",
      message: expect.stringContaining("until then nothing is written"),
    };
    await expect(queued).rejects.toMatchObject(notWritten);
    await expect(writer.write(release("c"))).rejects.toMatchObject(notWritten);
    clock.advance(60_000);
    expect(thread().batches).toHaveLength(1);

    // It was written after all, and is told of.
    await thread().answer();
    expect(told).toEqual(["error", "info", "recovered", "release a"]);
    const next = writer.write(release("d"));
    await thread().answer();
    expect(await next).toBe(true);
  });
  test("has a lease that came too late let go of", async () => {
    const late = quietly(writer.write(claim("late")));
    await nextTurn();
    clock.advance(storeLimits.writeWaitMsMax);
    await expect(late).rejects.toEqual(codeIs("unavailable"));
    await thread().answer();
    await nextTurn();
    expect(thread().batches.at(-1)?.map(named)).toEqual(["release late"]);
    await thread().answer();

    const inTime = writer.write(claim("in time"));
    await thread().answer();
    expect(await inTime).toMatchObject([{ agentId: "in time" }]);
    expect(thread().waiting()).toBe(0);
  });
  test("is not waited for at the end", async () => {
    void quietly(writer.write(release("a")));
    await nextTurn();
    const closing = writer.close();
    await nextTurn();
    clock.advance(storeLimits.closeWaitMsMax);
    expect(await closing).toBe(false);
  });
});

describe("a thread that ends", () => {
  test("leaves nobody waiting, and a new one takes its place", async () => {
    const lost = quietly(writer.write(release("a")));
    await thread().die();
    await expect(lost).rejects.toEqual(codeIs("unavailable"));
    expect(threads).toHaveLength(1);
    clock.advance(storeLimits.probeMsFirst);
    expect(threads).toHaveLength(2);
    await thread().answer();
    const next = writer.write(release("b"));
    await thread().answer();
    expect(await next).toBe(true);
  });
  test("while it has nothing to do is replaced at the next write", async () => {
    await thread().die();
    const next = writer.write(release("a"));
    await nextTurn();
    expect(threads).toHaveLength(2);
    await thread().answer();
    expect(await next).toBe(true);
  });
  test("as a real one: its batch is refused, and another one writes to the same file", async () => {
    const place = folderFixture();
    await place.open().close();
    const path = `${place.folder}/engram.db`;
    const first = startThread(path);
    const failure = await first.commit("no writes" as never).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: "unavailable", transient: true });
    expect(first.hasEnded()).toBe(true);
    await first.close();
    const second = startThread(path);
    expect(await second.commit([{ kind: "probe" }])).toEqual({
      outcomes: [{ kind: "probe", value: null }],
      fault: null,
    });
    await second.close();
    place.drop();
  });
});
