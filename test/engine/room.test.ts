import { describe, expect, test } from "bun:test";
import { EngramError } from "../../src/errors.ts";
import { makePlayedModel } from "../support/played-model.ts";
import {
  echoing,
  makeGate,
  openStage,
  quiet,
  type Stage,
  until,
  counting,
  unavailable,
} from "../support/stage.ts";

const allSettled = async (stage: Stage, agentIds: readonly string[]): Promise<void> => {
  for (const agentId of agentIds) await stage.untilSettled(agentId);
};

describe("room", () => {
  test("bounds the steps at once, and everyone has a turn", async () => {
    const stage = openStage();
    const model = echoing();
    const engine = stage.start({ model, concurrency: 3 });
    const agentIds = await Promise.all(
      Array.from({ length: 12 }, (_, index) => stage.create(engine, `agent ${index}`)),
    );
    await allSettled(stage, agentIds);
    expect(model.runningMost()).toBe(3);
    expect(model.calls.length).toBe(12);
    await engine.drain();
  });

  test("is kept with an append, which then brings the lease: nobody claims it again", async () => {
    const stage = openStage();
    const { store, claimed } = counting(stage.store);
    const model = echoing();
    const engine = stage.start({ store, model });
    const agentId = await stage.create(engine, "hello");
    await stage.untilSettled(agentId);
    await stage.say(engine, agentId, "again");
    await stage.untilSettled(agentId);
    expect(claimed).toEqual([]);
    expect(model.calls.length).toBe(2);
    await engine.drain();
  });

  test("that is none at all leaves agents to others", async () => {
    const stage = openStage();
    const model = echoing();
    const engine = stage.start({ model, concurrency: 0 });
    const agentId = await stage.create(engine, "hello");
    await quiet();
    expect(model.calls).toEqual([]);
    const worker = stage.start();
    await stage.untilSettled(agentId);
    await Promise.all([engine.drain(), worker.drain()]);
  });

  test("an agent made while there was none is looked for, though its making ends behind the last look", async () => {
    const stage = openStage();
    const gate = makeGate();
    const made = makeGate();
    const model = makePlayedModel(() => ({ text: ["done"], before: () => gate.passed }));
    let creations = 0;
    const engine = stage.start({
      model,
      concurrency: 1,
      store: {
        ...stage.store,
        create: async (creation) => {
          if (++creations === 2) await made.passed;
          return stage.store.create(creation);
        },
      },
    });
    const first = await stage.create(engine, "first");
    const second = stage.create(engine, "second");
    gate.open();
    await stage.untilSettled(first);
    await quiet();
    made.open();
    await stage.untilSettled(await second);
    expect(model.calls.length).toBe(2);
    await engine.drain();
  });

  test("that was kept for nothing is given to who became due meanwhile", async () => {
    const stage = openStage();
    const refuse = makeGate();
    let failing = true;
    const model = makePlayedModel((_request, number) => ({
      text: ["done"],
      before: async () => {
        if (number === 1) throw new EngramError("model_unavailable", "no", { transient: true });
      },
    }));
    const engine = stage.start({
      model,
      concurrency: 1,
      store: {
        ...stage.store,
        append: async (append) => {
          if (failing && append.epoch === null) {
            await refuse.passed;
            return unavailable();
          }
          return stage.store.append(append);
        },
      },
    });
    const resting = await stage.create(engine, "rests", { waitForInput: true });
    const retrying = await stage.create(engine, "retries");
    await until("it backs off", async () => (await stage.events(retrying)).includes("ModelFailed"));
    await quiet();
    const refused = stage.say(engine, resting, "hello").catch((error: unknown) => error);
    await quiet();
    stage.clock.advance(700);
    await quiet();
    expect(model.calls.length).toBe(1);
    refuse.open();
    expect(await refused).toMatchObject({ code: "unavailable" });
    failing = false;
    await stage.untilSettled(retrying);
    expect(model.calls.length).toBe(2);
    await engine.drain();
  });

  test.each(Array.from({ length: 14 }, (_, ticks) => ticks))(
    "given back just as a look ends for the want of it is seen (after %d microtasks)",
    async (ticks) => {
      const stage = openStage();
      const refuse = makeGate();
      const model = makePlayedModel((_request, number) => ({
        text: ["done"],
        before: async () => {
          if (number === 1) throw new EngramError("model_unavailable", "no", { transient: true });
        },
      }));
      const engine = stage.start({
        model,
        concurrency: 1,
        store: {
          ...stage.store,
          append: async (append) => {
            if (append.epoch !== null) return stage.store.append(append);
            await refuse.passed;
            return unavailable();
          },
        },
      });
      const resting = await stage.create(engine, "rests", { waitForInput: true });
      const retrying = await stage.create(engine, "retries");
      await until("it backs off", async () =>
        (await stage.events(retrying)).includes("ModelFailed"),
      );
      await quiet();
      const refused = stage.say(engine, resting, "hello").catch(() => {});
      await quiet();
      refuse.open();
      for (let tick = 0; tick < ticks; tick++) await Promise.resolve();
      stage.clock.advance(700);
      await refused;
      await stage.untilSettled(retrying);
      await engine.drain();
    },
  );

  test("is not widened by a creation whose answer is lost", async () => {
    const stage = openStage();
    const gate = makeGate();
    const model = makePlayedModel(() => ({ text: ["done"], before: () => gate.passed }));
    let away = true;
    const engine = stage.start({
      model,
      concurrency: 1,
      store: {
        ...stage.store,
        row: async (...args) => (away ? unavailable() : stage.store.row(...args)),
      },
    });
    for (const goal of ["a", "b", "c"])
      expect(await stage.create(engine, goal).catch((error: unknown) => error)).toMatchObject({
        code: "unavailable",
      });
    away = false;
    await quiet();
    expect(model.running()).toBe(1);
    gate.open();
    await until("all rest", async () => (await stage.store.nextWakeMs()) === null);
    expect([model.calls.length, model.runningMost()]).toEqual([3, 1]);
    await engine.drain();
  });
});
