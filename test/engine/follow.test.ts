import { expect, test } from "bun:test";
import type { Event } from "../../src/agent/event.ts";
import { fold } from "../../src/agent/fold.ts";
import { openFollower } from "../../src/engine/follow.ts";
import { storeLimits } from "../../src/limits.ts";
import { openMemoryStore } from "../../src/store/memory.ts";
import type { Store } from "../../src/store/store.ts";
import { born, callAfter, logged, paused, said, spoke, startMs } from "../support/events.ts";
import { holder } from "../support/stores.ts";
import { makeManualClock } from "../support/manual-clock.ts";

const agentId = "a";
const wish = { worker: "w", untilMs: startMs + 60_000 };

/** An agent that a worker drives, with the means to write to it as the worker and as a client. */
const openAgent = async (store: Store) => {
  const events: Event[] = [born()];
  const { lease } = await store.create({
    agentId,
    atMs: startMs,
    nowMs: startMs,
    staged: 0,
    headHash: null,
    snapshot: false,
    events: [{ atMs: startMs, event: events[0]! }],
    state: fold(logged(events)),
    wakeAtMs: startMs,
    wish,
    request: null,
    moved: null,
  });
  const epoch = lease!.epoch;
  const append = async (event: Event, asWorker: boolean): Promise<void> => {
    const after = events.push(event) - 1;
    await store.append({
      agentId,
      after,
      atMs: startMs,
      nowMs: startMs,
      snapshot: false,
      events: [event],
      state: fold(logged(events)),
      epoch: asWorker ? epoch : null,
      leaseUntilMs: asWorker ? wish.untilMs : null,
      wakeAtMs: null,
      wish: null,
      dropDraft: asWorker,
    });
  };
  const write = (offset: number, content: string, after = 1): Promise<void> =>
    store.writeDraft(holder(agentId, epoch), callAfter(after), [{ kind: "text", offset, content }]);
  const stopping = new AbortController();
  const parts = { store, clock: makeManualClock(), stopping: stopping.signal };
  const follower = openFollower(parts, agentId, {
    after: 1,
    head: 1,
    deltas: true,
  });
  const taken = async (): Promise<readonly string[]> =>
    (await follower.take()).map((item) =>
      item.kind === "event"
        ? `${item.logged.sequence} ${item.logged.event.type}`
        : `${item.sequence} at ${item.piece.offset}: ${item.piece.content}`,
    );
  return { append, write, taken, follower, stop: () => stopping.abort() };
};

test("what was written before a pause is given before it, however late it is read", async () => {
  const { append, write, taken } = await openAgent(openMemoryStore(makeManualClock()));
  await write(0, "one ");
  expect(await taken()).toEqual(["1 at 0: one "]);
  await write(4, "two ");
  await append(paused(), false);
  expect(await taken()).toEqual(["1 at 4: two ", "2 AgentPaused"]);
  expect(await taken()).toEqual([]);
});

test("an answer that became whole before its last pieces were read is given to its end", async () => {
  const { append, write, taken } = await openAgent(openMemoryStore(makeManualClock()));
  await write(0, "one ");
  expect(await taken()).toEqual(["1 at 0: one "]);
  await write(4, "two ");
  await append(said("joins"), false);
  await append(spoke("one two three", 1), true);
  expect(await taken()).toEqual(["2 MessageReceived", "2 at 4: two three", "3 ModelSpoke"]);
});

test("when the engine stops, what it did is given, and then the end", async () => {
  const { append, write, taken, follower, stop } = await openAgent(
    openMemoryStore(makeManualClock()),
  );
  await append(said("joins"), false);
  expect(await taken()).toEqual(["2 MessageReceived"]);
  expect(await taken()).toEqual([]);
  const waited = follower.wait(60_000);
  stop();
  expect(await waited).toBe(true);
  await write(0, "one ");
  expect(await taken()).toEqual(["2 at 0: one "]);
  await expect(taken()).rejects.toMatchObject({ code: "unavailable" });
});

test("an answer of many pages is given to its end, though nobody tells of it again", async () => {
  const { write, taken } = await openAgent(openMemoryStore(makeManualClock()));
  const pieces = 2 * storeLimits.readEventsMax + 1;
  for (let at = 0; at < pieces; at++) await write(at, ".");
  const given: string[] = [];
  for (let more = true; more;) {
    const some = await taken();
    given.push(...some);
    more = some.length > 0;
  }
  expect(given).toEqual(Array.from({ length: pieces }, (_, at) => `1 at ${at}: .`));
});

test("an answer that is begun behind an event is given behind it, whenever it is told of", async () => {
  const { append, write, taken } = await openAgent(openMemoryStore(makeManualClock()));
  await append(said("joins"), false);
  await write(0, "one ", 2);
  expect(await taken()).toEqual(["2 MessageReceived"]);
  expect(await taken()).toEqual(["2 at 0: one "]);
  await append(said("joins too"), false);
  expect(await taken()).toEqual(["3 MessageReceived"]);
  await write(4, "two ", 2);
  expect(await taken()).toEqual(["3 at 4: two "]);
});

test("what nobody has told of yet is given in its order too", async () => {
  const store = openMemoryStore(makeManualClock());
  const { append, write, taken } = await openAgent({ ...store, follow: () => () => {} });
  await append(said("joins"), false);
  expect(await taken()).toEqual(["2 MessageReceived"]);
  await write(0, "one ", 2);
  await append(paused(), false);
  expect(await taken()).toEqual(["2 at 0: one ", "3 AgentPaused"]);
});

test("for one change the answer is looked for once", async () => {
  const store = openMemoryStore(makeManualClock());
  let looks = 0;
  const { append, taken } = await openAgent({
    ...store,
    readDraft: (...args) => {
      looks++;
      return store.readDraft(...args);
    },
  });
  await append(said("joins"), false);
  expect(await taken()).toEqual(["2 MessageReceived"]);
  expect(await taken()).toEqual([]);
  expect(looks).toBe(1);
});
