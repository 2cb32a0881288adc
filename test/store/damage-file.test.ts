import { Database } from "bun:sqlite";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Store } from "../../src/store/store.ts";
import { said } from "../support/events.ts";
import {
  copyStore,
  type Logged,
  makeSamples,
  openStore,
  scratch,
  verified,
} from "../support/damage.ts";
import { flip, type Sample, sampleOf, tryDamage } from "../support/damage-trial.ts";
import { appendTo, readAll } from "../support/stores.ts";

let place = "";
let data: Sample;
let killed: Sample;
beforeAll(async () => {
  const samples = await makeSamples();
  data = await sampleOf(samples.data);
  killed = await sampleOf(samples.killed);
});
afterAll(() => rmSync(dirname(data.folder), { recursive: true }));
beforeEach(() => {
  place = scratch();
  copyStore(data.folder, place);
});
afterEach(() => rmSync(place, { recursive: true }));

const file = (): string => join(place, "engram.db");
const edit = (statement: string): void => {
  const db = new Database(file());
  db.run(statement);
  db.close(true);
};
const withStore = async <T>(use: (store: Store) => Promise<T>, logs: Logged[] = []): Promise<T> => {
  const store = openStore(place, logs);
  try {
    return await use(store);
  } finally {
    await store.close();
  }
};

test("a log that a kill has left is found as it was written", () => {
  copyStore(killed.folder, place);
  expect(verified(place)).toEqual([]);
});

describe("a file as a whole", () => {
  /** Refused in one line with the way out, changed in nothing; started with the flag. */
  const refusedUntilAccepted = async (fault: RegExp, left: number): Promise<void> => {
    const before = existsSync(file()) ? readFileSync(file()) : null;
    expect(verified(place).some((line) => fault.test(line))).toBe(true);
    let message = "";
    try {
      await openStore(place).close();
    } catch (error) {
      ({ message } = error as Error);
    }
    expect(message).toMatch(fault);
    expect(message).toMatch(/^[^\n]*--accept-data-loss[^\n]*$/);
    expect(existsSync(file()) ? readFileSync(file()) : null).toEqual(before);
    const logs: Logged[] = [];
    const store = openStore(place, logs, true);
    expect(logs.filter(({ level }) => level === "warn")[0]?.message).toContain(
      "data loss was accepted",
    );
    const listed = await store.list({ status: null, limit: 9, beforeAgentId: null }, 0);
    expect(listed).toHaveLength(left);
    await store.close();
    await openStore(place).close();
    expect(verified(place)).toEqual([]);
  };
  const lost = /holds \d+ commits, but \d+ commits of store \S+ were promised/;

  test("that is gone", async () => {
    rmSync(file());
    await refusedUntilAccepted(/is missing, but \d+ commits/, 0);
  });
  test("that is empty", async () => {
    writeFileSync(file(), "");
    await refusedUntilAccepted(/is empty, but \d+ commits/, 0);
  });
  test("that is an old copy", async () => {
    const old = readFileSync(file());
    await withStore((store) => appendTo(store, "alpha", [said("later")], { wakeAtMs: 0 }));
    writeFileSync(file(), old);
    await refusedUntilAccepted(lost, 5);
  });
  test("that is another store's", async () => {
    const other = scratch();
    await openStore(other).close();
    writeFileSync(file(), readFileSync(join(other, "engram.db")));
    rmSync(other, { recursive: true });
    await refusedUntilAccepted(/is another store, \S+, but \d+ commits/, 0);
  });
  test("whose identity was changed", async () => {
    edit("UPDATE store SET commits = commits + 1");
    expect(verified(place)).not.toEqual([]);
    await refusedUntilAccepted(/which store it is was changed/, 5);
  });
  test("whose log is gone, cut or changed", async () => {
    const log = join(place, "engram.db-wal");
    const whole = readFileSync(join(killed.folder, "engram.db-wal"));
    const damages = [
      () => rmSync(log),
      () => truncateSync(log, 0),
      () => truncateSync(log, Math.floor(whole.length / 2)),
      () => truncateSync(log, whole.length - 1),
      () => flip(log, 2, 1),
      () => flip(log, 40, 1),
      () => flip(log, Math.floor(whole.length / 2), 1),
      () => flip(log, whole.length - 9, 7),
    ];
    for (const damage of damages) {
      copyStore(killed.folder, place);
      damage();
      await refusedUntilAccepted(lost, 5);
    }
  });
  test("that was cut", async () => {
    const { length } = readFileSync(file());
    for (const left of [1, 50, 99, 100, 512, 4096, 5000, length - 4096, length - 1]) {
      const trial = await tryDamage(data, place, () => truncateSync(file(), left));
      expect(trial.problems).toEqual([]);
      // The last pages are of what stands aside, which no agent is.
      expect(["refused to start", "agent refused", "found"]).toContain(trial.kind);
    }
  });
  test("whose marks are gone or torn is opened with a warning, and gets them anew", async () => {
    const marks = join(place, "engram.high-water");
    const whole = readFileSync(marks, "latin1");
    for (const damage of [
      () => rmSync(marks),
      () => writeFileSync(marks, ""),
      () => writeFileSync(marks, "x".repeat(192)),
    ]) {
      damage();
      const logs: Logged[] = [];
      await withStore(() => Promise.resolve(), logs);
      expect(logs).toEqual([
        { level: "warn", message: expect.stringContaining("without its marks") },
      ]);
      expect(readFileSync(marks, "latin1").slice(0, 50)).toBe(whole.slice(0, 50));
    }
    // A write that was torn leaves the one before.
    writeFileSync(marks, `${"x".repeat(40)}${readFileSync(marks, "latin1").slice(40)}`);
    const logs: Logged[] = [];
    await withStore(() => Promise.resolve(), logs);
    expect(logs).toEqual([]);
  });
  test("that is ahead of its marks is whole: they are not synced", async () => {
    const marks = readFileSync(join(place, "engram.high-water"));
    await withStore((store) => appendTo(store, "alpha", [said("later")], { wakeAtMs: 0 }));
    writeFileSync(join(place, "engram.high-water"), marks);
    expect(verified(place)).toEqual([]);
    await withStore(async (store) => expect(await readAll(store, "alpha")).not.toHaveLength(0));
  });
});
