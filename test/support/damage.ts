import type { Database } from "bun:sqlite";
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { LoggedEvent } from "../../src/agent/event.ts";
import { fold } from "../../src/agent/fold.ts";
import { systemClock } from "../../src/clock.ts";
import { EngramError, messageOf } from "../../src/errors.ts";
import { faultsOf } from "../../src/store/sqlite/audit/store.ts";
import { openAudit } from "../../src/store/sqlite/audit/audit.ts";
import { brokenPromise } from "../../src/store/sqlite/identity.ts";
import { openReadOnly } from "../../src/store/sqlite/open-readonly.ts";
import { formatOf } from "../../src/store/sqlite/schema.ts";
import { openSqliteStore } from "../../src/store/sqlite/sqlite.ts";
import type { Store } from "../../src/store/store.ts";
import { born, callAfter, requested, returned, said, spoke } from "./events.ts";
import { startInline } from "./inline-writer.ts";
import { appendTo, creationOf, holder, readAll } from "./stores.ts";

/** The agents of the sample, in the order of their ids; the last is one of two pages. */
export const agentIds = ["alpha", "bravo", "charlie", "delta", "echo"] as const;
const deletedId = "zulu";

/** In memory where the machine has such a file system. */
export const scratch = (): string =>
  mkdtempSync(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "engram-damage-"));

export type Logged = { readonly level: string; readonly message: string };

export function openStore(folder: string, logs: Logged[] = [], acceptDataLoss = false): Store {
  return openSqliteStore(folder, {
    clock: systemClock,
    log: (level, message, fields) =>
      logs.push({ level, message: `${message} ${JSON.stringify(fields)}` }),
    startThread: startInline,
    acceptDataLoss,
  });
}

const words = (count: number): string => Array.from({ length: count }, (_, n) => `w${n}`).join(" ");

/** A store with something in every table. */
async function fill(store: Store): Promise<void> {
  for (const [index, agentId] of agentIds.entries()) {
    const request = { requestId: `request ${agentId}`, digest: `digest ${agentId}` };
    await store.create(
      creationOf(agentId, [born({ waitForInput: true }, { goal: `goal of ${agentId}` })], {
        request,
      }),
    );
    for (let turn = 0; turn < 4 + index; turn++) {
      const { length } = await readAll(store, agentId);
      const key = { messageId: `m${turn}`, digest: `d${turn}` };
      const snapshot = turn === 2;
      await appendTo(store, agentId, [said(`question ${turn} ${words(9)}`, key)], { snapshot });
      await appendTo(store, agentId, [spoke(`answer ${turn} ${words(30)}`, length + 1)]);
    }
  }
  const { length } = await readAll(store, "bravo");
  const used = [said("use a tool"), requested("call_1", length + 1), returned("call_1")];
  await appendTo(store, "bravo", used, { wakeAtMs: 0 });
  await store.create(creationOf(deletedId, [born()]));
  await store.remove(deletedId, 77, true);
  await draft(store, "alpha");
  await draft(store, "delta");
}

/** Leaves the first events of an agent that is still to be made. */
async function putAside(store: Store): Promise<void> {
  const events = [
    born(),
    ...["x", "y"].map((id) => said(id, { messageId: id, digest: `of ${id}` })),
  ];
  await store.stage("yankee", 0, creationOf("yankee", events).events, store.nowMs());
}

/** Leaves an answer half written. */
async function draft(store: Store, agentId: string): Promise<void> {
  await appendTo(store, agentId, [said("tell me more")], { wakeAtMs: 0 });
  const leases = await store.claim({ worker: "w", untilMs: 1e15 }, 1, 9);
  const lease = leases.find((one) => one.agentId === agentId);
  if (lease === undefined) throw new Error(`nobody drives ${agentId}`);
  const call = callAfter((await readAll(store, agentId)).length);
  let offset = 0;
  for (let n = 0; n < 12; n++) {
    const content = `piece ${n} of ${agentId} `;
    await store.writeDraft(holder(agentId, lease.epoch), call, [{ kind: "text", offset, content }]);
    offset += Buffer.byteLength(content);
  }
}

/** A folder of a store that was closed (`data`), and one as a kill leaves it, its newest commits in the log (`killed`). */
export async function makeSamples(): Promise<{ readonly data: string; readonly killed: string }> {
  const top = scratch();
  const [data, killed] = [join(top, "data"), join(top, "killed")];
  const store = openStore(data);
  await fill(store);
  await store.close();
  const again = openStore(data);
  for (const agentId of agentIds)
    await appendTo(again, agentId, [said(`late to ${agentId}`)], { wakeAtMs: 1e15 });
  await putAside(again);
  mkdirSync(killed);
  copyStore(data, killed);
  await again.close();
  return { data, killed };
}

/** What of a store is copied; not its lock, nor its shared memory. */
export function copyStore(from: string, to: string): void {
  mkdirSync(to, { recursive: true });
  for (const name of ["engram.db", "engram.db-wal", "engram.high-water"])
    if (existsSync(join(from, name))) cpSync(join(from, name), join(to, name));
    else rmSync(join(to, name), { force: true });
  for (const name of ["engram.db-shm", "lock.db"]) rmSync(join(to, name), { force: true });
}

/** What `engram verify` finds. */
export function verified(folder: string): readonly string[] {
  const path = join(folder, "engram.db");
  const faults: string[] = [];
  let db: Database | null = null;
  try {
    const broken = brokenPromise(path);
    if (broken !== null) faults.push(broken);
    db = openReadOnly(path);
    const format = formatOf(db, path);
    try {
      const audit = openAudit(db, format, true);
      let after = 0;
      for (let page = audit.agents(after); page.length > 0; page = audit.agents(after))
        for (const agent of page) {
          const walk = audit.agent(agent);
          let next = walk.next();
          while (next.done !== true) next = walk.next();
          if (next.value !== null) faults.push(`agent ${agent.agentId}: ${next.value}`);
          after = agent.id;
        }
      audit.close();
    } catch (error) {
      faults.push(messageOf(error));
    }
    faults.push(...faultsOf(db, format));
  } catch (error) {
    faults.push(messageOf(error));
  }
  db?.close(true);
  return faults;
}

/** All that stands in the tables, but for what an engine sets anew and no client sees. */
export function contents(folder: string): string {
  const db = openReadOnly(join(folder, "engram.db"));
  try {
    const texts = [
      "SELECT * FROM event",
      "SELECT * FROM draft_piece",
      "SELECT * FROM mark",
      "SELECT * FROM snapshot",
      "SELECT * FROM tombstone",
      "SELECT * FROM staged",
      "SELECT * FROM store",
      "SELECT * FROM agent",
    ];
    const ignored = ["wake", "lease_until"];
    return JSON.stringify(
      texts.map((text) =>
        db
          .query<Record<string, unknown>, []>(text)
          .all()
          .map((row) =>
            Object.entries(row)
              // The number of an event's row is nobody's business.
              .filter(([name]) => !ignored.includes(name) && !(name === "id" && "body" in row))
              .map(([name, value]) => [
                name,
                value instanceof Uint8Array ? Buffer.from(value).toString("hex") : value,
              ]),
          )
          .map((row) => JSON.stringify(row))
          .toSorted(),
      ),
    );
  } finally {
    db.close(true);
  }
}

/** What a client can see of one agent, part by part; a part that is refused is its error's code. */
export type Seen = Readonly<Record<string, string>>;

async function logBehind(
  store: Readable,
  agentId: string,
  after: number,
): Promise<readonly LoggedEvent[]> {
  const log: LoggedEvent[] = [];
  for (;;) {
    const page = await store.read(agentId, after + log.length);
    if (page.length === 0) return log;
    log.push(...page);
  }
}

const codeOf = (error: unknown): string =>
  error instanceof EngramError ? `refused: ${error.code}` : `bug: ${messageOf(error)}`;

const part = async (look: () => Promise<unknown>): Promise<string> => {
  try {
    return JSON.stringify(await look());
  } catch (error) {
    return codeOf(error);
  }
};

/** What of a store only reads. */
export type Readable = Pick<Store, "row" | "list" | "read" | "readDraft" | "marks" | "snapshot">;

export async function seenOf(store: Readable, agentId: string): Promise<Seen> {
  return {
    row: await part(async () => ({ ...(await store.row(agentId, 0)), status: "" })),
    log: await part(() => logBehind(store, agentId, 0)),
    draft: await part(() => store.readDraft(agentId, 0)),
    laterDraft: await part(() => store.readDraft(agentId, 5)),
    marks: await part(async () => [
      ...(await store.marks(agentId, ["message m0", "message m1", "message m2", "message m3"])),
    ]),
    state: await part(async () => {
      const state = await store.snapshot(agentId);
      const rest = await logBehind(store, agentId, state?.sequence ?? 0);
      return rest.length === 0 ? state : fold(rest, state);
    }),
  };
}
