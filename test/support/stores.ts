import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Event, LoggedEvent } from "../../src/agent/event.ts";
import { type Clock, systemClock } from "../../src/clock.ts";
import { fold } from "../../src/agent/fold.ts";
import { openMemoryStore } from "../../src/store/memory.ts";
import { type SqliteParts, openSqliteStore } from "../../src/store/sqlite/sqlite.ts";
import { startThread, type WriterThread } from "../../src/store/sqlite/worker.ts";
import type { Append, Creation, Holder, Store } from "../../src/store/store.ts";
import { logged } from "./events.ts";
import { redisFixture, sharedCluster, sharedRedis } from "./redis-stores.ts";

/** A place for a store, and what is opened there. */
export type Fixture = {
  /** Opens the store, again after a close; memory has nothing to open again and keeps what it holds. */
  open(): Store;
  drop(): void;
};

export type Backend = {
  readonly name: string;
  readonly fixture: (clock?: Clock) => Fixture;
};

/**
 * `expect(…).rejects` turns the event loop itself. Called while the thread's message is being taken in, it would wait for
 * the next one for ever; so what comes of a message comes a turn later here.
 */
const startTestThread = (path: string): WriterThread => {
  const thread = startThread(path);
  return {
    ...thread,
    commit: async (writes) => {
      try {
        return await thread.commit(writes);
      } finally {
        await nextTurn();
      }
    },
  };
};

/** As an engine opens it, without its log. */
export const sqliteParts: SqliteParts = {
  clock: systemClock,
  log: () => {},
  startThread: startTestThread,
};

/** A folder of its own for each call, removed by `drop`. */
export function folderFixture(clock: Clock = systemClock): Fixture & { readonly folder: string } {
  const folder = mkdtempSync(join(tmpdir(), "engram-store-"));
  return {
    folder,
    open: () => openSqliteStore(folder, { ...sqliteParts, clock }),
    drop: () => rmSync(folder, { recursive: true }),
  };
}

export const backends: readonly Backend[] = [
  {
    name: "memory",
    fixture: (clock = systemClock) => {
      const store = openMemoryStore(clock);
      return { open: () => store, drop: () => undefined };
    },
  },
  { name: "sqlite", fixture: folderFixture },
  {
    name: "redis",
    fixture: (clock) => redisFixture(async () => [await sharedRedis()], clock),
  },
  { name: "redis cluster", fixture: (clock) => redisFixture(sharedCluster, clock) },
];

/** A creation with these first events, one each second, that nobody wishes to drive. */
export function creationOf(
  agentId: string,
  events: readonly Event[],
  over: Partial<Creation> = {},
): Creation {
  const log = logged(events);
  return {
    agentId,
    atMs: log.at(-1)?.atMs ?? 0,
    nowMs: over.atMs ?? log.at(-1)?.atMs ?? 0,
    staged: 0,
    events: log.map(({ atMs, event }) => ({ atMs, event })),
    headHash: null,
    state: fold(log),
    snapshot: false,
    wakeAtMs: null,
    wish: null,
    request: null,
    moved: null,
    ...over,
  };
}

/** A creation with these events, the first of which stand aside. */
export function takingOver(
  agentId: string,
  staged: number,
  events: readonly Event[],
  over: Partial<Creation> = {},
): Creation {
  const whole = creationOf(agentId, events);
  return { ...whole, staged, events: whole.events.slice(staged), ...over };
}

/** A command's append behind `log`, which changes nothing but the log. */
export function appendOf(
  agentId: string,
  log: readonly LoggedEvent[],
  events: readonly Event[],
  over: Partial<Append> = {},
): Append {
  const after = log.length;
  const more = logged(events, after);
  const atMs = over.atMs ?? more.at(-1)?.atMs ?? 0;
  const timed = more.map((it) => ({ ...it, atMs }));
  return {
    agentId,
    after,
    atMs,
    nowMs: atMs,
    events,
    snapshot: false,
    state: fold([...log, ...timed]),
    epoch: null,
    leaseUntilMs: null,
    wakeAtMs: null,
    wish: null,
    dropDraft: false,
    ...over,
  };
}

/** The whole log, page by page. */
export async function readAll(store: Store, agentId: string): Promise<readonly LoggedEvent[]> {
  const log: LoggedEvent[] = [];
  for (;;) {
    const page = await store.read(agentId, log.length);
    if (page.length === 0) return log;
    log.push(...page);
  }
}

/** Appends behind what the store holds now. */
export async function appendTo(
  store: Store,
  agentId: string,
  events: readonly Event[],
  over: Partial<Append> = {},
): ReturnType<Store["append"]> {
  return store.append(appendOf(agentId, await readAll(store, agentId), events, over));
}

/** A worker's hold on an agent, with nothing worked. */
export const holder = (agentId: string, epoch: number): Holder => ({
  agentId,
  epoch,
  workedMs: 0,
});
