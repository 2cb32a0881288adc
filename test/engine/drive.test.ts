import { describe, expect, test } from "bun:test";
import type { Command } from "../../src/agent/accept.ts";
import { EngramError, type ErrorCode } from "../../src/errors.ts";
import { turnLimits } from "../../src/limits.ts";
import type { Store } from "../../src/store/store.ts";
import { born } from "../support/events.ts";
import { aborted, makePlayedModel } from "../support/played-model.ts";
import { makePlayedSandbox } from "../support/played-sandbox.ts";
import { echoing, leaseTtlMs, makeGate, openStage, quiet, until } from "../support/stage.ts";
import { creationOf } from "../support/stores.ts";

const pause: Command = { type: "Pause", key: null, reason: "" };
const resume: Command = { type: "Resume", key: null };

/** Its first call waits until it is stopped. */
const held = () =>
  makePlayedModel((_request, number) => ({
    text: ["one ", "two ", "three"],
    before: async (index, signal) => {
      if (number === 1 && index === 2) await aborted(signal);
    },
  }));

const bug = (): Promise<never> => Promise.reject(new TypeError("x is not a function"));

describe("a step that cannot go on", () => {
  test("because of a bug ends as INTERNAL, and a retry goes on with what was written", async () => {
    const stage = openStage();
    const model = makePlayedModel((_request, number) => ({
      text: ["one ", "two"],
      before: async (index) => (number === 1 && index === 1 ? bug() : undefined),
    }));
    const engine = stage.start({ model });
    const agentId = await stage.create(engine, "hello");
    await stage.untilSettled(agentId);
    expect(await stage.events(agentId)).toEqual(["AgentCreated", "TurnFailed"]);
    expect((await stage.state(agentId)).reason).toStartWith("INTERNAL");
    expect((await stage.state(agentId)).reason).not.toContain("not a function");
    await engine.command(agentId, { type: "Retry", key: null });
    await stage.untilSettled(agentId);
    expect((await stage.log(agentId)).at(-1)?.event).toMatchObject({ content: "one two" });
    await engine.drain();
  });

  test("because of a bug leaves an agent alone that a client has paused by then", async () => {
    const stage = openStage();
    const broken = makeGate();
    const model = makePlayedModel(() => ({ text: ["x"], before: () => broken.passed.then(bug) }));
    const engine = stage.start({
      model,
      // Hints are late, so that the bug comes first.
      store: { ...stage.store, follow: () => () => {} },
    });
    const agentId = await stage.create(engine, "hello");
    await until("it calls the model", () => model.calls.length === 1);
    await engine.command(agentId, pause);
    broken.open();
    await stage.untilSettled(agentId);
    expect(await stage.events(agentId)).toEqual(["AgentCreated", "AgentPaused"]);
    await engine.drain();
  });

  test("three times killed its engine: the fourth does not try", async () => {
    const stage = openStage();
    await stage.store.create(creationOf("a", [born()], { wakeAtMs: 0 }));
    const now = (): number => stage.clock.nowMs();
    for (let death = 0; death < turnLimits.claimsWithoutAppendMax; death++) {
      stage.clock.advance(leaseTtlMs);
      const wish = { worker: `dies-${death}`, untilMs: now() + leaseTtlMs };
      expect(await stage.store.claim(wish, now(), 1)).toHaveLength(1);
    }
    stage.clock.advance(leaseTtlMs);
    const model = echoing();
    const engine = stage.start({ model });
    await stage.untilSettled("a");
    expect(model.calls).toEqual([]);
    expect((await stage.state("a")).reason).toStartWith("INTERNAL");
    await engine.drain();
  });

  test("twice killed its engine: the third tries, and tells", async () => {
    const stage = openStage();
    const observed = creationOf("a", [born({ enableObservation: true })], { wakeAtMs: 0 });
    await stage.store.create(observed);
    for (let death = 1; death < turnLimits.claimsWithoutAppendMax; death++) {
      stage.clock.advance(leaseTtlMs);
      const nowMs = stage.clock.nowMs();
      await stage.store.claim({ worker: "dies", untilMs: nowMs + leaseTtlMs }, nowMs, 1);
    }
    stage.clock.advance(leaseTtlMs);
    const engine = stage.start();
    await stage.untilSettled("a");
    expect(await stage.events("a")).toEqual(["AgentCreated", "Observed", "ModelSpoke"]);
    await engine.drain();
  });

  test("beside others that died with it is tried alone, and they go on", async () => {
    const stage = openStage();
    const ids = ["a", "b", "poison", "c"];
    for (const id of ids) {
      const first = born({ enableObservation: true }, { goal: id });
      await stage.store.create(creationOf(id, [first], { wakeAtMs: 0 }));
    }
    const deaths: string[] = [];
    // An engine dies with all that it drives a moment after it has begun the poisonous one.
    for (let life = 0; life < 12; life++) {
      const dying = makeGate();
      let dead = false;
      const over = (): Promise<never> => new Promise(() => {});
      const model = makePlayedModel(({ messages }) => {
        const poisonous = messages[0]?.content.includes("poison") === true;
        return {
          text: ["fine"],
          before: async () => {
            if (poisonous) {
              dead = true;
              dying.open();
            }
            if (dead) await over();
          },
        };
      });
      const guard =
        <A extends readonly unknown[], R>(run: (...args: A) => Promise<R>) =>
        async (...args: A): Promise<R> =>
          dead ? over() : run(...args);
      const { store } = stage;
      const engine = stage.start({
        name: `life-${life}`,
        model,
        store: {
          ...store,
          append: guard(store.append),
          claim: guard(store.claim),
          renew: guard(store.renew),
          release: guard(store.release),
          writeDraft: guard(store.writeDraft),
        },
      });
      await Promise.race([dying.passed, quiet().then(quiet).then(quiet)]);
      if (!dead) {
        for (const id of ids) await stage.untilSettled(id);
        await engine.drain();
        break;
      }
      deaths.push(`life-${life}`);
      stage.clock.advance(leaseTtlMs + 1);
    }
    expect(deaths).toHaveLength(turnLimits.claimsWithoutAppendMax);
    expect((await stage.state("poison")).reason).toStartWith("INTERNAL");
    for (const id of ["a", "b", "c"])
      expect((await stage.log(id)).at(-1)?.event.type).toBe("ModelSpoke");
  });

  test("because its log is damaged lets go for good, and others go on", async () => {
    const stage = openStage();
    const damaged: Store = {
      ...stage.store,
      read: async (agentId, after) => {
        const page = await stage.store.read(agentId, after);
        if (agentId === "bad") throw new EngramError("corrupt", "event 1 was changed");
        return page;
      },
    };
    await stage.store.create(creationOf("bad", [born()], { wakeAtMs: 0 }));
    const engine = stage.start({ store: damaged });
    const agentId = await stage.create(engine, "hello");
    await stage.untilSettled(agentId);
    expect(stage.lines).toContain('a step failed "corrupt"');
    await engine.drain();
  });

  test.each([
    ["model_not_found", "MODEL_NOT_FOUND"],
    ["model_error", "MODEL_ERROR"],
    ["model_timeout", "MODEL_TIMEOUT"],
    ["context_overflow", "CONTEXT_OVERFLOW"],
    ["model_unavailable", "MODEL_UNAVAILABLE"],
  ] as const)("%s, where a repetition cannot help, ends the turn as %s", async (code, shown) => {
    const stage = openStage();
    const model = makePlayedModel(() => ({
      text: ["x"],
      before: () => Promise.reject(new EngramError(code satisfies ErrorCode, "no")),
    }));
    const engine = stage.start({ model });
    const agentId = await stage.create(engine, "hello");
    await stage.untilSettled(agentId);
    expect((await stage.log(agentId)).at(-1)?.event).toMatchObject({
      type: "TurnFailed",
      code: shown,
      message: "no",
    });
    expect(model.calls.length).toBe(1);
    await engine.drain();
  });
});

describe("a client that stops an agent", () => {
  test("stops the model at once, and a resume goes on in mid-sentence", async () => {
    const stage = openStage();
    const model = held();
    const engine = stage.start({ model });
    const agentId = await stage.create(engine, "hello");
    await until("it is in mid-answer", async () => {
      return (await stage.store.readDraft(agentId, 0))?.piecesTotal === 2;
    });
    await engine.command(agentId, pause);
    await until("the model has stopped", () => model.running() === 0);
    await engine.command(agentId, resume);
    await stage.untilSettled(agentId);
    const log = await stage.log(agentId);
    expect(log.map(({ event }) => event.type)).toEqual([
      "AgentCreated",
      "AgentPaused",
      "AgentResumed",
      "ModelSpoke",
    ]);
    expect(log[3]?.event).toMatchObject({
      content: "one two three",
      head: { call: { afterSequence: 1, continuedLength: "one two ".length } },
    });
    await engine.drain();
  });

  test.each([
    ["a reply", 1],
    ["a tool's result", 2],
  ])(
    "finds %s not recorded behind its pause, though the worker has not heard of that",
    async (_, atCall) => {
      const stage = openStage();
      const hold = makeGate();
      const waiting = makeGate();
      const model = makePlayedModel(({ messages }) =>
        messages.some(({ role }) => role === "tool")
          ? { text: ["done"] }
          : { calls: [{ name: "echo", input: { n: 1 } }], before: () => reach(1) },
      );
      const reach = async (place: number): Promise<void> => {
        if (place !== atCall) return;
        waiting.open();
        await hold.passed;
      };
      const sandbox = makePlayedSandbox(async () => {
        await reach(2);
        return {};
      });
      const deaf = { ...stage.store, follow: () => () => {} };
      const engine = stage.start({ model, sandbox, store: deaf });
      const agentId = await stage.create(engine, "hello");
      await waiting.passed;
      await engine.command(agentId, pause);
      const before = await stage.events(agentId);
      hold.open();
      await stage.untilSettled(agentId);
      expect(await stage.events(agentId)).toEqual(before);
      await engine.command(agentId, resume);
      await stage.untilSettled(agentId);
      expect((await stage.log(agentId)).at(-1)?.event).toMatchObject({ content: "done" });
      await engine.drain();
    },
  );

  test("by a delete ends the step", async () => {
    const stage = openStage();
    const model = held();
    const engine = stage.start({ model });
    const agentId = await stage.create(engine, "hello");
    await until("it calls the model", () => model.calls.length === 1);
    await engine.remove(agentId, true);
    await until("the model has stopped", () => model.running() === 0);
    expect(await engine.get(agentId).catch((error: unknown) => error)).toMatchObject({
      code: "not_found",
    });
    await engine.drain();
  });

  test("stops all tools of a reply, and a resume runs those without a result again", async () => {
    const stage = openStage();
    const quick = '{"n":1}';
    const model = makePlayedModel(({ messages }) =>
      messages.some(({ role }) => role === "tool")
        ? { text: ["both"] }
        : {
            calls: [1, 2].map((n) => ({ name: "echo", input: { n } })),
          },
    );
    let runs = 0;
    const sandbox = makePlayedSandbox(async ({ inputJson }, signal) =>
      inputJson === quick || ++runs > 1 ? {} : aborted(signal),
    );
    const engine = stage.start({ model, sandbox });
    const agentId = await stage.create(engine, "hello");
    await until("one is back", async () => (await stage.events(agentId)).includes("ToolReturned"));
    await engine.command(agentId, pause);
    await stage.untilSettled(agentId);
    await engine.command(agentId, resume);
    await stage.untilSettled(agentId);
    expect(sandbox.calls.map(({ inputJson }) => inputJson)).toEqual([quick, '{"n":2}', '{"n":2}']);
    expect((await stage.state(agentId)).stats.toolCalls).toBe(2);
    await engine.drain();
  });

  test("leaves no tool running whose step has failed", async () => {
    const stage = openStage();
    const stopped = makeGate();
    const model = makePlayedModel(() => ({
      calls: [1, 2].map((n) => ({ name: "echo", input: { n } })),
    }));
    const sandbox = makePlayedSandbox(async ({ inputJson }, signal) => {
      if (inputJson === '{"n":1}') return {};
      await aborted(signal).catch(() => stopped.open());
      return {};
    });
    const engine = stage.start({
      model,
      sandbox,
      store: {
        ...stage.store,
        append: async (append) => {
          if (append.events.some(({ type }) => type === "ToolReturned"))
            throw new EngramError("unavailable", "the disk is full");
          return stage.store.append(append);
        },
      },
    });
    await stage.create(engine, "hello");
    await stopped.passed;
    await until("the step is over", () => stage.lines.includes('let go of an agent "unavailable"'));
    await engine.drain();
  });
});

describe("the turn's bounds", () => {
  test("its time stops a model in mid-answer", async () => {
    const stage = openStage();
    const model = held();
    const engine = stage.start({ model });
    const agentId = await stage.create(engine, "hello", { durationMsMax: 5_000 });
    await until("it calls the model", () => model.calls.length === 1);
    for (let elapsedMs = 0; elapsedMs < 4_800; elapsedMs += 300) {
      stage.clock.advance(300);
      await quiet();
    }
    stage.clock.advance(199);
    await quiet();
    expect(model.running()).toBe(1);
    stage.clock.advance(1);
    await stage.untilSettled(agentId);
    expect(model.running()).toBe(0);
    expect((await stage.state(agentId)).reason).toStartWith("MAX_DURATION");
    await engine.drain();
  });

  test("its time stops a tool", async () => {
    const stage = openStage();
    const model = makePlayedModel(() => ({ calls: [{ name: "echo", input: {} }] }));
    const sandbox = makePlayedSandbox(async (_call, signal) => aborted(signal));
    const engine = stage.start({ model, sandbox });
    const agentId = await stage.create(engine, "hello", { durationMsMax: 5_000 });
    await until("the tool runs", () => sandbox.calls.length === 1);
    stage.clock.advance(5_000);
    await stage.untilSettled(agentId);
    expect((await stage.state(agentId)).reason).toStartWith("MAX_DURATION");
    await engine.drain();
  });

  test("its steps end a model that calls tools for ever", async () => {
    const stage = openStage();
    const model = makePlayedModel((_request, n) => ({ calls: [{ name: "echo", input: { n } }] }));
    const engine = stage.start({ model });
    const agentId = await stage.create(engine, "hello", { stepsMax: 3 });
    await stage.untilSettled(agentId);
    expect(model.calls.length).toBe(3);
    expect((await stage.state(agentId)).reason).toStartWith("MAX_STEPS");
    await engine.drain();
  });
});
