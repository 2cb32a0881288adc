import { Database } from "bun:sqlite";
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { storeLimits } from "../../src/limits.ts";
import { formatVersion } from "../../src/store/sqlite/schema.ts";
import { makeKnownDamage } from "../../src/store/sqlite/damage.ts";
import { openReads, type Reads } from "../../src/store/sqlite/reads.ts";
import { openSqliteStore } from "../../src/store/sqlite/sqlite.ts";
import type { Store } from "../../src/store/store.ts";
import { born, logged, said } from "../support/events.ts";
import {
  appendOf,
  appendTo,
  creationOf,
  folderFixture,
  holder,
  readAll,
  sqliteParts,
} from "../support/stores.ts";

const codeIs = (code: string): unknown => expect.objectContaining({ code });

let place: ReturnType<typeof folderFixture>;
let path = "";
beforeEach(() => {
  place = folderFixture();
  path = join(place.folder, "engram.db");
});
afterEach(() => place.drop());

const withStore = async <T>(use: (store: Store) => Promise<T>): Promise<T> => {
  const store = place.open();
  try {
    return await use(store);
  } finally {
    await store.close();
  }
};
/** Changes the file behind the store's back. */
const edit = (...statements: readonly string[]): void => {
  const db = new Database(path);
  for (const statement of statements) db.run(statement);
  db.close(true);
};
const refusal = (open: () => Store): { code?: unknown; message?: unknown } => {
  try {
    open();
    return {};
  } catch (error) {
    return error as { code: unknown; message: unknown };
  }
};
const eventsOf = (count: number): ReturnType<typeof said>[] =>
  Array.from({ length: count }, (_, n) => said(`message ${n}`));

describe("opening", () => {
  test("a folder that is open already is refused, until it is closed", async () => {
    const store = place.open();
    expect(refusal(place.open)).toMatchObject({ code: "failed_precondition" });
    expect(refusal(place.open).message).toContain("another engine");
    await store.close();
    await withStore((again) => again.probe());
  });
  test("a folder that another process has open is refused, until that process is killed", async () => {
    const script = `
      import { openSqliteStore } from "${join(import.meta.dir, "../../src/store/sqlite/sqlite.ts")}";
      import { sqliteParts } from "${join(import.meta.dir, "../support/stores.ts")}";
      openSqliteStore(process.argv[1], sqliteParts);
      process.stdout.write("open");
      setInterval(() => undefined, 60_000);`;
    const child = Bun.spawn([process.execPath, "-e", script, place.folder], {
      stdin: "ignore",
      stdout: "pipe",
      stderr: "ignore",
    });
    try {
      const { value } = await child.stdout.getReader().read();
      expect(new TextDecoder().decode(value)).toBe("open");
      expect(refusal(place.open)).toMatchObject({ code: "failed_precondition" });
    } finally {
      child.kill("SIGKILL");
      await child.exited;
    }
    await withStore((store) => store.probe());
  });
  test("a missing folder is made, for its owner alone", async () => {
    const folder = join(place.folder, "a", "b");
    await openSqliteStore(folder, sqliteParts).close();
    expect(existsSync(join(folder, "engram.db"))).toBe(true);
  });
  test("a folder that cannot be one is refused in one line that names it", () => {
    const file = join(place.folder, "file");
    writeFileSync(file, "");
    const { code, message } = refusal(() => openSqliteStore(file, sqliteParts));
    expect(code).toBe("invalid_argument");
    expect(message).toContain(file);
    expect(message).not.toContain("\n");
  });
  test("a newer format is refused in one line, as it is", async () => {
    await withStore((store) => store.create(creationOf("a", [born()])));
    edit(`PRAGMA user_version = ${formatVersion + 1}`, "PRAGMA journal_mode = DELETE");
    const before = readFileSync(path);
    const { code, message } = refusal(place.open);
    expect(code).toBe("failed_precondition");
    expect(message).toMatch(new RegExp(`^.*format ${formatVersion + 1}.*newer engine$`));
    expect(readFileSync(path)).toEqual(before);
    edit(`PRAGMA user_version = ${formatVersion}`);
    await withStore(async (store) => expect(await readAll(store, "a")).toHaveLength(1));
  });
  test("a database of another program is refused, as it is", () => {
    edit("CREATE TABLE bookmark(url TEXT)");
    const before = readFileSync(path);
    expect(refusal(place.open)).toMatchObject({ code: "failed_precondition" });
    expect(refusal(place.open).message).toContain("another program");
    expect(readFileSync(path)).toEqual(before);
    edit("PRAGMA application_id = 7");
    expect(refusal(place.open).message).toContain("another program");
  });
  test("a file that is no database is corrupt, and a refusal keeps no lock", async () => {
    writeFileSync(
      path,
      "no database, but long enough for a header to be looked for in it".repeat(20),
    );
    expect(refusal(place.open)).toMatchObject({ code: "corrupt" });
    writeFileSync(path, "");
    await withStore((store) => store.probe());
  });
  test("a folder in the file's place is an error of the store, and keeps no lock", () => {
    mkdirSync(path);
    expect(refusal(place.open)).toMatchObject({ name: "EngramError", code: "unavailable" });
    expect(refusal(place.open)).toMatchObject({ code: "unavailable" });
  });
});

test("a dead engine's leases are due at once for the next, which is told that it recovers", async () => {
  await withStore(async (store) => {
    await store.create(creationOf("a", [born()], { wakeAtMs: 0 }));
    await store.create(creationOf("b", [born()], { wakeAtMs: null }));
    await store.claim({ worker: "w", untilMs: 1_000_000 }, 0, 9);
  });
  await withStore(async (store) => {
    expect(await store.nextWakeMs()).toBe(0);
    expect(await store.row("a", 1)).toMatchObject({ status: "waiting_for_step" });
    expect(await store.claim({ worker: "w", untilMs: 1_000_000 }, 1, 9)).toEqual([
      { agentId: "a", epoch: 2, claims: 2, recovered: true, workedMs: 0 },
    ]);
    await expect(appendTo(store, "a", [said("x")], { epoch: 1 })).rejects.toEqual(codeIs("fenced"));
  });
});

describe("a log that was changed in the file", () => {
  /** The reading half alone: an engine would have found the change before it serves the agent. */
  const withReads = async <T>(use: (reads: Reads) => Promise<T>): Promise<T> => {
    const db = new Database(path, { strict: true });
    const reads = openReads(
      db,
      makeKnownDamage(() => {}),
    );
    try {
      return await use(reads);
    } finally {
      reads.finalize();
      db.close(true);
    }
  };
  const readsOf = (): Promise<unknown> =>
    withReads(async (reads) => {
      const seen: number[] = [];
      for (;;) {
        const page = await reads.read("a", seen.length).catch((error: unknown) => error);
        if (!Array.isArray(page)) return { seen: seen.length, error: page };
        if (page.length === 0) return { seen: seen.length, error: null };
        seen.push(...page.map(({ sequence }) => sequence));
      }
    });
  const body = (sequence: number): string =>
    `body = replace(body, 'message', 'massage') WHERE sequence = ${sequence}`;
  const corrupt = codeIs("corrupt");
  beforeEach(() =>
    withStore(async (store) => {
      await store.create(creationOf("a", [born(), ...eventsOf(5)]));
    }),
  );

  test("is read whole while nobody changes it", async () => {
    expect(await readsOf()).toEqual({ seen: 6, error: null });
  });
  test.each([2, 4, 6])("is corrupt where a byte of event %d is another", async (sequence) => {
    edit(`UPDATE event SET ${body(sequence)}`);
    expect(await readsOf()).toMatchObject({ error: corrupt });
  });
  test("is corrupt at any one bit of an event's body", async () => {
    await withReads(async (store) => {
      const db = new Database(path);
      const row = db.query<{ body: string }, []>("SELECT body FROM event WHERE sequence = 3").get();
      const put = db.prepare("UPDATE event SET body = CAST(? AS TEXT) WHERE sequence = 3");
      const bytes = Buffer.from(row!.body);
      for (let at = 0; at < bytes.length; at++) {
        const flipped = Buffer.from(bytes);
        flipped[at] = flipped[at]! ^ (1 << (at % 8));
        put.run(flipped);
        await expect(store.read("a", 0)).rejects.toEqual(corrupt);
      }
      put.run(bytes);
      expect(await store.read("a", 0)).toHaveLength(6);
      put.finalize();
      db.close(true);
    });
  });
  test("is corrupt where a time is another", async () => {
    edit("UPDATE event SET at = at + 1 WHERE sequence = 3");
    expect(await readsOf()).toMatchObject({ error: corrupt });
  });
  test("is corrupt where two events were swapped", async () => {
    edit(
      "UPDATE event SET sequence = -3 WHERE sequence = 3",
      "UPDATE event SET sequence = 3 WHERE sequence = 4",
      "UPDATE event SET sequence = 4 WHERE sequence = -3",
    );
    expect(await readsOf()).toMatchObject({ error: corrupt });
  });
  test.each([1, 3, 6])("is corrupt where event %d is missing", async (sequence) => {
    edit(`DELETE FROM event WHERE sequence = ${sequence}`);
    expect(await readsOf()).toMatchObject({ seen: sequence - 1, error: corrupt });
  });
  test("is corrupt where an event was taken out and the rest moved up", async () => {
    edit(
      "DELETE FROM event WHERE sequence = 3",
      "UPDATE event SET sequence = sequence - 1 WHERE sequence = 4",
      "UPDATE event SET sequence = sequence - 1 WHERE sequence = 5",
      "UPDATE event SET sequence = sequence - 1 WHERE sequence = 6",
      "UPDATE agent SET head = 5",
    );
    expect(await readsOf()).toMatchObject({ error: corrupt });
  });
  test("is corrupt where the last event was cut off, head and all", async () => {
    edit("DELETE FROM event WHERE sequence = 6", "UPDATE agent SET head = 5");
    expect(await readsOf()).toMatchObject({ error: corrupt });
  });
  test("is corrupt where it is another agent's", async () => {
    await withStore(async (store) => {
      await store.create(creationOf("b", [born(), ...eventsOf(5)]));
    });
    edit("UPDATE agent SET agent_id = 'x' WHERE agent_id = 'a'");
    edit("UPDATE agent SET agent_id = 'a' WHERE agent_id = 'b'");
    expect(await readsOf()).toMatchObject({ seen: 0, error: corrupt });
  });
  test("is corrupt on a later page too, and read up to there", async () => {
    await withStore(async (store) => {
      await appendTo(store, "a", eventsOf(storeLimits.readEventsMax + 50));
    });
    edit(`UPDATE event SET ${body(storeLimits.readEventsMax + 20)}`);
    expect(await readsOf()).toMatchObject({ seen: storeLimits.readEventsMax, error: corrupt });
  });
  test("leaves other agents readable", async () => {
    await withStore(async (store) => {
      await store.create(creationOf("b", [born()]));
    });
    edit(`UPDATE event SET ${body(3)}`);
    await withStore(async (store) => expect(await readAll(store, "b")).toHaveLength(1));
  });
});

test("an index row that was changed is corrupt, not unavailable", async () => {
  await withStore((store) => store.create(creationOf("a", [born()])));
  const columns = ["stats", "spec", "parent", "status"];
  const row = (): Record<string, string> => {
    const db = new Database(path);
    const found = db.query<Record<string, string>, []>("SELECT * FROM agent").get();
    db.close(true);
    return found!;
  };
  const kept = row();
  for (const column of columns) {
    edit(`UPDATE agent SET ${column} = 'x' || substr(${column}, 2)`);
    await withStore(async (store) => {
      await expect(store.row("a", 0)).rejects.toEqual(codeIs("corrupt"));
    });
    edit(`UPDATE agent SET ${column} = '${kept[column]}'`);
  }
  await withStore(async (store) => expect(await store.row("a", 0)).not.toBeNull());
});

test("a page ends behind the event that passes its bytes", async () => {
  const half = "x".repeat(storeLimits.readBytesMax / 2);
  await withStore(async (store) => {
    await store.create(creationOf("a", [born(), ...[1, 2, 3, 4, 5].map(() => said(half))]));
    expect((await store.read("a", 0)).map(({ sequence }) => sequence)).toEqual([1, 2, 3]);
    expect((await store.read("a", 3)).map(({ sequence }) => sequence)).toEqual([4, 5]);
    expect(await readAll(store, "a")).toHaveLength(6);
    // A read that ended early holds nothing open.
    await appendTo(store, "a", [said("more")]);
    expect(await readAll(store, "a")).toHaveLength(7);
  });
  expect(existsSync(`${path}-wal`)).toBe(false);
});

test("of a removed agent only its id and the time stay", async () => {
  await withStore(async (store) => {
    const request = { requestId: "r", digest: "d" };
    await store.create(creationOf("a", [born()], { request, wakeAtMs: 0 }));
    const [lease] = await store.claim({ worker: "w", untilMs: 9 }, 0, 1);
    const call = { afterSequence: 1, nowMs: 0, tools: null, continuedLength: 0 };
    const piece = { kind: "text", offset: 0, content: "x" } as const;
    await store.writeDraft(holder("a", lease!.epoch), call, [piece]);
    await store.remove("a", 77, true);
  });
  const db = new Database(path, { readonly: true });
  const tables = db
    .query<{ name: string }, []>("SELECT name FROM sqlite_schema WHERE type = 'table'")
    .all()
    .map(({ name }) => [name, db.query(`SELECT * FROM ${name}`).all()] as const)
    .filter(([, rows]) => rows.length > 0);
  db.close(true);
  const tombstone = { agent_id: "a", deleted_at: 77, row_check: expect.any(Number) };
  const store = { id: expect.any(String), commits: 4, row_check: expect.any(Number) };
  expect(tables).toEqual([
    ["store", [store]],
    ["tombstone", [tombstone]],
  ]);
});

describe("group commit", () => {
  /** Of the write-ahead log: its salt, and its frames that end a transaction. */
  const commitsIn = (): { readonly salt: string; readonly count: number } => {
    const wal = readFileSync(`${path}-wal`);
    const frameBytes = 24 + wal.readUInt32BE(8);
    const salt = wal.toString("hex", 16, 24);
    let count = 0;
    for (let at = 32; at + frameBytes <= wal.length; at += frameBytes)
      if (wal.toString("hex", at + 8, at + 16) === salt && wal.readUInt32BE(at + 4) > 0) count++;
    return { salt, count };
  };
  const commitsSince = ({ salt, count }: ReturnType<typeof commitsIn>): number => {
    const now = commitsIn();
    // A checkpoint in between lets the log begin anew.
    return now.salt === salt ? now.count - count : now.count;
  };
  const first = logged([born()]);

  test("all writes of one turn of the loop are one transaction", async () => {
    await withStore(async (store) => {
      const ids = Array.from({ length: 100 }, (_, n) => `a${n}`);
      await Promise.all(ids.map((id) => store.create(creationOf(id, [born()]))));
      const before = commitsIn();
      await Promise.all(ids.map((id) => store.append(appendOf(id, first, [said("x")]))));
      expect(commitsSince(before)).toBe(1);
      for (const id of ids) expect(await readAll(store, id)).toHaveLength(2);
    });
  });
  test("writes one after the other are a transaction each", async () => {
    await withStore(async (store) => {
      await store.create(creationOf("a", [born()]));
      const before = commitsIn();
      for (let n = 0; n < 3; n++) await appendTo(store, "a", [said("x")]);
      expect(commitsSince(before)).toBe(3);
    });
  });
  test("a refused write among others fails alone", async () => {
    await withStore(async (store) => {
      const ids = ["a", "b", "c"];
      for (const id of ids) await store.create(creationOf(id, [born()]));
      const before = commitsIn();
      const outcomes = await Promise.allSettled([
        store.append(appendOf("a", first, [said("1")])),
        store.append(appendOf("b", [], [born()])),
        store.append(appendOf("gone", first, [said("1")])),
        store.append(appendOf("b", first, [said("1")], { epoch: 7 })),
        store.create(creationOf("c", [born()])),
        store.append(appendOf("c", first, [said("1")])),
      ]);
      const codes = outcomes.map((it) => (it.status === "rejected" ? it.reason.code : "done"));
      expect(codes).toEqual(["done", "conflict", "not_found", "fenced", "already_exists", "done"]);
      expect(commitsSince(before)).toBe(1);
      const heads = await Promise.all(ids.map(async (id) => (await readAll(store, id)).length));
      expect(heads).toEqual([2, 1, 2]);
    });
  });
  test("what was asked for before a close is written, nothing after it", async () => {
    const store = place.open();
    const created = store.create(creationOf("a", [born()]));
    await store.close();
    expect(await created).toMatchObject({ created: true });
    await expect(store.probe()).rejects.toEqual(codeIs("unavailable"));
    await expect(store.row("a", 0)).rejects.toEqual(codeIs("unavailable"));
    await withStore(async (again) => expect(await readAll(again, "a")).toHaveLength(1));
  });
});
