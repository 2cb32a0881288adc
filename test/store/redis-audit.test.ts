import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { systemClock } from "../../src/clock.ts";
import { readRedisUrl } from "../../src/store/redis/address.ts";
import { auditAgent } from "../../src/store/redis/audit/agent.ts";
import { openReader, type Reader } from "../../src/store/redis/audit/reader.ts";
import type { Lease, Store } from "../../src/store/store.ts";
import { born, callAfter, said, spoke } from "../support/events.ts";
import { openAt, ownPrefix, sharedRedis, urlOf } from "../support/redis-stores.ts";
import { appendTo, creationOf, holder } from "../support/stores.ts";

setDefaultTimeout(60_000);

const prefix = ownPrefix();
let store: Store;
let reader: Reader;
beforeAll(async () => {
  const url = urlOf(await sharedRedis());
  store = await openAt(url, prefix);
  reader = openReader({ place: readRedisUrl(url), ca: null, prefix, clock: systemClock });
});
afterAll(async () => {
  reader.close();
  await store.close();
});

type Work = { readonly agentId: string; readonly lease: Lease };

/** An agent that a worker has, with a draft of two pages. */
async function working(): Promise<Work> {
  const agentId = Bun.randomUUIDv7();
  const request = { requestId: agentId, digest: "d" };
  await store.create(creationOf(agentId, [born({ waitForInput: true })], { request }));
  const nowMs = store.nowMs();
  const wish = { worker: "w", untilMs: nowMs + 60_000 };
  const key = { messageId: "m", digest: "d" };
  const lease = await appendTo(store, agentId, [said("hello", key)], {
    nowMs,
    wakeAtMs: nowMs,
    wish,
    snapshot: true,
  });
  if (lease === null) throw new Error("nobody has it");
  const pieces = Array.from({ length: 300 }, (_, offset) => piece(offset));
  await store.writeDraft(holder(agentId, lease.epoch), callAfter(2), pieces);
  return { agentId, lease };
}

const piece = (offset: number) => ({ kind: "text", offset, content: "x" }) as const;

/** What may happen while an agent is looked at. */
const changes: Readonly<Record<string, (work: Work) => Promise<unknown>>> = {
  "its draft grows": ({ agentId, lease }) =>
    store.writeDraft(holder(agentId, lease.epoch), callAfter(2), [piece(300), piece(301)]),
  "its answer is done, and it rests": ({ agentId, lease }) =>
    appendTo(store, agentId, [spoke("x".repeat(300), 2)], {
      epoch: lease.epoch,
      dropDraft: true,
      snapshot: true,
    }),
  "a client says more": ({ agentId }) =>
    appendTo(store, agentId, [said("more", { messageId: "n", digest: "d" })], {
      nowMs: store.nowMs(),
      wakeAtMs: store.nowMs(),
    }),
  "its worker lets go": ({ agentId, lease }) =>
    store.release(holder(agentId, lease.epoch), null, store.nowMs()),
  "its lease is lengthened": ({ agentId, lease }) =>
    store.renew([holder(agentId, lease.epoch)], store.nowMs() + 90_000),
  "it is removed": ({ agentId }) => store.remove(agentId, 1, true),
};

/** Sends one command after the other, and does something before one of them; `sent` counts them. */
function interrupted(at: number, change: () => Promise<unknown>) {
  let sent = 0;
  let line: Promise<unknown> = Promise.resolve();
  const ask: Reader["ask"] = (shard, ...command) => {
    const send = async (): Promise<unknown> => {
      if (++sent === at) await change();
      return reader.ask(shard, ...command);
    };
    const answer = line.then(send);
    line = answer.catch(() => undefined);
    return answer;
  };
  return { reader: { ...reader, ask }, sent: () => sent };
}

test.each(Object.entries(changes))(
  "is no fault wherever a look falls: %s",
  async (_what, change) => {
    const faults: string[] = [];
    for (let at = 1; ; at++) {
      const work = await working();
      const slow = interrupted(at, () => change(work));
      const fault = await auditAgent(slow.reader, work.agentId, () => {});
      if (fault !== null) faults.push(`before command ${at}: ${fault}`);
      if (slow.sent() < at) break;
    }
    expect(faults).toEqual([]);
  },
);
