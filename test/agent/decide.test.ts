import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { decide } from "../../src/agent/decide.ts";
import type { AgentConfig, Event } from "../../src/agent/event.ts";
import { fold } from "../../src/agent/fold.ts";
import type { AgentState } from "../../src/agent/state.ts";
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
        const { type } = decide(state, state.updatedAtMs + laterMs);
        const still = state.paused || state.lifecycle !== "open";
        const idle = !state.modelDue && state.pendingCalls.length === 0;
        const asked =
          state.pendingCalls.length > 0 && state.pendingCalls.every((it) => it.awaitsConfirmation);
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
      expect(decide(state, at(99))).toEqual(decide(state, at(99)));
      expect(state).toEqual(copy);
    }),
    seeded(50),
  );
});

describe("what is next", () => {
  const next = (...events: readonly Event[]): string => decide(stateOf({}, ...events), at(9)).type;

  test("of an agent with a due message is a model call", () => {
    expect(decide(stateOf({}), at(9))).toEqual({ type: "CallModel", deadlineMs: null });
  });
  test("of one with tool calls is to run those that need no confirmation", () => {
    const state = stateOf({}, requested("call_2", 1, true), requested("call_3", null));
    const calls = state.pendingCalls.filter(({ callId }) => callId === "call_3");
    expect(decide(state, at(9))).toEqual({ type: "RunTools", calls, deadlineMs: null });
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
    expect(decide(stateOf({ stepsMax: 2 }, ...working), at(9)).type).toBe("RunTools");
    const done = [...working, returned("call_4")];
    expect(decide(stateOf({ stepsMax: 3 }, ...done), at(9)).type).toBe("CallModel");
    expect(decide(stateOf({ stepsMax: 2 }, ...done), at(9))).toMatchObject({
      type: "FailTurn",
      code: "MAX_STEPS",
    });
  });
  test("the next turn has its steps anew", () => {
    const events = [spoke("one", 1), said("on")];
    expect(decide(stateOf({ stepsMax: 1 }, ...events), at(9)).type).toBe("CallModel");
    const pausedBetween = [spoke("one", 1), paused(), said("on")];
    const resumed: Event = { type: "AgentResumed", key: null };
    const state = stateOf({ stepsMax: 1 }, ...pausedBetween, resumed);
    expect(decide(state, at(9)).type).toBe("CallModel");
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
    expect(decide(looped(31), at(99)).type).toBe("CallModel");
    expect(decide(looped(32), at(99))).toMatchObject({ code: "MAX_STEPS" });
  });
  test("the tokens of the whole life end it as TOKEN_BUDGET", () => {
    // Each sample reply is 10 tokens.
    const two = [spoke("one", 1), said("on"), spoke("two", 3), said("on")];
    expect(decide(stateOf({ totalTokensMax: 21 }, ...two), at(9)).type).toBe("CallModel");
    expect(decide(stateOf({ totalTokensMax: 20 }, ...two), at(9))).toMatchObject({
      type: "FailTurn",
      code: "TOKEN_BUDGET",
    });
  });
  test("its time ends it as MAX_DURATION, before a model call and before a tool", () => {
    const due = stateOf({ durationMsMax: 5000 });
    expect(decide(due, at(1) + 4999)).toEqual({ type: "CallModel", deadlineMs: at(1) + 5000 });
    expect(decide(due, at(1) + 5000)).toMatchObject({ type: "FailTurn", code: "MAX_DURATION" });
    const tool = stateOf({ durationMsMax: 5000 }, requested("call_2", 1));
    expect(decide(tool, at(2))).toMatchObject({ type: "RunTools", deadlineMs: at(1) + 5000 });
    expect(decide(tool, at(1) + 5000)).toMatchObject({ code: "MAX_DURATION" });
  });
  test("rests and pauses are no part of its time", () => {
    const resumed: Event = { type: "AgentResumed", key: null };
    const state = stateOf({ durationMsMax: 5000 }, paused(), resumed);
    // One second before the pause is spent.
    expect(decide(state, at(3))).toEqual({ type: "CallModel", deadlineMs: at(3) + 4000 });
  });
  test("a clock that was set back gives no time away and takes none", () => {
    const state = stateOf({ durationMsMax: 5000 });
    const early = at(1) - 60_000;
    expect(decide(state, early)).toEqual({ type: "CallModel", deadlineMs: early + 5000 });
  });
  test("after a fault it waits for the retry, but not past its time", () => {
    const waiting = stateOf({}, faultUntil(at(7)));
    expect(decide(waiting, at(7) - 1)).toEqual({ type: "Wait", untilMs: at(7) });
    expect(decide(waiting, at(7)).type).toBe("CallModel");
    const timed = stateOf({ durationMsMax: 3000 }, faultUntil(at(7)));
    expect(decide(timed, at(3))).toEqual({ type: "Wait", untilMs: at(4) });
    expect(decide(timed, at(4))).toMatchObject({ code: "MAX_DURATION" });
  });
  test("tools do not wait for the model's retry", () => {
    const state = stateOf({}, requested("call_2", 1), faultUntil(at(99)));
    expect(decide(state, at(3)).type).toBe("RunTools");
  });
});
