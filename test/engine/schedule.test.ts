import { describe, expect, test } from "bun:test";
import { EngramError } from "../../src/errors.ts";
import { statusOf } from "../../src/agent/state.ts";
import type { Store } from "../../src/store/store.ts";
import { born } from "../support/events.ts";
import { makeManualClock } from "../support/manual-clock.ts";
import { aborted, makePlayedModel } from "../support/played-model.ts";
import { quickBackends } from "../support/quick-stores.ts";
import {
  counting,
  echoing,
  leaseTtlMs,
  makeGate,
  openStage,
  quiet,
  unavailable,
  until,
} from "../support/stage.ts";
import { creationOf } from "../support/stores.ts";

const sqlite = quickBackends.find(({ name }) => name === "sqlite")!;

describe("waking", () => {
  const failing = (times: number, retryAfterMs?: number) =>
    makePlayedModel((_request, number) => ({
      text: ["done"],
      before: async () => {
        if (number > times) return;
        throw new EngramError("model_unavailable", "overloaded", {
          transient: true,
          ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
        });
      },
    }));

  test("comes when the back-off is over, and not before", async () => {
    const stage = openStage();
    const model = failing(3);
    const engine = stage.start({ model });
    const agentId = await stage.create(engine, "hello");
    for (const [attempt, leastMs] of [450, 900, 1800].entries()) {
      await quiet();
      expect(model.calls.length).toBe(attempt + 1);
      stage.clock.advance(leastMs - 1);
      await quiet();
      expect(model.calls.length).toBe(attempt + 1);
      stage.clock.advance(leastMs / 4);
    }
    await stage.untilSettled(agentId);
    expect(await stage.events(agentId)).toEqual([
      "AgentCreated",
      "ModelFailed",
      "ModelFailed",
      "ModelFailed",
      "ModelSpoke",
    ]);
    await engine.drain();
  });

  test("waits as long as the model's server asked", async () => {
    const stage = openStage();
    const model = failing(1, 60_000);
    const engine = stage.start({ model });
    const agentId = await stage.create(engine, "hello");
    await quiet();
    stage.clock.advance(59_999);
    await quiet();
    expect(model.calls.length).toBe(1);
    stage.clock.advance(1);
    await stage.untilSettled(agentId);
    await engine.drain();
  });

  test.each([
    ["six hours", 6, 6],
    ["a week, which is cut to a day", 168, 24],
  ])(
    "waits for %s over restarts and clocks that are set, no longer and not anew",
    async (_, asked, hours) => {
      const hourMs = 3_600_000;
      for (const setMs of [0, 24 * hourMs, -24 * hourMs]) {
        const clock = makeManualClock();
        const place = sqlite.fixture(clock);
        const model = failing(1, asked * hourMs);
        let stage = openStage(place.open, clock);
        let engine = stage.start({ model });
        const agentId = await stage.create(engine, "hello");
        await until("it has failed", async () => (await stage.events(agentId)).length === 2);
        for (let hour = 1; hour < hours; hour++) {
          clock.advance(hourMs);
          clock.jump(hour % 2 === 0 ? setMs : -setMs);
          await quiet();
          expect(model.calls.length).toBe(1);
          if (hour !== 3 || setMs !== 0) continue;
          await engine.drain();
          await stage.store.close();
          stage = openStage(place.open, clock);
          engine = stage.start({ model });
          await quiet();
        }
        clock.advance(hourMs - 1);
        await quiet();
        expect(model.calls.length).toBe(1);
        clock.advance(1);
        await stage.untilSettled(agentId);
        expect(model.calls.length).toBe(2);
        expect((await stage.state(agentId)).stats.workedMs).toBe(hours * hourMs);
        await engine.drain();
        await stage.store.close();
        place.drop();
      }
    },
  );

  test("ends after five attempts more", async () => {
    const stage = openStage();
    const model = failing(99);
    const engine = stage.start({ model });
    const agentId = await stage.create(engine, "hello");
    for (let attempt = 0; attempt < 9; attempt++) {
      await quiet();
      stage.clock.advance(60_000);
    }
    await stage.untilSettled(agentId);
    expect(model.calls.length).toBe(6);
    expect((await stage.state(agentId)).reason).toStartWith("MODEL_UNAVAILABLE");
    await engine.drain();
  });

  test("survives the engine, which may be idle when another dies with the agent", async () => {
    const stage = openStage();
    const idle = stage.start({ name: "idle" });
    await quiet();
    const other = openStage(() => stage.store).start({
      name: "other",
      model: failing(1),
      concurrency: 1,
    });
    const agentId = await stage.create(other, "hello");
    await quiet();
    stage.clock.advance(leaseTtlMs + 1);
    await stage.untilSettled(agentId);
    await Promise.all([idle.drain(), other.drain()]);
  });
});

test("who becomes due while a claim gives nothing is looked for at once", async () => {
  const stage = openStage();
  await stage.store.create(creationOf("a", [born()], { wakeAtMs: 0 }));
  let claims = 0;
  const engine = stage.start({
    store: {
      ...stage.store,
      claim: async (...args) => {
        if (claims++ > 0) return stage.store.claim(...args);
        await stage.store.create(creationOf("b", [born()], { wakeAtMs: 0 }));
        return [];
      },
    },
  });
  // No clock is moved: the creation was the hint.
  for (const agentId of ["a", "b"]) await stage.untilStatus(agentId, "waiting_for_input");
  await engine.drain();
});

describe("a store that is away", () => {
  /** Every operation fails while it is away. */
  const flaky = (store: Store) => {
    let away = false;
    const guarded =
      <A extends readonly unknown[], R>(operation: (...args: A) => Promise<R>) =>
      async (...args: A): Promise<R> =>
        away ? unavailable() : operation(...args);
    const wrapped: Store = {
      ...store,
      create: guarded(store.create),
      append: guarded(store.append),
      read: guarded(store.read),
      row: guarded(store.row),
      list: guarded(store.list),
      writeDraft: guarded(store.writeDraft),
      readDraft: guarded(store.readDraft),
      claim: guarded(store.claim),
      renew: guarded(store.renew),
      release: guarded(store.release),
      nextWakeMs: guarded(store.nextWakeMs),
    };
    return { store: wrapped, set: (isAway: boolean) => void (away = isAway) };
  };

  test.each([0, 1, 2, 3])("lets agents go on afterwards (gone at piece %d)", async (gone) => {
    const stage = openStage();
    const { store, set } = flaky(stage.store);
    const model = makePlayedModel((_request, number) => ({
      text: ["one ", "two ", "three"],
      before: async (index) => {
        if (number === 1 && index === gone) set(true);
      },
    }));
    const engine = stage.start({ store, model });
    const agentId = await stage.create(engine, "hello");
    await until("it lets go", () => stage.lines.includes('let go of an agent "unavailable"'));
    for (let seconds = 0; seconds < 5; seconds++) {
      stage.clock.advance(1_000);
      await quiet();
    }
    expect(await engine.get(agentId).catch((error: unknown) => error)).toMatchObject({
      code: "unavailable",
    });
    set(false);
    for (let seconds = 0; seconds < 3; seconds++) {
      stage.clock.advance(1_000);
      await quiet();
    }
    await stage.untilSettled(agentId);
    const log = await stage.log(agentId);
    expect(log.map(({ event }) => event.type)).toEqual(["AgentCreated", "ModelSpoke"]);
    expect(log[1]?.event).toMatchObject({ content: "one two three" });
    expect(model.calls.length).toBe(2);
    await engine.drain();
  });
});

describe("a drain", () => {
  test("leaves the agent due at once with its draft, and another engine goes on in mid-sentence", async () => {
    const stage = openStage();
    const model = makePlayedModel((_request, number) => ({
      text: ["one ", "two ", "three"],
      before: async (index, signal) => {
        if (number === 1 && index === 2) await aborted(signal);
      },
    }));
    const engine = stage.start({ model });
    const agentId = await stage.create(engine, "hello");
    await until("two pieces are durable", async () => {
      return (await stage.store.readDraft(agentId, 0))?.piecesTotal === 2;
    });
    await engine.drain();
    expect(await stage.store.nextWakeMs()).toBe(stage.clock.nowMs());
    expect((await stage.store.row(agentId, stage.clock.nowMs()))?.status).toBe("waiting_for_step");
    expect((await stage.store.readDraft(agentId, 0))?.piecesTotal).toBe(2);

    const { store, claimed } = counting(stage.store);
    const heir = stage.start({ name: "heir", model, store });
    await stage.untilSettled(agentId);
    expect(claimed).toEqual([expect.objectContaining({ claims: 1, recovered: false })]);
    expect(model.calls[1]?.messages.at(-1)).toMatchObject({
      role: "assistant",
      content: "one two",
    });
    expect((await stage.log(agentId))[1]?.event).toMatchObject({ content: "one two three" });
    await heir.drain();
  });

  test("waits for leases that are on their way, and lets go of them", async () => {
    const stage = openStage();
    const gate = makeGate();
    const engine = stage.start({
      store: {
        ...stage.store,
        create: async (creation) => {
          const made = await stage.store.create(creation);
          await gate.passed;
          return made;
        },
      },
    });
    const creating = stage.create(engine, "hello");
    await quiet();
    const drained = engine.drain();
    await quiet();
    gate.open();
    await drained;
    expect(await stage.store.nextWakeMs()).toBe(stage.clock.nowMs());
    const agentId = await creating;
    expect(await stage.events(agentId)).toEqual(["AgentCreated"]);
  });

  test("takes nothing more, but still records", async () => {
    const stage = openStage();
    const model = echoing();
    const engine = stage.start({ model });
    await engine.drain();
    const agentId = await stage.create(engine, "hello");
    await stage.say(engine, agentId, "are you there?");
    await quiet();
    expect(model.calls).toEqual([]);
    expect(statusOf(await stage.state(agentId))).toBe("waiting_for_step");
    expect(stage.clock.waiting()).toBe(0);
  });
});
