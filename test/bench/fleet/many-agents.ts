import type { AgentSpec, Event } from "../../../src/agent/event.ts";
import { fold } from "../../../src/agent/fold.ts";
import type { Append, ListQuery, Store } from "../../../src/store/store.ts";
import { born, said } from "../../support/events.ts";
import { openAt } from "../../support/redis-stores.ts";
import type { RedisServer } from "../../support/redis-server.ts";
import type { Report } from "../report.ts";
import { digits, median } from "../samples.ts";

const counts = { few: 1_000, many: 100_000 } as const;
/** Of which one in ten has to be worked on. */
const dueEach = 10;
const writers = 64;
const appends = 20_000;

const spec: Partial<AgentSpec> = { goal: "Help the user to plan a trip.", model: "llama3.2" };
const waiting: Event = born({ waitForInput: true }, spec);
const working: Event = born({}, spec);

/** Runs `work` for each number below `count`, so many at once as there are writers; times a second. */
async function perSecond(count: number, work: (n: number) => Promise<unknown>): Promise<number> {
  let next = 0;
  const startMs = performance.now();
  const go = async (): Promise<void> => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: writers }, go));
  return (1000 * count) / (performance.now() - startMs);
}

/** Makes agents and gives their ids, in the order of their making. */
async function make(store: Store, count: number): Promise<{ ids: string[]; rate: number }> {
  const ids: string[] = [];
  const rate = await perSecond(count, (n) => {
    const agentId = Bun.randomUUIDv7();
    const event = n % dueEach === 0 ? working : waiting;
    const atMs = Date.now();
    const nowMs = store.nowMs();
    ids.push(agentId);
    return store.create({
      agentId,
      atMs,
      nowMs,
      staged: 0,
      headHash: null,
      snapshot: false,
      events: [{ atMs, event }],
      state: fold([{ sequence: 1, atMs, event }]),
      wakeAtMs: event === working ? nowMs : null,
      wish: null,
      request: null,
      moved: null,
    });
  });
  return { ids: ids.toSorted(), rate };
}

/** Says something to each of the first agents. */
function append(store: Store, ids: readonly string[]): Promise<number> {
  const first = fold([{ sequence: 1, atMs: 0, event: waiting }]);
  return perSecond(appends, (n) => {
    const event = said(`Where is it warm in March? ${n}`);
    const state = fold([{ sequence: 2, atMs: 0, event }], first);
    const command: Append = {
      agentId: ids[n] ?? "",
      after: 1,
      atMs: Date.now(),
      nowMs: store.nowMs(),
      events: [event],
      state,
      snapshot: false,
      epoch: null,
      leaseUntilMs: null,
      wakeAtMs: null,
      wish: null,
      dropDraft: false,
    };
    return store.append(command);
  });
}

type Cost = { readonly ms: readonly number[]; readonly holdMs: number };

const p50 = (found: Cost | undefined): number => median(found?.ms ?? []);

/** Calls it again and again; also for how long a call kept the event loop from everything else at the worst, the median of that. */
async function cost(times: number, call: () => Promise<unknown>): Promise<Cost> {
  const ms: number[] = [];
  const holds: number[] = [];
  for (let n = 0; n < times; n++) {
    let holdMs = 0;
    let turnMs = performance.now();
    let over = false;
    const turn = (): void => {
      holdMs = Math.max(holdMs, performance.now() - turnMs);
      turnMs = performance.now();
      if (!over) setImmediate(turn);
    };
    setImmediate(turn);
    const startMs = performance.now();
    await call();
    ms.push(performance.now() - startMs);
    over = true;
    await new Promise((resolve) => setImmediate(resolve));
    holds.push(holdMs);
  }
  return { ms, holdMs: median(holds) };
}

const asked = (store: Store, ids: readonly string[]) => {
  const list =
    (limit: number, over: Partial<ListQuery> = {}) =>
    () =>
      store.list({ status: null, limit, beforeAgentId: null, ...over }, store.nowMs());
  const middle = ids[ids.length >> 1] ?? null;
  return [
    { name: "list 50", times: 200, call: list(50) },
    { name: "list 1000", times: 20, call: list(1000) },
    { name: "list 50, half-way down", times: 200, call: list(50, { beforeAgentId: middle }) },
    { name: "list 50 that wait", times: 200, call: list(50, { status: "waiting_for_step" }) },
    { name: "list 50 that failed: none", times: 200, call: list(50, { status: "failed" }) },
    { name: "next wake time", times: 200, call: () => store.nextWakeMs() },
    {
      name: "claim 16, let go of each",
      times: 50,
      call: async () => {
        const nowMs = store.nowMs();
        const leases = await store.claim({ worker: "bench", untilMs: nowMs + 10_000 }, nowMs, 16);
        await Promise.all(leases.map((lease) => store.release(lease, null, nowMs)));
      },
    },
  ];
};

/** What the store on Redis does with 100,000 agents beside it with 1,000, called by one engine's code. */
export async function benchManyAgents(report: Report, redis: RedisServer): Promise<void> {
  const store = await openAt(`127.0.0.1:${redis.port}`, "many:");
  try {
    const few = await make(store, counts.few);
    const before: Cost[] = [];
    for (const { times, call } of asked(store, few.ids)) before.push(await cost(times, call));
    const startBytes = memoryOf(redis);
    const { ids, rate } = await make(store, counts.many - counts.few);
    const bytes = (memoryOf(redis) - startBytes) / ids.length;
    const after: Cost[] = [];
    const calls = asked(store, ids);
    for (const { times, call } of calls) after.push(await cost(times, call));
    const appendRate = await append(
      store,
      ids.filter((_, n) => n % dueEach !== 0),
    );
    report.table(
      ["p50 ms with this many agents", "1,000", "100,000", "longest hold of the event loop"],
      calls.map(({ name }, at) => [
        name,
        digits(p50(before[at])),
        digits(p50(after[at])),
        digits(after[at]?.holdMs ?? Number.NaN, 1),
      ]),
    );
    const growth = calls.map((_, at) => p50(after[at]) / p50(before[at]));
    report.goal({
      name: "the worst growth of these from 1,000 to 100,000 agents",
      figure: Math.max(...growth),
      atMost: 4,
      unit: "x",
    });
    report.goal({
      name: "the longest hold of the event loop",
      figure: Math.max(...after.map(({ holdMs }) => holdMs)),
      atMost: 5,
      unit: "ms",
    });
    report.table(
      [`with ${writers} at once`, ""],
      [
        ["agents made a second", digits(rate, 0)],
        ["messages recorded a second", digits(appendRate, 0)],
        ["bytes of Redis an agent with one event", digits(bytes, 0)],
      ],
    );
  } finally {
    await store.close();
  }
}

const memoryOf = (redis: RedisServer): number =>
  Number(/^used_memory:(\d+)/m.exec(redis.cli("info", "memory"))?.[1]);
