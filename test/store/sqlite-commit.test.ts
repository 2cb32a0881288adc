import { Database } from "bun:sqlite";
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EngramError } from "../../src/errors.ts";
import { storeLimits } from "../../src/limits.ts";
import { type GroupCommit, openGroupCommit, storeFault } from "../../src/store/sqlite-commit.ts";

const codeIs = (code: string): unknown => expect.objectContaining({ code });

describe("writes that share a transaction", () => {
  let db: Database;
  let commits: GroupCommit;
  let committed = 0;
  beforeEach(() => {
    db = new Database(":memory:");
    db.run("CREATE TABLE t(n INTEGER PRIMARY KEY)");
    committed = 0;
    commits = openGroupCommit(db, () => committed++);
  });
  afterEach(() => {
    commits.close();
    db.close(true);
  });
  const insert = (n: number): Promise<number> =>
    commits.write(() => {
      db.run("INSERT INTO t VALUES(?)", [n]);
      return n;
    });
  const rows = (): unknown[] => db.query("SELECT n FROM t ORDER BY n").values().flat();

  test("are run in the order in which they were asked for, and answered with their values", async () => {
    expect(await Promise.all([insert(3), insert(1), insert(2)])).toEqual([3, 1, 2]);
    expect(committed).toBe(1);
  });
  test("are answered behind the commit, and before what is told of it", async () => {
    const order: string[] = [];
    commits.close();
    commits = openGroupCommit(db, () => order.push(db.inTransaction ? "too early" : "told"));
    await insert(1).then(() => order.push("answered"));
    expect(order).toEqual(["told", "answered"]);
  });
  test("fail together where the database fails one, and leave nothing behind", async () => {
    await insert(1);
    const outcomes = await Promise.allSettled([insert(2), insert(1), insert(3)]);
    expect(outcomes.map(({ status }) => status)).toEqual(["rejected", "rejected", "rejected"]);
    for (const outcome of outcomes)
      expect(outcome).toMatchObject({ reason: { code: "unavailable", transient: true } });
    expect(rows()).toEqual([1]);
    await insert(4);
    expect(rows()).toEqual([1, 4]);
  });
  test("are each refused alone", async () => {
    const refused = commits.write(() => {
      throw new EngramError("conflict", "no");
    });
    const outcomes = await Promise.allSettled([insert(1), refused, insert(2)]);
    expect(outcomes.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
    await expect(refused).rejects.toEqual(codeIs("conflict"));
    expect(rows()).toEqual([1, 2]);
  });
  test("asked for by an answer come into the next", async () => {
    await insert(1).then(() => insert(2));
    expect(committed).toBe(2);
  });
  test("are no more than the limit; the one past it is told to come again", async () => {
    const writes = Array.from({ length: storeLimits.queuedWritesMax }, (_, n) => insert(n));
    await expect(insert(-1)).rejects.toMatchObject({ code: "unavailable", transient: true });
    await Promise.all(writes);
    expect(committed).toBe(1);
    await insert(-1);
    expect(rows()).toHaveLength(storeLimits.queuedWritesMax + 1);
  });
});

test("a fault of the database is corrupt where the file is damaged, else unavailable", () => {
  const folder = mkdtempSync(join(tmpdir(), "engram-fault-"));
  const path = join(folder, "t.db");
  const made = new Database(path, { create: true });
  made.run("CREATE TABLE t(n INTEGER PRIMARY KEY)");
  const page = made.query<{ page_size: number }, []>("PRAGMA page_size").get();
  made.close();
  const bytes = readFileSync(path);
  // The second page is the table's.
  writeFileSync(path, bytes.fill(0xff, page!.page_size));

  const db = new Database(path);
  const faultOf = (query: string): EngramError => {
    try {
      db.query(query).all();
      throw new Error("no fault");
    } catch (error) {
      return storeFault(error);
    }
  };
  expect(faultOf("SELECT * FROM missing")).toMatchObject({ code: "unavailable", transient: true });
  expect(faultOf("SELECT * FROM t")).toMatchObject({ code: "corrupt", transient: false });
  db.close();
  rmSync(folder, { recursive: true });
});
