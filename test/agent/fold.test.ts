import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { Event, LoggedEvent } from "../../src/agent/event.ts";
import { fold } from "../../src/agent/fold.ts";
import { type AgentState, statusOf, type TranscriptItem } from "../../src/agent/state.ts";
import { decodeState, encodeState } from "../../src/store/codec.ts";
import {
  answered,
  born,
  callAfter,
  canceled,
  headAfter,
  logged,
  paused,
  requested,
  resumed,
  returned,
  said,
  spoke,
  startMs,
  turnFailed,
} from "../support/events.ts";
import { anyHistory } from "../support/histories.ts";
import { seeded } from "../support/seed.ts";

const stateOf = (...events: readonly Event[]): AgentState => fold(logged(events));
const shown = (state: AgentState): string[] =>
  state.transcript.map((item) => `${item.kind} ${item.sequence}`);
const corrupt = expect.objectContaining({ code: "corrupt" });

const frozen = <T>(value: T): T => {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return value;
  for (const inner of value instanceof Map ? value.values() : Object.values(value)) frozen(inner);
  return Object.freeze(value);
};

describe("properties of a fold", () => {
  test("the histories that the properties are tried on reach every status and type of event", () => {
    const statuses = new Set<string>();
    const types = new Set<string>();
    for (const { log } of fc.sample(anyHistory, seeded(300)))
      for (let end = 1; end <= log.length; end++) {
        statuses.add(statusOf(fold(log.slice(0, end))));
        types.add(log[end - 1]!.event.type);
      }
    expect(statuses.size).toBe(7);
    expect(types.size).toBe(18);
  });

  test("fold(a ++ b) = fold(b, fold(a)), wherever the log is cut", () => {
    fc.assert(
      fc.property(anyHistory, ({ log }) => {
        const whole = fold(log);
        for (let cut = 1; cut <= log.length; cut++)
          expect(fold(log.slice(cut), fold(log.slice(0, cut)))).toEqual(whole);
      }),
      seeded(60),
    );
  });

  test("a state gone on with from its JSON is the same as one that never was JSON", () => {
    fc.assert(
      fc.property(anyHistory, ({ log }) => {
        const whole = fold(log);
        for (let cut = 1; cut <= log.length; cut++) {
          const saved = decodeState(encodeState(fold(log.slice(0, cut))));
          expect(fold(log.slice(cut), saved)).toEqual(whole);
        }
      }),
      seeded(60),
    );
  });

  test("neither the state nor the events given are changed", () => {
    fc.assert(
      fc.property(anyHistory, fc.nat(), ({ log }, n) => {
        const cut = 1 + (n % log.length);
        const state = frozen(fold(frozen(log.slice(0, cut))));
        const copy = structuredClone(state);
        fold(frozen(log.slice(cut)), state);
        expect(state).toEqual(copy);
      }),
      seeded(150),
    );
  });

  test("what a call did not know stands behind its reply, and is due until it is answered", () => {
    fc.assert(
      fc.property(anyHistory, ({ log }) => {
        const { transcript } = fold(log);
        for (const [index, item] of transcript.entries()) {
          if (item.kind !== "assistant") continue;
          const known = afterOf(log, item.sequence);
          const early = transcript.slice(0, index).filter(heard);
          const late = transcript.slice(index + 1).filter(heard);
          expect(early.every(({ sequence }) => sequence <= known)).toBe(true);
          expect(late.every(({ sequence }) => sequence > known)).toBe(true);
        }
      }),
      seeded(200),
    );
  });

  test("the model is due where a message or all results stand behind the latest reply", () => {
    fc.assert(
      fc.property(anyHistory, ({ log }) => {
        for (let end = 1; end <= log.length; end++) {
          const state = fold(log.slice(0, end));
          const forked = log.slice(0, end).some(({ event }) => event.type === "AgentForked");
          if (forked || state.pendingCalls.length > 0) continue;
          const behind = state.transcript.slice(state.replyIndex + 1);
          expect(state.modelDue).toBe(
            behind.some(({ kind }) => kind === "user" || kind === "tool"),
          );
        }
      }),
      seeded(150),
    );
  });

  test("tool results stand right behind the reply that asked, each once", () => {
    fc.assert(
      fc.property(anyHistory, ({ log }) => {
        const state = fold(log);
        const asked = new Set<string>();
        for (const [index, item] of state.transcript.entries()) {
          if (item.kind !== "assistant") continue;
          const behind = state.transcript.slice(index + 1);
          const count = behind.findIndex(({ kind }) => kind !== "tool");
          const results = behind.slice(0, count === -1 ? behind.length : count);
          const answeredIds = results.map((result) =>
            result.kind === "tool" ? result.callId : "",
          );
          const pending = state.pendingCalls.map(({ callId }) => callId);
          const open = index === state.replyIndex ? pending : [];
          const ids = item.toolCalls.map(({ callId }) => callId);
          expect([...answeredIds, ...open].toSorted()).toEqual(ids.toSorted());
          for (const { callId } of item.toolCalls) asked.add(callId);
        }
        const tools = state.transcript.filter(({ kind }) => kind === "tool");
        expect(tools.length + state.pendingCalls.length).toBe(asked.size);
      }),
      seeded(200),
    );
  });

  test("a fork cut anywhere rests until input, and is woken by it", () => {
    fc.assert(
      fc.property(anyHistory, ({ log }) => {
        for (let end = 1; end <= log.length; end++) {
          const parent = { agentId: "p", sequence: end };
          const fork: Event = { type: "AgentForked", parent, metadata: { of: "p" } };
          const state = fold(logged([fork], end), fold(log.slice(0, end)));
          expect(statusOf(state)).toBe("waiting_for_input");
          expect(state).toMatchObject({ parent, pendingCalls: [] });
          expect(state.spec.metadata).toEqual({ of: "p" });
          const woken = fold(logged([said("go")], end + 1), state);
          expect(statusOf(woken)).toBe("waiting_for_step");
        }
      }),
      seeded(60),
    );
  });
});

const heard = ({ kind }: TranscriptItem): boolean => kind === "user" || kind === "operator";

/** What the call of the reply that begins at `sequence` knew. */
function afterOf(log: readonly LoggedEvent[], sequence: number): number {
  const { event } = log[sequence - 1]!;
  if (!("head" in event) || event.head === null) throw new Error(`${sequence} begins no reply`);
  return event.head.call.afterSequence;
}

describe("a log that cannot be", () => {
  test("is empty", () => {
    expect(() => fold([])).toThrow(corrupt);
  });
  test("begins with another event, or not at 1", () => {
    expect(() => stateOf(said("hi"))).toThrow(corrupt);
    expect(() => fold(logged([born()], 1))).toThrow(corrupt);
  });
  test("is made twice", () => {
    expect(() => stateOf(born(), born())).toThrow(corrupt);
  });
  test("has a gap, or a sequence twice", () => {
    const log = logged([born(), said("a"), said("b")]);
    expect(() => fold([log[0]!, log[2]!])).toThrow(corrupt);
    expect(() => fold([log[0]!, log[1]!, log[1]!])).toThrow(corrupt);
  });
  test("has a result that nobody asked for, or a second one", () => {
    expect(() => stateOf(born(), returned("call_9"))).toThrow(corrupt);
    const asked = [born(), requested("call_2", 1), returned("call_2")];
    expect(() => stateOf(...asked, returned("call_2"))).toThrow(corrupt);
  });
  test("has a part of a reply without the first", () => {
    expect(() => stateOf(born(), requested("call_2", null))).toThrow(corrupt);
  });
});

describe("a reply in its place", () => {
  test("input during a model call stands behind the reply and is due", () => {
    const state = stateOf(born(), said("and then?"), spoke("one", 1));
    expect(shown(state)).toEqual(["user 1", "assistant 3", "user 2"]);
    expect(statusOf(state)).toBe("waiting_for_step");
    expect(statusOf(fold(logged([spoke("two", 3)], 3), state))).toBe("waiting_for_input");
  });
  test("results of tools stand behind their reply, before input that came earlier", () => {
    const state = stateOf(
      born(),
      requested("call_2", 1),
      requested("call_3", null),
      said("hurry"),
      returned("call_3"),
      returned("call_2"),
    );
    expect(shown(state)).toEqual(["user 1", "assistant 2", "tool 5", "tool 6", "user 4"]);
    expect(statusOf(state)).toBe("waiting_for_step");
  });
  test("a final answer completes the agent; with input that it did not know it stays open", () => {
    expect(stateOf(born(), answered("done", 1)).lifecycle).toBe("completed");
    const state = stateOf(born(), said("wait"), answered("done", 1));
    expect(state.lifecycle).toBe("open");
    expect(statusOf(state)).toBe("waiting_for_step");
  });
  test("a final answer behind a spoken text keeps both", () => {
    const final: Event = { type: "FinalAnswered", head: null, content: "3", structured: null };
    const { transcript } = stateOf(born(), spoke("counted", 1), final);
    expect(transcript.at(-1)).toMatchObject({ kind: "assistant", content: "counted\n\n3" });
  });
  test("an operator's word during a call stands behind the reply, and starts nothing", () => {
    const { metadata, config, tools, goal, model, systemPrompt } = born();
    const spec = { metadata, config, tools, goal, model, systemPrompt };
    const edited: Event = { type: "AgentEdited", key: null, spec, description: "be brief" };
    const state = stateOf(born(), edited, spoke("one", 1));
    expect(shown(state)).toEqual(["user 1", "assistant 3", "operator 2"]);
    expect(statusOf(state)).toBe("waiting_for_input");
  });
  test("a failed tool's result says its code, its message and what it wrote", () => {
    const error = { code: "TOOL_TRAPPED", message: "unreachable" } as const;
    const failed = returned("call_2", { error, output: "half" });
    const item = stateOf(born(), requested("call_2", 1), failed).transcript.at(-1);
    expect(item).toMatchObject({
      content: "Error TOOL_TRAPPED: unreachable\nhalf",
      errorCode: "TOOL_TRAPPED",
    });
  });
});

describe("turns and what they cost", () => {
  const stepsOf = (...events: readonly Event[]): number => stateOf(...events).turn.steps;

  test("input to a resting agent begins a turn, input to a working one joins it", () => {
    expect(stepsOf(born(), spoke("one", 1))).toBe(1);
    expect(stepsOf(born(), spoke("one", 1), said("on"))).toBe(0);
    expect(stepsOf(born(), requested("call_2", 1), said("on"))).toBe(1);
    expect(stepsOf(born(), answered("done", 1), said("on"))).toBe(0);
  });
  test("input to an agent that was paused at rest begins a turn too", () => {
    expect(stepsOf(born(), spoke("one", 1), paused(), said("on"))).toBe(0);
    expect(stepsOf(born(), requested("call_2", 1), paused(), said("on"))).toBe(1);
  });
  test("time counts while there is work, not at rest, in a pause or before a confirmation", () => {
    const workedMs = (...events: readonly Event[]): number => stateOf(...events).stats.workedMs;
    expect(workedMs(born(), spoke("one", 1))).toBe(1000);
    expect(workedMs(born(), spoke("one", 1), said("on"))).toBe(1000);
    expect(workedMs(born(), paused(), resumed, spoke("one", 1))).toBe(2000);
    const confirmed: Event = {
      type: "ToolConfirmed",
      key: null,
      callId: "call_2",
      approve: true,
      reason: "",
    };
    const asked = [born(), requested("call_2", 1, true), confirmed, returned("call_2")];
    expect(workedMs(...asked)).toBe(2000);
  });
  test("a clock that was set back counts as no time", () => {
    const [first, second] = logged([born(), spoke("one", 1)]);
    const state = fold([first!, { ...second!, atMs: startMs - 60_000 }]);
    expect(state.stats.workedMs).toBe(0);
  });
  test("tokens, fuel, steps and tool calls add up over turns", () => {
    const state = stateOf(
      born(),
      requested("call_2", 1),
      requested("call_3", null),
      returned("call_2"),
      returned("call_3"),
      spoke("one", 5),
      said("on"),
      spoke("two", 7),
    );
    expect(state.stats).toEqual({
      steps: 3,
      toolCalls: 2,
      workedMs: 6000,
      promptTokens: 21,
      completionTokens: 9,
      fuelUsed: 20,
    });
  });
  test("model faults count up to the next reply, and a retry forgets them", () => {
    const call = callAfter(1);
    const fault: Event = {
      type: "ModelFailed",
      call,
      code: "MODEL_ERROR",
      message: "no",
      retryAtMs: 9,
    };
    const faulty = stateOf(born(), fault, fault);
    expect(faulty.turn).toMatchObject({ attempts: 2, retryAtMs: 9, steps: 0 });
    const fresh = { attempts: 0, retryAtMs: 0 };
    expect(stateOf(born(), fault, fault, spoke("one", 3)).turn).toMatchObject(fresh);
    const retried: Event = { type: "AgentRetried", key: null };
    expect(stateOf(born(), fault, turnFailed, retried).turn).toMatchObject(fresh);
  });
});

test("behind a clock that was set back no retry is waited for", () => {
  const call = callAfter(1);
  const fault = { type: "ModelFailed", code: "MODEL_ERROR", message: "no" } as const;
  const retryAtMs = startMs + 9_000;
  const log = logged([born(), { ...fault, call, retryAtMs }, said("and?")]);
  expect(fold(log).turn).toMatchObject({ attempts: 1, retryAtMs });
  const setBack = log.map((it) => (it.sequence === 3 ? { ...it, atMs: startMs - 86_400_000 } : it));
  expect(fold(setBack).turn).toMatchObject({ attempts: 1, retryAtMs: 0 });
});

describe("status and reason", () => {
  const status = (...events: readonly Event[]): string => statusOf(stateOf(...events));

  test("of each stage of a life", () => {
    expect(status(born())).toBe("waiting_for_step");
    expect(status(born({ waitForInput: true }))).toBe("waiting_for_input");
    expect(status(born(), requested("call_2", 1))).toBe("waiting_for_step");
    expect(status(born(), requested("call_2", 1, true))).toBe("waiting_for_confirmation");
    expect(status(born(), requested("call_2", 1, true), paused())).toBe("paused");
    expect(status(born(), requested("call_2", 1, true), paused(), resumed)).toBe(
      "waiting_for_confirmation",
    );
    expect(status(born(), spoke("one", 1))).toBe("waiting_for_input");
    expect(status(born(), turnFailed)).toBe("failed");
    expect(status(born(), canceled)).toBe("canceled");
    expect(status(born(), answered("done", 1))).toBe("completed");
  });
  test("the reason is the pause's or the failure's, and goes with it", () => {
    expect(stateOf(born(), paused("lunch")).reason).toBe("lunch");
    expect(stateOf(born(), paused("lunch"), resumed).reason).toBe("");
    expect(stateOf(born(), turnFailed).reason).toBe("MODEL_ERROR: no");
    expect(stateOf(born(), turnFailed, { type: "AgentRetried", key: null }).reason).toBe("");
    expect(stateOf(born(), paused("lunch"), canceled).reason).toBe("");
  });
  test("pausing the paused changes nothing but what its key is known by", () => {
    const once = stateOf(born(), paused("lunch"));
    const twice = stateOf(born(), paused("lunch"), paused("tea"));
    expect(twice).toEqual({ ...once, sequence: 3, updatedAtMs: twice.updatedAtMs });
  });
  test("an agent that waits for input is not started by its goal, but told it", () => {
    const state = stateOf(born({ waitForInput: true }), said("go"));
    expect(shown(state)).toEqual(["user 2"]);
    expect(state.spec.goal).toBe(born().goal);
  });
  test("a thought alone is kept as a reply without text", () => {
    const thought: Event = { type: "ModelThought", head: headAfter(1), content: "hm" };
    const state = stateOf(born(), thought);
    expect(statusOf(state)).toBe("waiting_for_input");
    expect(state.transcript.at(-1)).toMatchObject({ kind: "assistant", content: "" });
  });
});
