import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { decide, type Moment, waitedMs } from "../../src/agent/decide.ts";
import type { AgentConfig, Event, ModelCall } from "../../src/agent/event.ts";
import { fold } from "../../src/agent/fold.ts";
import { isAskedTooOften } from "../../src/agent/repeats.ts";
import { abilitiesUnknown } from "../../src/agent/request.ts";
import { type AgentState, statusOf } from "../../src/agent/state.ts";
import { turnLimits } from "../../src/limits.ts";
import {
  answered,
  born,
  callAfter,
  canceled,
  logged,
  paused,
  requested,
  returned,
  said,
  spoke,
  startMs,
  turnFailed,
} from "../support/events.ts";
import { anyHistory } from "../support/histories.ts";
import { seeded } from "../support/seed.ts";

const stateOf = (config: Partial<AgentConfig>, ...events: readonly Event[]): AgentState =>
  fold(logged([born(config), ...events]));
/** The time of the event at `sequence`. */
const at = (sequence: number): number => startMs + sequence * 1000;

/** With nothing worked since the newest event. */
const idleAt = (nowMs: number): Moment => ({ nowMs, workedMs: 0 });
const worked = (workedMs: number): Moment => ({ nowMs: at(9), workedMs });

const faultUntil = (retryAtMs: number): Event => ({
  type: "ModelFailed",
  call: callAfter(1),
  code: "MODEL_UNAVAILABLE",
  message: "overloaded",
  retryAtMs,
});

test("every state of a life has a next action, and only a working agent has one to perform", () => {
  fc.assert(
    fc.property(anyHistory, fc.integer({ min: -10_000, max: 100_000 }), ({ log }, laterMs) => {
      for (let end = 1; end <= log.length; end++) {
        const state = fold(log.slice(0, end));
        const { type } = decide(state, idleAt(state.updatedAtMs + laterMs));
        const still = state.paused || state.lifecycle !== "open";
        const idle = !state.modelDue && state.pendingCalls.length === 0;
        const asked =
          state.pendingCalls.length > 0 &&
          state.pendingCalls.every((it) => it.awaitsConfirmation && !isAskedTooOften(state, it));
        expect(type === "Rest").toBe(still || idle || asked);
      }
    }),
    seeded(200),
  );
});

test("what is decided is the same each time, and changes nothing", () => {
  fc.assert(
    fc.property(anyHistory, ({ log }) => {
      const state = fold(log);
      const copy = structuredClone(state);
      expect(decide(state, idleAt(at(99)))).toEqual(decide(state, idleAt(at(99))));
      expect(state).toEqual(copy);
    }),
    seeded(50),
  );
});

describe("what is next", () => {
  const next = (...events: readonly Event[]): string =>
    decide(stateOf({}, ...events), idleAt(at(9))).type;

  test("of an agent with a due message is a model call", () => {
    expect(decide(stateOf({}), idleAt(at(9)))).toEqual({ type: "CallModel", leftMs: null });
  });
  test("of one with tool calls is to run those that need no confirmation", () => {
    const state = stateOf({}, requested("call_2", 1, true), requested("call_3", null));
    const calls = state.pendingCalls.filter(({ callId }) => callId === "call_3");
    expect(decide(state, idleAt(at(9)))).toEqual({ type: "RunTools", calls, leftMs: null });
  });
  test("of one that waits for a confirmation is rest, though input waits", () => {
    expect(next(requested("call_2", 1, true))).toBe("Rest");
    expect(next(requested("call_2", 1, true), said("hurry"))).toBe("Rest");
  });
  test("of one at rest, paused, failed, canceled or completed is rest", () => {
    expect(next(spoke("one", 1))).toBe("Rest");
    expect(next(requested("call_2", 1), paused())).toBe("Rest");
    expect(next(requested("call_2", 1), turnFailed)).toBe("Rest");
    expect(next(requested("call_2", 1), canceled)).toBe("Rest");
    expect(next(answered("done", 1))).toBe("Rest");
  });
});

describe("limits of a turn", () => {
  test("its model calls end it as MAX_STEPS, but not before the tools of the last have run", () => {
    const working = [requested("call_2", 1), returned("call_2"), requested("call_4", 3)];
    expect(decide(stateOf({ stepsMax: 2 }, ...working), idleAt(at(9))).type).toBe("RunTools");
    const done = [...working, returned("call_4")];
    expect(decide(stateOf({ stepsMax: 3 }, ...done), idleAt(at(9))).type).toBe("CallModel");
    expect(decide(stateOf({ stepsMax: 2 }, ...done), idleAt(at(9)))).toMatchObject({
      type: "FailTurn",
      code: "MAX_STEPS",
    });
  });
  test("the next turn has its steps anew", () => {
    const events = [spoke("one", 1), said("on")];
    expect(decide(stateOf({ stepsMax: 1 }, ...events), idleAt(at(9))).type).toBe("CallModel");
    const pausedBetween = [spoke("one", 1), paused(), said("on")];
    const resumed: Event = { type: "AgentResumed", key: null };
    const state = stateOf({ stepsMax: 1 }, ...pausedBetween, resumed);
    expect(decide(state, idleAt(at(9))).type).toBe("CallModel");
  });
  test("without a setting there are 32 steps", () => {
    const looped = (steps: number): AgentState => {
      const events = Array.from({ length: steps }, (_, step) => [
        requested(`call_${2 * step + 2}`, 2 * step + 1),
        returned(`call_${2 * step + 2}`),
      ]);
      return stateOf({}, ...events.flat());
    };
    expect(turnLimits.stepsDefault).toBe(32);
    expect(decide(looped(31), idleAt(at(99))).type).toBe("CallModel");
    expect(decide(looped(32), idleAt(at(99)))).toMatchObject({ code: "MAX_STEPS" });
  });
  test("the tokens of the whole life end it as TOKEN_BUDGET", () => {
    // Each sample reply is 10 tokens.
    const two = [spoke("one", 1), said("on"), spoke("two", 3), said("on")];
    expect(decide(stateOf({ totalTokensMax: 21 }, ...two), idleAt(at(9))).type).toBe("CallModel");
    expect(decide(stateOf({ totalTokensMax: 20 }, ...two), idleAt(at(9)))).toMatchObject({
      type: "FailTurn",
      code: "TOKEN_BUDGET",
    });
  });
  test("its time ends it as MAX_DURATION, before a model call and before a tool", () => {
    const due = stateOf({ durationMsMax: 5000 });
    expect(decide(due, worked(4999))).toEqual({ type: "CallModel", leftMs: 1 });
    expect(decide(due, worked(5000))).toMatchObject({ type: "FailTurn", code: "MAX_DURATION" });
    // The request came a second into the turn.
    const tool = stateOf({ durationMsMax: 5000 }, requested("call_2", 1));
    expect(decide(tool, worked(0))).toMatchObject({ type: "RunTools", leftMs: 4000 });
    expect(decide(tool, worked(4000))).toMatchObject({ code: "MAX_DURATION" });
  });
  test("rests and pauses are no part of its time", () => {
    const resumed: Event = { type: "AgentResumed", key: null };
    const state = stateOf({ durationMsMax: 5000 }, paused(), resumed);
    // One second before the pause is spent.
    expect(decide(state, worked(0))).toEqual({ type: "CallModel", leftMs: 4000 });
  });
  test("a clock that is set, back or forth, takes nothing of its time and gives none", () => {
    const state = stateOf({ durationMsMax: 5000 });
    const day = 24 * 3600_000;
    for (const nowMs of [at(1) - day, at(1) + day])
      expect(decide(state, { nowMs, workedMs: 1000 })).toEqual({ type: "CallModel", leftMs: 4000 });
  });
  test("after a fault it waits for the retry, but not past its time", () => {
    const waiting = stateOf({}, faultUntil(at(7)));
    expect(decide(waiting, idleAt(at(7) - 1))).toEqual({ type: "Wait", forMs: 1 });
    expect(decide(waiting, idleAt(at(7))).type).toBe("CallModel");
    const timed = stateOf({ durationMsMax: 3000 }, faultUntil(at(7)));
    expect(decide(timed, idleAt(at(3)))).toEqual({ type: "Wait", forMs: 2000 });
    expect(decide(timed, worked(2000))).toMatchObject({ code: "MAX_DURATION" });
  });
  test("after a clock was set back it does not wait until that is there again", () => {
    const waiting = stateOf({}, faultUntil(at(7)));
    expect(decide(waiting, idleAt(waiting.updatedAtMs - 1)).type).toBe("CallModel");
  });
  test("of a wait it takes off what was worked behind the fault, whatever the clock says", () => {
    const waiting = stateOf({}, faultUntil(at(7)));
    const left = (nowMs: number, workedMs: number) => decide(waiting, { nowMs, workedMs });
    expect(left(at(3), 1_500)).toEqual({ type: "Wait", forMs: 3_500 });
    expect(left(at(4), 1_500)).toEqual({ type: "Wait", forMs: 3_000 });
    expect(left(at(3), 5_000).type).toBe("CallModel");
  });
  test("of the pause before a retry it counts what was waited, and no more than that", () => {
    const waiting = stateOf({}, faultUntil(at(7)));
    expect(waitedMs(waiting, at(4))).toBe(2000);
    expect(waitedMs(waiting, at(4000))).toBe(5000);
    expect(waitedMs(waiting, at(-4000))).toBe(0);
    expect(waitedMs(stateOf({}), at(4))).toBe(0);
  });
  test("tools do not wait for the model's retry", () => {
    const state = stateOf({}, requested("call_2", 1), faultUntil(at(99)));
    expect(decide(state, idleAt(at(3))).type).toBe("RunTools");
  });
});

describe("calls that were asked for again and again", () => {
  /** A life of replies that ask for the same, the last of them to be confirmed. */
  const life = (call: Partial<ModelCall>): readonly Event[] =>
    Array.from({ length: 4 }, (_, n): readonly Event[] => {
      const sequence = 2 * n + 2;
      const asked: Event = {
        type: "ToolRequested",
        head: {
          call: callAfter(sequence - 1, call),
          usage: { promptTokens: 0, completionTokens: 0 },
        },
        callId: `call_${sequence}`,
        name: "echo",
        inputJson: "{}",
        requiresConfirmation: n === 3,
      };
      return n === 3 ? [asked] : [asked, returned(`call_${sequence}`)];
    }).flat();

  test("are not run, and nobody is asked to confirm them", () => {
    const state = stateOf({}, ...life({ abilities: abilitiesUnknown }));
    expect(statusOf(state)).toBe("waiting_for_step");
    expect(decide(state, idleAt(at(9)))).toMatchObject({ code: "MAX_STEPS" });
    expect(JSON.stringify(state.transcript)).toContain("3 times in a row");
  });
  test("stay what they were in logs of engines that did not count them", () => {
    const state = stateOf({}, ...life({}));
    expect(statusOf(state)).toBe("waiting_for_confirmation");
    expect(JSON.stringify(state.transcript)).not.toContain("times in a row");
  });
});
