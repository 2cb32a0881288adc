import { expect, test } from "bun:test";
import fc from "fast-check";
import type { Event, LoggedEvent } from "../../src/agent/event.ts";
import { fold } from "../../src/agent/fold.ts";
import { messageKey } from "../../src/agent/mark.ts";
import { type AgentState, isStatus, statusOf } from "../../src/agent/state.ts";
import { systemClock } from "../../src/clock.ts";
import { EngramError } from "../../src/errors.ts";
import { openMemoryStore } from "../../src/store/memory.ts";
import type { Append, DraftPiece, Lease, Store } from "../../src/store/store.ts";
import { anyText, born, callAfter, said } from "../support/events.ts";
import { backends, readAll } from "../support/stores.ts";
import { seeded } from "../support/seed.ts";

const kinds = [
  "create",
  "stage",
  "append",
  "draft",
  "claim",
  "renew",
  "release",
  "remove",
  "list",
  "row",
  "tally",
  "next",
  "readDraft",
  "read",
  "marks",
  "snapshot",
] as const;
const markKeys = ["m0", "m1", "m2"].map(messageKey);
const often = ["append", "append", "append", "draft", "claim"] as const;

/** One operation; what its numbers mean depends on its kind. */
const anyOperation = fc.record({
  kind: fc.constantFrom(...kinds, ...often),
  agent: fc.nat({ max: 2 }),
  n: fc.nat({ max: 9999 }),
  flags: fc.nat({ max: 31 }),
  gapMs: fc.nat({ max: 60 }),
  text: anyText,
});
type Operation = typeof anyOperation extends fc.Arbitrary<infer T> ? T : never;

type World = {
  readonly store: Store;
  /** Of the three agents that the operations are about. */
  readonly ids: string[];
  readonly leases: Lease[];
  readonly logs: Map<string, readonly LoggedEvent[]>;
  /** What stands aside for those that are not there. */
  readonly aside: Map<string, readonly LoggedEvent[]>;
};

const outcomeOf = async (run: () => Promise<unknown>): Promise<unknown> => {
  try {
    return await run();
  } catch (error) {
    if (error instanceof EngramError) return `refused: ${error.code}`;
    throw error;
  }
};

const flag = ({ flags }: Operation, bit: number): boolean => (flags & (1 << bit)) !== 0;

/** An event that can stand there; the store takes only the state from it. */
function eventFor(state: AgentState, { n, text }: Operation): Event {
  const next = state.sequence + 1;
  const known = state.sequence - (n % state.sequence);
  const head = {
    call: callAfter(known),
    usage: { promptTokens: n % 7, completionTokens: 1 },
  };
  const callId = `call_${next}`;
  const { metadata, ...spec } = state.spec;
  const events: readonly Event[] = [
    said(text),
    { type: "ModelSpoke", head, content: text },
    { type: "AgentPaused", key: { messageId: `m${n % 3}`, digest: text }, reason: text },
    { type: "AgentResumed", key: null },
    { type: "Observed", content: text },
    {
      type: "ToolRequested",
      head,
      callId,
      name: "echo",
      inputJson: text,
      requiresConfirmation: true,
    },
    { type: "TurnFailed", code: "INTERNAL", message: text },
    { type: "AgentRetried", key: null },
    {
      type: "AgentEdited",
      key: null,
      spec: { ...spec, metadata: { ...metadata, k: text } },
      description: text,
    },
  ];
  return events[n % events.length]!;
}

const idOf = ({ ids }: World, agent: number): string => ids[agent] ?? "a00";

/** A deleted agent's place is taken by another. Ids rise like those of real agents, so that equals have one order everywhere. */
function newIdOf(world: World, agent: number): string {
  if (world.logs.has(idOf(world, agent))) return idOf(world, agent);
  const last = world.ids.toSorted((a, b) => (a < b ? 1 : -1))[0] ?? "a00";
  const next = `a${`${Number(last.slice(1)) + 1}`.padStart(2, "0")}`;
  world.ids[agent] = next;
  return next;
}

async function appendIn(world: World, operation: Operation, nowMs: number): Promise<unknown> {
  const { n, agent } = operation;
  const agentId = idOf(world, agent);
  const log = world.logs.get(agentId) ?? [{ sequence: 1, atMs: 0, event: born() }];
  // Sometimes of one event ago, as a writer that has not read the last.
  const known = flag(operation, 0) && flag(operation, 1) ? log.slice(0, -1) : log;
  if (known.length === 0) return "nothing known";
  const state = fold(known);
  const event = eventFor(state, operation);
  const lease = world.leases.findLast((it) => it.agentId === agentId);
  const stale = flag(operation, 2) && flag(operation, 3) ? 1 : 0;
  const epoch = flag(operation, 4) && lease !== undefined ? lease.epoch - stale : null;
  const after = fold([{ sequence: known.length + 1, atMs: nowMs, event }], state);
  const working = statusOf(after) === "waiting_for_step";
  const append: Append = {
    agentId,
    after: known.length,
    atMs: nowMs,
    nowMs,
    snapshot: flag(operation, 4),
    events: [event],
    state: after,
    epoch,
    leaseUntilMs: flag(operation, 1) ? nowMs + 50 : null,
    wakeAtMs: working ? nowMs + (n % 3) * 20 : null,
    wish: epoch === null && flag(operation, 2) ? { worker: "w", untilMs: nowMs + 50 } : null,
    dropDraft: flag(operation, 3),
  };
  const granted = await world.store.append(append);
  if (granted !== null) world.leases.push(granted);
  return granted;
}

async function stageIn(world: World, operation: Operation, nowMs: number): Promise<unknown> {
  const agentId = idOf(world, operation.agent);
  const aside = world.aside.get(agentId) ?? [];
  // Sometimes of one event ago, as who does not know that it is there.
  const known = flag(operation, 0) && flag(operation, 1) ? aside.slice(0, -1) : aside;
  const event = known.length === 0 ? born() : eventFor(fold(known), operation);
  await world.store.stage(agentId, known.length, [{ atMs: nowMs, event }], nowMs);
  world.aside.set(agentId, [...known, { sequence: known.length + 1, atMs: nowMs, event }]);
  return "done";
}

async function createIn(world: World, operation: Operation, nowMs: number): Promise<unknown> {
  const { n, agent } = operation;
  const agentId = newIdOf(world, agent);
  const aside = (flag(operation, 4) ? world.aside.get(agentId) : undefined) ?? [];
  const event =
    aside.length === 0
      ? born({ waitForInput: flag(operation, 0) })
      : eventFor(fold(aside), operation);
  // What stands aside may be all of it.
  const behind = aside.length > 0 && n % 2 === 0 ? [] : [event];
  const sequence = aside.length + 1;
  const state = fold([...aside, ...behind.map((it) => ({ sequence, atMs: nowMs, event: it }))]);
  const answer = await world.store.create({
    agentId,
    atMs: nowMs,
    nowMs,
    staged: aside.length,
    headHash: null,
    snapshot: flag(operation, 3),
    events: behind.map((it) => ({ atMs: nowMs, event: it })),
    state,
    wakeAtMs: statusOf(state) === "waiting_for_step" ? nowMs + (n % 2) * 10 : null,
    wish: flag(operation, 1) ? { worker: "w", untilMs: nowMs + 50 } : null,
    request: flag(operation, 2)
      ? { requestId: `r${n % 3}`, digest: flag(operation, 3) ? "d" : "e" }
      : null,
    moved: null,
  });
  if (answer.lease !== null) world.leases.push(answer.lease);
  if (answer.created) world.aside.delete(agentId);
  return answer;
}

async function performIn(world: World, operation: Operation, nowMs: number): Promise<unknown> {
  const { store, leases } = world;
  const { kind, agent, n, text } = operation;
  const agentId = idOf(world, agent);
  const lease = leases.length === 0 ? undefined : leases[leases.length - 1 - (n % leases.length)];
  switch (kind) {
    case "create":
      return createIn(world, operation, nowMs);
    case "stage":
      return stageIn(world, operation, nowMs);
    case "append":
      return appendIn(world, operation, nowMs);
    case "draft": {
      const call = callAfter(n % 3, { continuedLength: n % 5 });
      const pieces: readonly DraftPiece[] = [
        { kind: "text", offset: n, content: text },
        { kind: "thinking", offset: 0, content: "" },
      ];
      const held = leases.findLast((it) => it.agentId === agentId)?.epoch ?? 0;
      const epoch = flag(operation, 0) && flag(operation, 1) ? held - 1 : held;
      return store.writeDraft({ agentId, epoch, workedMs: n % 50 }, call, pieces.slice(n % 2));
    }
    case "claim": {
      const granted = await store.claim({ worker: "w", untilMs: nowMs + 50 }, nowMs, n % 4);
      leases.push(...granted);
      return granted;
    }
    case "renew":
      return store.renew(
        leases.slice(-1 - (n % 3)).map((it) => ({ ...it, workedMs: n })),
        nowMs + 70,
      );
    case "release":
      return lease && store.release(lease, flag(operation, 0) ? n % 6 : null, n % 2 ? nowMs : null);
    case "remove":
      return n % 3 === 0 ? store.remove(agentId, nowMs, flag(operation, 0)) : "left";
    case "list": {
      const words = ["waiting_for_step", "processing", "paused", "failed", "waiting_for_input"];
      const word = words[n % 7] ?? "";
      const status = isStatus(word) ? word : null;
      return store.list({ status, limit: n % 4, beforeAgentId: n % 2 ? agentId : null }, nowMs);
    }
    case "row":
      return store.row(agentId, nowMs);
    case "tally":
      return store.tally(nowMs);
    case "next":
      return store.nextWakeMs();
    case "readDraft":
      return store.readDraft(agentId, n % 4);
    case "marks":
      return [...(await store.marks(agentId, markKeys)).values()];
    case "snapshot":
      return store.snapshot(agentId);
    case "read":
      return store.read(agentId, n % 9);
  }
}

/** All that can be read of a store. */
async function readableOf({ store }: World, nowMs: number): Promise<unknown> {
  const rows = await store.list({ status: null, limit: 9, beforeAgentId: null }, nowMs);
  const agents = rows.map(async ({ agentId }) => ({
    log: await readAll(store, agentId),
    draft: await store.readDraft(agentId, 0),
    marks: [...(await store.marks(agentId, markKeys)).values()],
    snapshot: await store.snapshot(agentId),
  }));
  const [tally, next] = [await store.tally(nowMs), await store.nextWakeMs()];
  return { rows, agents: await Promise.all(agents), tally, next };
}

const worldOf = (store: Store): World => ({
  store,
  ids: ["a00", "a01", "a02"],
  leases: [],
  logs: new Map(),
  aside: new Map(),
});

const others = backends.filter(({ name }) => name !== "memory");

test.each(others)(
  "any operations do the same on $name as in memory",
  async ({ fixture }) => {
    const seen = new Set<string>();
    await fc.assert(
      fc.asyncProperty(
        fc.array(anyOperation, { minLength: 10, maxLength: 80, size: "max" }),
        async (operations) => {
          const place = fixture();
          const plain = worldOf(openMemoryStore(systemClock));
          const real = worldOf(place.open());
          try {
            let nowMs = 0;
            for (const operation of operations) {
              nowMs += operation.gapMs;
              const expected = await outcomeOf(() => performIn(plain, operation, nowMs));
              const result = await outcomeOf(() => performIn(real, operation, nowMs));
              expect(result, operation.kind).toEqual(expected as object);
              seen.add(`${operation.kind} ${typeof expected === "string" ? expected : "done"}`);
              await rememberLogs(plain, real);
            }
            expect(await readableOf(real, nowMs)).toEqual(
              (await readableOf(plain, nowMs)) as object,
            );
          } finally {
            await real.store.close();
            place.drop();
          }
        },
      ),
      seeded(50),
    );
    const refusals = [
      "append refused: conflict",
      "append refused: fenced",
      "draft refused: fenced",
    ];
    const moreRefusals = [
      "create refused: already_exists",
      "stage refused: conflict",
      "remove refused: failed_precondition",
    ];
    const rest = ["draft refused: conflict", "append refused: not_found", "draft done"];
    for (const kind of [...kinds.map((it) => `${it} done`), ...refusals, ...moreRefusals, ...rest])
      expect(seen).toContain(kind);
  },
  60_000,
);

/** The next appends go behind what was read, in both alike. */
async function rememberLogs(...worlds: readonly World[]): Promise<void> {
  for (const { store, ids, logs } of worlds)
    for (const agentId of ids)
      if ((await store.row(agentId, 0)) === null) logs.delete(agentId);
      else logs.set(agentId, await readAll(store, agentId));
}
