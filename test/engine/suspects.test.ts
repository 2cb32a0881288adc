import { expect, test } from "bun:test";
import { engineLimits, turnLimits } from "../../src/limits.ts";
import { born } from "../support/events.ts";
import { makePlayedModel } from "../support/played-model.ts";
import { leaseTtlMs, makeGate, openStage, quiet } from "../support/stage.ts";
import { creationOf } from "../support/stores.ts";

test("an agent that engines died with is driven with no other such, for as long as it says nothing", async () => {
  const stage = openStage();
  const ids = ["a", "b"];
  for (const id of ids) await stage.store.create(creationOf(id, [born()], { wakeAtMs: 0 }));
  for (let death = 0; death < turnLimits.claimsTrusted; death++) {
    const nowMs = stage.clock.nowMs();
    const wish = { worker: `dies-${death}`, untilMs: nowMs + leaseTtlMs };
    expect(await stage.store.claim(wish, nowMs, 2)).toHaveLength(2);
    stage.clock.advance(leaseTtlMs);
  }
  const speaking = makeGate();
  const model = makePlayedModel(() => ({ text: ["fine"], before: () => speaking.passed }));
  const engine = stage.start({ model });
  for (let look = 0; look < 5; look++) {
    await quiet();
    stage.clock.advance(engineLimits.suspectMs);
  }
  expect(model.calls).toHaveLength(1);
  speaking.open();
  for (let look = 0; look < 5; look++) {
    await quiet();
    stage.clock.advance(engineLimits.emptyClaimMs);
  }
  for (const id of ids) await stage.untilSettled(id);
  await engine.drain();
});
