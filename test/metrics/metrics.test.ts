import { expect, test } from "bun:test";
import { EngramError } from "../../src/errors.ts";
import { metricsLimits } from "../../src/limits.ts";
import { makeLoopLag } from "../../src/metrics/loop-lag.ts";
import { makeMetrics, type Metrics, type Present } from "../../src/metrics/metrics.ts";
import { openMemoryStore } from "../../src/store/memory.ts";
import type { Store } from "../../src/store/store.ts";
import { born } from "../support/events.ts";
import { type Exposition, parseExposition } from "../support/exposition.ts";
import { makeManualClock } from "../support/manual-clock.ts";
import { aborted, makePlayedModel, playedUsage, unlessAborted } from "../support/played-model.ts";
import { openStage, unavailable, until } from "../support/stage.ts";
import { appendTo, creationOf } from "../support/stores.ts";

const present: Present = {
  steps: { running: 2, max: 8 },
  tools: { busy: 1, idle: 3, waiting: 4 },
};

const scraped = async (metrics: Metrics, store: Store): Promise<Exposition> =>
  parseExposition(await metrics.scrape(store, () => present));

test("a conversation with a tool call is counted as it went", async () => {
  const stage = openStage();
  const metrics = makeMetrics("1.2.3", stage.clock);
  const model = makePlayedModel((_, number) =>
    number === 1 ? { calls: [{ name: "echo", input: {} }] } : { text: ["so ", "it is"] },
  );
  const store = metrics.store(stage.store);
  const engine = stage.start({ store, model: metrics.model(model) });
  const agentId = await stage.create(engine, "go");
  await stage.untilSettled(agentId);
  // What a client does to an agent that rests is no turn.
  await engine.command(agentId, { type: "Pause", key: null, reason: "" });
  await engine.command(agentId, { type: "Resume", key: null });

  const found = await scraped(metrics, store);
  expect(found.value("engram_turns_total", { outcome: "answered" })).toBe(1);
  expect(found.sum("engram_turns_total")).toBe(1);
  expect(found.sum("engram_events_total")).toBe((await stage.log(agentId)).length);
  expect(found.value("engram_events_total", { type: "ToolRequested" })).toBe(1);
  expect(found.value("engram_leases_total", { recovered: "false" })).toBe(1);
  expect(found.value("engram_leases_total", { recovered: "true" })).toBe(0);
  expect(found.value("engram_model_call_seconds_count", { outcome: "ok" })).toBe(2);
  expect(found.value("engram_model_first_token_seconds_count")).toBe(2);
  const tokens = (kind: string) => found.value("engram_model_tokens_total", { kind });
  expect(tokens("prompt")).toBe(2 * playedUsage.promptTokens);
  expect(tokens("completion")).toBe(2 * playedUsage.completionTokens);
  const state = await stage.state(agentId);
  expect(found.sum("engram_tool_call_seconds_count")).toBe(1);
  expect(found.value("engram_tool_fuel_total")).toBe(state.stats.fuelUsed);
  const operation = { operation: "append", outcome: "ok" };
  expect(found.value("engram_store_operation_seconds_count", operation)).toBeGreaterThan(2);
  expect(found.value("engram_agents", { status: "waiting_for_input" })).toBe(1);
  expect(found.value("engram_agents_due")).toBe(0);
  expect(found.value("engram_steps_running")).toBe(2);
  expect(found.value("engram_steps_max")).toBe(8);
  expect(found.value("engram_sandbox_children", { state: "busy" })).toBe(1);
  expect(found.value("engram_sandbox_children", { state: "idle" })).toBe(3);
  expect(found.value("engram_tool_calls_waiting")).toBe(4);
  expect(found.value("engram_build_info", { version: "1.2.3" })).toBe(1);
  expect(found.value("process_resident_memory_bytes")).toBeGreaterThan(1e6);
  expect(found.value("process_cpu_seconds_total")).toBeGreaterThan(0);
  await engine.drain();
});

test("a model's faults are counted by their codes, and what a client stops is none", async () => {
  const stage = openStage();
  const metrics = makeMetrics("1", stage.clock);
  const model = makePlayedModel((_, number) => ({
    text: ["x"],
    before: async (index, signal) => {
      if (number === 1)
        throw new EngramError("model_timeout", "the model is silent", { transient: true });
      if (number === 2) throw new EngramError("model_not_found", "there is no such model");
      if (index > 0)
        await unlessAborted(new Promise(() => {}), signal).catch(() => aborted(signal));
    },
  }));
  const engine = stage.start({ store: metrics.store(stage.store), model: metrics.model(model) });
  const agentId = await stage.create(engine, "go");
  await until("it waits for the retry", async () =>
    (await stage.events(agentId)).includes("ModelFailed"),
  );
  stage.clock.advance(60_000);
  await stage.untilStatus(agentId, "failed");
  await engine.command(agentId, { type: "Retry", key: null });
  await until("it writes", async () => (await stage.store.readDraft(agentId, 0)) !== null);
  await engine.command(agentId, { type: "Pause", key: null, reason: "" });
  await stage.untilSettled(agentId);
  await until("the call has ended", () => model.running() === 0);

  const found = await scraped(metrics, stage.store);
  const calls = (outcome: string) =>
    found.value("engram_model_call_seconds_count", { outcome }) ?? 0;
  expect([calls("model_timeout"), calls("model_not_found"), calls("stopped")]).toEqual([1, 1, 1]);
  expect(found.value("engram_model_retries_total", { code: "MODEL_TIMEOUT" })).toBe(1);
  expect(found.sum("engram_model_retries_total")).toBe(1);
  expect(found.value("engram_turns_total", { outcome: "MODEL_NOT_FOUND" })).toBe(1);
  expect(found.sum("engram_turns_total")).toBe(1);
  expect(found.value("engram_model_first_token_seconds_count")).toBe(1);
  await engine.drain();
});

test("a lease from an engine that is gone is told apart, and a write that came too late is counted as that alone", async () => {
  const clock = makeManualClock();
  const metrics = makeMetrics("1", clock);
  const store = metrics.store(openMemoryStore(clock));
  await store.create(creationOf("a", [born()], { wakeAtMs: 0 }));
  const [first] = await store.claim({ worker: "v", untilMs: 100 }, 10, 1);
  await store.claim({ worker: "w", untilMs: 200 }, 150, 1);
  const late = appendTo(store, "a", [{ type: "TurnFailed", code: "INTERNAL", message: "" }], {
    epoch: first?.epoch ?? 0,
  });
  expect(await late.catch((error: unknown) => error)).toMatchObject({ code: "fenced" });

  const found = await scraped(metrics, store);
  expect(found.value("engram_leases_total", { recovered: "true" })).toBe(1);
  expect(found.value("engram_leases_total", { recovered: "false" })).toBe(1);
  const append = (outcome: string) =>
    found.value("engram_store_operation_seconds_count", { operation: "append", outcome });
  expect([append("fenced"), append("ok")]).toEqual([1, null]);
  expect(found.sum("engram_turns_total")).toBe(0);
  expect(found.sum("engram_events_total")).toBe(1);
});

test("while the store is away everything else is told, and of the fleet nothing old", async () => {
  const clock = makeManualClock();
  const metrics = makeMetrics("1", clock);
  const plain = openMemoryStore(clock);
  await plain.create(creationOf("a", [born()], { wakeAtMs: plain.nowMs() - 3_000 }));
  const before = await scraped(metrics, plain);
  expect(before.value("engram_store_up")).toBe(1);
  expect(before.value("engram_agents", { status: "waiting_for_step" })).toBe(1);
  expect(before.value("engram_agents_due")).toBe(1);
  expect(before.value("engram_agents_due_seconds")).toBe(3);

  const away = { ...plain, tally: unavailable, probe: unavailable };
  const during = await scraped(metrics, away);
  expect(during.value("engram_store_up")).toBe(0);
  for (const name of ["engram_agents", "engram_agents_due", "engram_agents_due_seconds"])
    expect([during.sum(name), during.value(name)]).toEqual([0, null]);
  expect(during.value("engram_agents", { status: "waiting_for_step" })).toBeNull();
  expect(during.value("engram_steps_max")).toBe(8);

  const full = await scraped(metrics, { ...plain, probe: unavailable });
  expect(full.value("engram_store_up")).toBe(0);
  expect(full.value("engram_agents_due")).toBe(1);
});

test("a store that does not answer is asked once, and holds up no scrape for long", async () => {
  const clock = makeManualClock();
  const metrics = makeMetrics("1", clock);
  let asked = 0;
  const { promise: answer, resolve } = Promise.withResolvers<void>();
  const plain = openMemoryStore(clock);
  const hung: Store = {
    ...plain,
    tally: async (nowMs) => {
      asked++;
      await answer;
      return plain.tally(nowMs);
    },
  };
  for (let scrapes = 0; scrapes < 3; scrapes++) {
    const scrape = scraped(metrics, hung);
    clock.advance(metricsLimits.storeMs);
    const found = await scrape;
    expect(found.value("engram_store_up")).toBe(0);
    expect(found.value("engram_agents_due")).toBeNull();
  }
  expect(asked).toBe(1);
  resolve();
  await until("it has answered", async () => {
    const found = await scraped(metrics, hung);
    return found.value("engram_agents_due") === 0;
  });
});

test("scrapes that come together share one look at the store", async () => {
  const clock = makeManualClock();
  const metrics = makeMetrics("1", clock);
  const plain = openMemoryStore(clock);
  let asked = 0;
  const store: Store = {
    ...plain,
    tally: (nowMs) => {
      asked++;
      return plain.tally(nowMs);
    },
  };
  const texts = await Promise.all(
    Array.from({ length: 5 }, () => metrics.scrape(store, () => present)),
  );
  expect(asked).toBe(1);
  expect(new Set(texts).size).toBe(1);
  await metrics.scrape(store, () => present);
  expect(asked).toBe(2);
});

test("how late the event loop was is told of the time since the look before, while somebody looks", () => {
  let nowMs = 0;
  let due: (() => void) | null = null;
  const lag = makeLoopLag({
    nowMs: () => nowMs,
    monotonicMs: () => nowMs,
    after: (_delayMs, fn) => {
      due = fn;
      return () => {};
    },
  });
  const fire = (lateMs: number): boolean => {
    const fn = due;
    due = null;
    nowMs += metricsLimits.lagIntervalMs + lateMs;
    fn?.();
    return fn !== null;
  };
  expect(fire(0)).toBe(false);
  expect(lag.take()).toBeNull();
  for (let n = 0; n < 198; n++) fire(1);
  fire(50);
  fire(70);
  expect(lag.take()).toEqual({ p99Ms: 1, maxMs: 70 });
  fire(3);
  expect(lag.take()).toEqual({ p99Ms: 3, maxMs: 3 });
  let fired = 0;
  while (fire(0)) fired++;
  expect(fired).toBe(metricsLimits.lagSamplesMax);
  expect(lag.take()).toEqual({ p99Ms: 0, maxMs: 0 });
  expect(fire(0)).toBe(true);
});
