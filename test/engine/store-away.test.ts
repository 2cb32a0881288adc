import { describe, expect, test } from "bun:test";
import { engineLimits, turnLimits } from "../../src/limits.ts";
import type { Store } from "../../src/store/store.ts";
import { makePlayedModel } from "../support/played-model.ts";
import { leaseTtlMs, openStage, quiet, unavailable, until } from "../support/stage.ts";

/** Takes leases and gives them back, but fails each append of a worker while it is full. */
const nearlyFull = (store: Store) => {
  let full = true;
  const released: (number | null)[] = [];
  const wrapped: Store = {
    ...store,
    append: async (append) =>
      full && append.epoch !== null ? unavailable() : store.append(append),
    release: async (...args) => {
      released.push(args[2]);
      return store.release(...args);
    },
  };
  return { store: wrapped, released, free: () => void (full = false) };
};
const answering = () => makePlayedModel(() => ({ text: ["hello"] }));

describe("a store that takes some writes and not others", () => {
  test("never has an agent failed, however often its step is lost", async () => {
    const stage = openStage();
    const { store, released, free } = nearlyFull(stage.store);
    const engine = stage.start({ store, model: answering() });
    const agentId = await stage.create(engine, "hello");
    const times = turnLimits.claimsWithoutAppendMax + 2;
    for (let time = 1; time <= times; time++) {
      await until("the step is lost", () => stage.lines.length >= time);
      stage.clock.advance(engineLimits.storeRetryMs);
      await until("it lets go", () => released.length >= time);
    }
    free();
    await quiet();
    stage.clock.advance(engineLimits.storeRetryMs);
    await stage.untilSettled(agentId);
    expect(await stage.events(agentId)).toEqual(["AgentCreated", "ModelSpoke"]);
    await engine.drain();
  });

  test("has its agents back as soon as it is well, and what they waited is no work", async () => {
    const stage = openStage();
    const { store } = nearlyFull(stage.store);
    let away = true;
    const released: number[] = [];
    const engine = stage.start({
      store: {
        ...store,
        release: async (holder, ...rest) => {
          if (away) return unavailable();
          released.push(holder.workedMs);
          return store.release(holder, ...rest);
        },
        renew: async (...args) => (away ? unavailable() : store.renew(...args)),
        claim: async (...args) => (away ? unavailable() : store.claim(...args)),
      },
      model: answering(),
    });
    await stage.create(engine, "hello");
    await until("the step is lost", () => stage.lines.length > 0);
    for (let waitedMs = 0; waitedMs < 20 * leaseTtlMs; waitedMs += 500) {
      stage.clock.advance(500);
      await quiet();
    }
    expect(released).toEqual([]);
    away = false;
    stage.clock.advance(engineLimits.storeRetryMs);
    await until("it lets go", () => released.length > 0);
    expect(released[0]).toBeLessThan(leaseTtlMs);
    await engine.drain();
  });

  test("is asked once more by an engine that stops, and does not hold it up", async () => {
    const stage = openStage();
    const { store } = nearlyFull(stage.store);
    let asked = 0;
    const engine = stage.start({
      store: { ...store, release: () => (asked++, unavailable()) },
      model: answering(),
    });
    await stage.create(engine, "hello");
    await until("the step is lost", () => stage.lines.length > 0);
    await engine.drain();
    expect(asked).toBe(1);
  });
});
