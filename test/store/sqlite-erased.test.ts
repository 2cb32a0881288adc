import { afterEach, beforeEach, expect, test } from "bun:test";
import { Database } from "bun:sqlite";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { storeLimits } from "../../src/limits.ts";
import { makeCommitter } from "../../src/store/sqlite/commit.ts";
import type { Store } from "../../src/store/store.ts";
import { born, callAfter, said } from "../support/events.ts";
import { creationOf, folderFixture, holder, appendTo } from "../support/stores.ts";

let place: ReturnType<typeof folderFixture>;
let store: Store;
beforeEach(() => {
  place = folderFixture();
  store = place.open();
});
afterEach(async () => {
  await store.close();
  place.drop();
});

const secret = "ZEBRASECRET";

const filesWithSecret = (): readonly string[] =>
  readdirSync(place.folder).filter((name) =>
    readFileSync(join(place.folder, name)).includes(secret),
  );

type Counts = { readonly commits: number; readonly events: number; readonly aside: number };

const counts = (): Counts | null => {
  const db = new Database(join(place.folder, "engram.db"), { readonly: true });
  try {
    return db
      .query<Counts, []>(
        "SELECT commits, (SELECT count(*) FROM event) AS events, (SELECT count(*) FROM staged) AS aside FROM store",
      )
      .get();
  } finally {
    db.close();
  }
};

/** An agent whose every part has the secret: its log, marks, draft, snapshot and row. */
async function tell(agentId: string): Promise<void> {
  const goal = { ...born(), goal: `keep ${secret}`, metadata: { about: secret } };
  const wish = { worker: "w", untilMs: 1e15 };
  await store.create(creationOf(agentId, [goal], { wakeAtMs: 0, wish, snapshot: true }));
  const call = callAfter(1);
  const piece = { kind: "text", offset: 0, content: secret.repeat(500) } as const;
  await store.writeDraft(holder(agentId, 1), call, [piece]);
  const key = { messageId: `id of ${secret}`, digest: "d" };
  await appendTo(store, agentId, [said(secret.repeat(1_000), key)], { dropDraft: true });
}

test("of a deleted agent no text is left in the files behind a clean stop", async () => {
  await tell("a");
  expect(filesWithSecret()).not.toEqual([]);
  await store.remove("a", 1, true);
  await store.close();
  expect(filesWithSecret()).toEqual([]);
  store = place.open();
});

test("while the engine goes on, the write-ahead log is emptied of it in the next quiet moment", async () => {
  await tell("a");
  await store.close();
  const committer = makeCommitter(join(place.folder, "engram.db"));
  committer.commit([{ kind: "probe" }]);
  committer.commit([{ kind: "remove", agentId: "a", atMs: 1, force: true }]);
  committer.checkpoint();
  expect(filesWithSecret()).toEqual([]);
  expect(statSync(join(place.folder, "engram.db-wal")).size).toBe(0);
  committer.close();
  store = place.open();
});

test("a long log is removed page by page, and is gone when that is answered", async () => {
  const { stagedEventsMax, stagedBytesMax } = storeLimits;
  const log = [born(), ...Array.from({ length: 3 * stagedEventsMax }, () => said(secret))];
  await store.create(creationOf("a", log));
  const large = Array.from({ length: 5 }, () => said(secret.repeat(stagedBytesMax / 10)));
  await store.create(creationOf("b", [born(), ...large]));
  await store.create(creationOf("c", [born()]));
  const before = counts()?.commits ?? NaN;
  await store.remove("a", 1, true);
  await store.remove("b", 1, true);
  const { commits = NaN, ...left } = counts() ?? {};
  expect(left).toEqual({ events: 1, aside: 0 });
  expect(commits - before).toBeGreaterThan(5);
  expect((await store.read("c", 0)).length).toBe(1);
});

test("the files are their owner's alone, whatever the umask", async () => {
  await store.close();
  place.drop();
  const before = process.umask(0);
  try {
    place = folderFixture();
    store = place.open();
    await store.create(creationOf("a", [born()]));
    const modes = readdirSync(place.folder).map((name) => {
      const { mode } = statSync(join(place.folder, name));
      return [name, mode & 0o777] as const;
    });
    expect(modes.map(([name]) => name)).toContain("engram.db-wal");
    for (const [name, mode] of modes) expect([name, mode]).toEqual([name, 0o600]);
  } finally {
    process.umask(before);
  }
});
