import { Database } from "bun:sqlite";
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Committer, makeCommitter, openWriting } from "../../src/store/sqlite/commit.ts";
import { storeFault } from "../../src/store/sqlite/fault.ts";
import { prepareSchema } from "../../src/store/sqlite/schema.ts";
import {
  appendWrite,
  type ClaimWrite,
  createWrite,
  type Write,
} from "../../src/store/sqlite/writes.ts";
import { storeLimits } from "../../src/limits.ts";
import { born, logged, said } from "../support/events.ts";
import { openFaultyDisk } from "../support/faulty-disk.ts";
import { appendOf, creationOf } from "../support/stores.ts";

let folder = "";
let path = "";
let committer: Committer;
let reader: Database;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "engram-commit-"));
  path = join(folder, "engram.db");
  const made = new Database(path, { create: true });
  prepareSchema(made, path);
  made.run("PRAGMA journal_mode = WAL");
  made.close(true);
  committer = makeCommitter(path);
  reader = new Database(path);
});
afterEach(() => {
  reader.close(true);
  committer.close();
  rmSync(folder, { recursive: true });
});
const ids = (): unknown[] => reader.query("SELECT agent_id FROM agent ORDER BY id").values().flat();
const creation = (agentId: string): Write => createWrite(creationOf(agentId, [born()]));
const codesOf = (writes: readonly Write[]): string[] =>
  committer
    .commit(writes)
    .outcomes.map((outcome) => (outcome.kind === "refused" ? outcome.code : outcome.kind));

test("the connection that writes syncs each commit, to a write-ahead log", () => {
  const db = openWriting(path);
  const pragma = (name: string): unknown => db.query(`PRAGMA ${name}`).values()[0]?.[0];
  expect(pragma("synchronous")).toBe(2);
  expect(pragma("journal_mode")).toBe("wal");
  db.close(true);
});

describe("a batch of writes", () => {
  test("is performed in its order, and seen by others when it is answered", () => {
    const { outcomes, fault } = committer.commit([creation("b"), creation("a")]);
    expect(fault).toBeNull();
    expect(outcomes.map(({ kind }) => kind)).toEqual(["create", "create"]);
    expect(ids()).toEqual(["b", "a"]);
  });
  test("holds what a refusal in its midst has nothing to do with", () => {
    expect(codesOf([creation("a"), creation("a"), creation("b")])).toEqual([
      "create",
      "already_exists",
      "create",
    ]);
    expect(ids()).toEqual(["a", "b"]);
  });
  test("fails whole where the disk fails it, leaves nothing behind, and the next is taken", () => {
    codesOf([creation("a")]);
    const other = new Database(path);
    other.run("BEGIN IMMEDIATE");
    const { outcomes, fault } = committer.commit([creation("b"), creation("c")]);
    expect(fault).toMatchObject({ code: "unavailable", transient: true });
    expect(fault?.message).toContain("another program");
    expect(outcomes).toEqual([fault!, fault!]);
    other.run("ROLLBACK");
    other.close(true);
    expect(ids()).toEqual(["a"]);
    expect(codesOf([creation("b")])).toEqual(["create"]);
    expect(ids()).toEqual(["a", "b"]);
  });
  test("a probe among its writes is a write too: a page of the log", () => {
    const size = (): number => readFileSync(`${path}-wal`).length;
    codesOf([creation("a")]);
    const before = size();
    expect(codesOf([{ kind: "probe" }])).toEqual(["probe"]);
    expect(size()).toBeGreaterThan(before);
  });
});

describe("a damaged page", () => {
  /** Changes the file while nobody has it open. */
  const edit = (change: (bytes: Buffer, pageSize: number) => void): void => {
    const size = reader.query<{ page_size: number }, []>("PRAGMA page_size").get()!.page_size;
    committer.checkpoint();
    committer.close();
    reader.close(true);
    const bytes = readFileSync(path);
    change(bytes, size);
    writeFileSync(path, bytes);
    reader = new Database(path);
  };
  /** Changes the first page of a table or an index. */
  const change = (name: string, edited: (page: Buffer) => void): void => {
    const root = reader
      .query<{ rootpage: number }, [string]>("SELECT rootpage FROM sqlite_schema WHERE name = ?")
      .get(name)!.rootpage;
    edit((bytes, size) => edited(bytes.subarray((root - 1) * size, root * size)));
  };
  const damage = (name: string): void => change(name, (page) => page.fill(0xff));
  const claim: ClaimWrite = {
    kind: "claim",
    wish: { worker: "w", untilMs: 1_000 },
    skip: [],
    nowMs: 10,
    limit: 9,
  };

  test("that one write meets is no matter of the others'", () => {
    codesOf([creation("a"), creation("b")]);
    damage("snapshot");
    const append = (agentId: string, snapshot: boolean): Write =>
      appendWrite(appendOf(agentId, logged([born()]), [said("x")], { snapshot }));
    expect(codesOf([append("a", false), append("b", true), creation("c")])).toEqual([
      "append",
      "corrupt",
      "create",
    ]);
    expect(reader.query("SELECT agent_id, head FROM agent ORDER BY agent_id").values()).toEqual([
      ["a", 2],
      ["b", 1],
      ["c", 1],
    ]);
  });
  test("of the index of wake times is mended, and every agent is found again", () => {
    codesOf(
      ["a", "b"].map((agentId) => createWrite(creationOf(agentId, [born()], { wakeAtMs: 5 }))),
    );
    change("agent_wake", (page) => {
      // A record of the integers 5 (the wake time) and 1 (the row): now of a row 0, which there is not.
      const entry = page.indexOf(Buffer.from([3, 1, 9, 5]));
      expect(entry).toBeGreaterThan(0);
      page[entry + 2] = 8;
    });
    const { outcomes } = committer.commit([claim]);
    expect(outcomes).toMatchObject([
      { kind: "claim", value: [{ agentId: "a" }, { agentId: "b" }] },
    ]);
  });
  test("of some agents does not keep the others from being claimed", () => {
    const agents = Array.from({ length: 40 }, (_, n) => `agent-${n}`);
    codesOf(agents.map((id) => createWrite(creationOf(id, [born()], { wakeAtMs: 5 }))));
    const lost: string[] = [];
    edit((bytes, size) => {
      for (let at = 0; at < bytes.length; at += size) {
        const page = bytes.subarray(at, at + size);
        // A leaf of a table.
        if (page[0] !== 13 || !page.includes("agent-39")) continue;
        lost.push(...agents.filter((id) => page.includes(id)));
        page.fill(0xff);
      }
    });
    expect(lost.length).toBeGreaterThan(0);
    const claimed = committer
      .commit([{ ...claim, limit: 100 }])
      .outcomes.flatMap((outcome) =>
        outcome.kind === "claim" ? outcome.value.map(({ agentId }) => agentId) : [],
      );
    expect(claimed).toContain("agent-0");
    expect(claimed).not.toContain("agent-39");
    expect(claimed.length).toBeGreaterThanOrEqual(agents.length - lost.length);
    expect(codesOf([claim])).toEqual(["corrupt"]);
  });
  test("of the agents themselves stays corrupt, and what does not need it goes on", () => {
    codesOf([createWrite(creationOf("a", [born()], { wakeAtMs: 5 }))]);
    damage("agent");
    expect(codesOf([claim, { kind: "probe" }])).toEqual(["corrupt", "probe"]);
  });
});

test("a disk that was full is not written to before it has room", async () => {
  using disk = openFaultyDisk();
  committer.close();
  const script = `
    import { makeCommitter } from "${join(import.meta.dir, "../../src/store/sqlite/commit.ts")}";
    let free = 0;
    const committer = makeCommitter(process.argv[1], () => free);
    const probe = () => console.log(committer.commit([{ kind: "probe" }]).fault?.message ?? "written");
    // Room is no matter to a disk that never was full.
    probe();
    for await (const line of console) {
      free = Number(line);
      probe();
    }`;
  const child = Bun.spawn([process.execPath, "-e", script, path], {
    env: { ...Bun.env, ...disk.settings },
    stdin: "pipe",
    stdout: "pipe",
    stderr: "inherit",
  });
  const answers = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  const answerWith = async (free: number): Promise<string> => {
    void child.stdin.write(`${free}\n`);
    await child.stdin.flush();
    return String((await answers.read()).value);
  };
  expect(String((await answers.read()).value)).toBe("written\n");
  disk.set({ writeError: "ENOSPC" });
  expect(await answerWith(0)).toContain("disk is full");
  disk.set({});
  expect(await answerWith(storeLimits.roomBytesMin - 1)).toContain("disk is full");
  expect(await answerWith(storeLimits.roomBytesMin)).toBe("written\n");
  expect(await answerWith(0)).toBe("written\n");
  await child.stdin.end();
  expect(await child.exited).toBe(0);
});

test("a fault of the database is told by its kind", () => {
  codesOf([creation("a")]);
  const faultOf = (db: Database, query: string): unknown => {
    try {
      db.query(query).all();
      return null;
    } catch (error) {
      return storeFault(error);
    }
  };
  expect(faultOf(reader, "SELECT * FROM missing")).toMatchObject({ code: "internal" });
  const noDatabase = join(folder, "text.db");
  writeFileSync(noDatabase, "no database, but long enough for a header".repeat(30));
  const text = new Database(noDatabase);
  expect(faultOf(text, "SELECT 1 FROM t")).toMatchObject({ code: "corrupt", transient: false });
  text.close(true);
  const readOnly = new Database(path, { readonly: true });
  expect(faultOf(readOnly, "DELETE FROM agent RETURNING id")).toMatchObject({
    code: "unavailable",
    transient: true,
    message: expect.stringContaining("read-only"),
  });
  readOnly.close(true);
});
