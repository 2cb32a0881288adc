import { expect, test } from "bun:test";
import { systemClock } from "../../src/clock.ts";
import { type Pool, openPool } from "../../src/sandbox/pool.ts";
import { oddChild } from "./odd-child.ts";
import type { Job, JobEnd } from "../../src/sandbox/worker.ts";

const never = new AbortController().signal;
const plenty = 8 * 1024 ** 3;
const minute = 60_000;

const job = (change: Partial<Job> = {}): Job => ({
  header: { kind: "run" },
  key: "a",
  loadMs: minute,
  runMs: minute,
  memoryBytesMax: plenty,
  ...change,
});

/** A pool whose children behave as odd-child.ts does for `what`, and what it logs. */
const withPool = async (
  what: string,
  use: (pool: Pool, logged: readonly string[]) => Promise<void>,
): Promise<void> => {
  const logged: string[] = [];
  const pool = openPool({
    command: [process.execPath, oddChild, what],
    warm: 1,
    max: 2,
    clock: systemClock,
    log: (_level, message, fields) => logged.push(`${message} ${JSON.stringify(fields)}`),
  });
  try {
    await use(pool, logged);
  } finally {
    await pool.close();
  }
};

const ends = async (what: string, given: Job): Promise<JobEnd> => {
  let end: JobEnd | null = null;
  await withPool(what, async (pool) => {
    end = await pool.run(given, never);
  });
  if (end === null) throw new Error("the job has no end");
  return end;
};

test("a child that exits has crashed; what it said is logged; the next job gets another", async () => {
  await withPool("exit", async (pool, logged) => {
    for (let i = 0; i < 2; i++) {
      const end = await pool.run(job(), never);
      expect(end).toMatchObject({ kind: "crashed", end: { exitCode: 3, signal: null } });
    }
    expect(logged.join()).toInclude("something went wrong");
  });
});

test("a child that something else killed has crashed by that signal", async () => {
  expect(await ends("kill", job())).toMatchObject({
    kind: "crashed",
    end: { exitCode: null, signal: "SIGKILL" },
  });
});

test("a child that writes what is not a frame is ended", async () => {
  expect(await ends("garbage", job())).toMatchObject({ kind: "crashed" });
});

test("an answer without a question ends the child, not the job that was answered", async () => {
  expect(await ends("twice", job())).toMatchObject({ kind: "answered" });
});

test("time counts anew from the moment that a job has started", async () => {
  expect(await ends("hang", job({ loadMs: 20 }))).toMatchObject({
    kind: "tooSlow",
    hasStarted: false,
  });
  expect(await ends("start", job({ runMs: 20 }))).toMatchObject({
    kind: "tooSlow",
    hasStarted: true,
  });
});

test.skipIf(process.platform !== "linux")("a child that grows too large is killed", async () => {
  expect(await ends("start", job({ memoryBytesMax: 1 }))).toMatchObject({ kind: "tooLarge" });
});

test("jobs of one key leave children to the others", async () => {
  await withPool("picky", async (pool) => {
    const slow = Array.from({ length: 10 }, () => pool.run(job(), never).catch(() => "closed"));
    const quick = await pool.run(job({ key: "b", header: { kind: "quick" } }), never);
    expect(quick).toMatchObject({ kind: "answered" });
    await pool.close();
    expect(new Set(await Promise.all(slow))).toEqual(new Set(["closed"]));
  });
});

test("an abort takes a job out of the queue, or ends its child", async () => {
  await withPool("hang", async (pool) => {
    const running = new AbortController();
    const waiting = new AbortController();
    // One key has half of the two children.
    const first = pool.run(job(), running.signal).catch((reason: unknown) => reason);
    const second = pool.run(job(), waiting.signal).catch((reason: unknown) => reason);
    waiting.abort("while waiting");
    running.abort("while running");
    expect(await second).toBe("while waiting");
    expect(await first).toBe("while running");
  });
});

test("a job fails where no child can be started", async () => {
  const pool = openPool({
    command: ["/nowhere/engram", "__sandbox"],
    warm: 1,
    max: 2,
    clock: systemClock,
    log: () => undefined,
  });
  await expect(pool.run(job(), never)).rejects.toMatchObject({ code: "unavailable" });
  await pool.close();
});

test("closing ends what runs and what waits", async () => {
  await withPool("hang", async (pool) => {
    const jobs = [1, 2, 3].map(() => pool.run(job(), never).catch((reason: unknown) => reason));
    await pool.close();
    for (const end of await Promise.all(jobs)) expect(end).toMatchObject({ code: "unavailable" });
    await expect(pool.run(job(), never)).rejects.toMatchObject({ code: "unavailable" });
  });
});
