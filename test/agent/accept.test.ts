import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { accept, type Command } from "../../src/agent/accept.ts";
import type { Event, MessageKey } from "../../src/agent/event.ts";
import { fold } from "../../src/agent/fold.ts";
import { type AgentState, statusOf } from "../../src/agent/state.ts";
import { EngramError } from "../../src/errors.ts";
import {
  answered,
  born,
  canceled,
  logged,
  paused,
  requested,
  resumed,
  said,
  spoke,
  turnFailed,
} from "../support/events.ts";
import { anyHistory } from "../support/histories.ts";
import { seeded } from "../support/seed.ts";

const stateOf = (...events: readonly Event[]): AgentState => fold(logged([born(), ...events]));
const after = (state: AgentState, events: readonly Event[]): AgentState =>
  fold(logged(events, state.sequence), state);

const asking = requested("call_2", 1, true);
const lives = {
  working: stateOf(),
  resting: stateOf(spoke("one", 1)),
  asking: stateOf(asking),
  paused: stateOf(paused("lunch")),
  completed: stateOf(answered("done", 1)),
  failed: stateOf(turnFailed),
  canceled: stateOf(canceled),
} as const;
type Life = keyof typeof lives;

const commands = {
  say: { type: "Say", content: "hi", attachments: [] },
  pause: { type: "Pause", reason: "tea" },
  resume: { type: "Resume" },
  cancel: { type: "Cancel" },
  retry: { type: "Retry" },
  edit: { type: "Edit", change: (spec) => ({ ...spec, model: "other" }), description: "swap" },
  approve: { type: "Confirm", callId: "call_2", approve: true, reason: "" },
  reject: { type: "Confirm", callId: "call_2", approve: false, reason: "no" },
} satisfies Record<string, DistributiveOmit<Command>>;
type DistributiveOmit<T> = T extends unknown ? Omit<T, "key"> : never;
type Name = keyof typeof commands;

const give = (name: Name, key: MessageKey | null = null): Command => ({ ...commands[name], key });

/** What a command comes to: the status after it (= for none recorded), or the code of its refusal. */
function resultOf(state: AgentState, command: Command): string {
  try {
    const { events } = accept(state, command);
    return events.length === 0 ? "=" : statusOf(after(state, events));
  } catch (error) {
    if (error instanceof EngramError) return error.code;
    throw error;
  }
}

const no = "failed_precondition";
const work = "waiting_for_step";
const rest = "waiting_for_input";
const asks = "waiting_for_confirmation";
const none = "not_found";
// Columns in the order of `lives`.
const table: Readonly<Record<Name, readonly string[]>> = {
  say: [work, work, asks, "paused", work, no, no],
  pause: ["paused", "paused", "paused", "=", no, no, no],
  resume: ["=", "=", "=", work, no, no, no],
  cancel: ["canceled", "canceled", "canceled", "canceled", "canceled", "canceled", "="],
  retry: [no, no, no, no, no, work, no],
  edit: [work, rest, asks, "paused", "completed", "failed", no],
  approve: [none, none, work, none, none, none, none],
  reject: [none, none, work, none, none, none, none],
};
const names = Object.keys(table) as Name[];

describe.each(names)("%s", (name) => {
  test.each((Object.keys(lives) as Life[]).map((life, at) => [life, table[name][at]!] as const))(
    "of one %s: %s",
    (life, expected) => {
      expect(resultOf(lives[life], give(name))).toBe(expected);
    },
  );
});

describe("a refusal", () => {
  const refusalOf = (state: AgentState, name: Name): string => {
    try {
      accept(state, give(name));
      return "";
    } catch (error) {
      return error instanceof Error ? error.message : "";
    }
  };

  test("says what state the agent is in and what to do about it", () => {
    expect(refusalOf(lives.failed, "say")).toMatch(/failed \(MODEL_ERROR: no\).*retry/);
    expect(refusalOf(lives.canceled, "say")).toMatch(/canceled.*fork/);
    expect(refusalOf(lives.completed, "pause")).toMatch(/completed.*message/);
    expect(refusalOf(lives.working, "retry")).toMatch(/only a failed/);
    expect(refusalOf(lives.working, "approve")).toMatch(/call_2/);
  });
});

describe("a confirmation", () => {
  const unasked = stateOf(requested("call_2", 1));
  const approved = after(lives.asking, accept(lives.asking, give("approve")).events);
  const rejected = after(lives.asking, accept(lives.asking, give("reject")).events);

  test("that approves lets the call run", () => {
    expect(approved.pendingCalls).toMatchObject([{ callId: "call_2", awaitsConfirmation: false }]);
  });
  test("that rejects gives the model an error result with the reason", () => {
    expect(rejected.pendingCalls).toEqual([]);
    expect(rejected.transcript.at(-1)).toMatchObject({
      kind: "tool",
      callId: "call_2",
      content: "Error TOOL_REJECTED: the user rejected this call: no",
    });
    expect(statusOf(rejected)).toBe(work);
  });
  test("given again changes nothing; the opposite is refused, later too", () => {
    expect(resultOf(approved, give("approve"))).toBe("=");
    expect(resultOf(approved, give("reject"))).toBe(no);
    expect(resultOf(rejected, give("reject"))).toBe("=");
    expect(resultOf(rejected, give("approve"))).toBe(no);
    const over = after(approved, [canceled]);
    expect(resultOf(over, give("approve"))).toBe("=");
    expect(resultOf(over, give("reject"))).toBe(no);
  });
  test("of a call that asks for none is refused", () => {
    expect(resultOf(unasked, give("approve"))).toBe(no);
  });
  test("is taken in a pause, which goes on", () => {
    const still = after(lives.asking, [paused()]);
    expect(resultOf(still, give("approve"))).toBe("paused");
    const going = after(still, [...accept(still, give("approve")).events, resumed]);
    expect(statusOf(going)).toBe(work);
  });
  test("one of two leaves the other waiting", () => {
    const two = stateOf(asking, requested("call_3", null, true));
    expect(resultOf(two, give("reject"))).toBe(asks);
  });
});

describe("an edit", () => {
  test("records the spec that its change gives, and says nothing without a description", () => {
    const state = after(lives.resting, accept(lives.resting, give("edit")).events);
    expect(state.spec.model).toBe("other");
    expect(state.transcript.at(-1)).toMatchObject({ kind: "operator", content: "swap" });
    const silent = { ...give("edit"), description: "" };
    const { transcript } = after(lives.resting, accept(lives.resting, silent).events);
    expect(transcript).toEqual(lives.resting.transcript);
  });
  test("fails with what its change throws", () => {
    const change = (): never => {
      throw new EngramError("invalid_argument", "patch.model is wrong");
    };
    const command: Command = { type: "Edit", key: null, change, description: "" };
    expect(resultOf(lives.working, command)).toBe("invalid_argument");
  });
});

describe("a message id", () => {
  const key = { messageId: "m1", digest: "d1" };

  test("is recorded once: a repetition is answered with the first sequence, whatever came after", () => {
    const first = accept(lives.working, give("say", key));
    expect(first).toMatchObject({ sequence: 1, events: [{ type: "MessageReceived", key }] });
    const state = after(lives.working, [...first.events, said("more"), canceled]);
    expect(accept(state, give("say", key))).toEqual({ events: [], sequence: 2 });
  });
  test("with other content is already_exists", () => {
    const state = after(lives.working, accept(lives.working, give("say", key)).events);
    expect(resultOf(state, give("say", { ...key, digest: "d2" }))).toBe("already_exists");
    expect(resultOf(state, give("pause", { ...key, digest: "d3" }))).toBe("already_exists");
  });
  test("makes a late repetition of what changed nothing change nothing still", () => {
    const { events } = accept(lives.working, give("resume", key));
    expect(events).toEqual([{ type: "AgentResumed", key }]);
    const later = after(lives.working, [...events, paused("lunch")]);
    expect(accept(later, give("resume", key))).toEqual({ events: [], sequence: 2 });
    expect(statusOf(later)).toBe("paused");
  });
  test("is recorded with every no-op, which leaves all else as it was", () => {
    const noOps: readonly (readonly [Life, Name])[] = [
      ["working", "resume"],
      ["resting", "resume"],
      ["asking", "resume"],
      ["paused", "pause"],
      ["canceled", "cancel"],
    ];
    for (const [life, name] of noOps) {
      const before = lives[life];
      const state = after(before, accept(before, give(name, key)).events);
      const { turn, stats, updatedAtMs } = state;
      expect(state.keys.get("m1")).toEqual({ sequence: before.sequence + 1, digest: "d1" });
      const { sequence, keys } = state;
      expect(state).toEqual({ ...before, sequence, updatedAtMs, keys, turn, stats });
    }
  });
  test("given a hundred times, in any order with others, has its effect once", () => {
    const anyCommand = fc.record({
      name: fc.constantFrom<Name>("say", "pause", "resume", "edit"),
      id: fc.nat({ max: 4 }),
    });
    fc.assert(
      fc.property(fc.array(anyCommand, { maxLength: 40 }), (given) => {
        let state: AgentState = lives.working;
        const firsts = new Map<string, number>();
        for (const { name, id } of given) {
          const messageId = `${name}${id}`;
          const { events, sequence } = accept(state, give(name, { messageId, digest: name }));
          const known = firsts.get(messageId);
          expect(events.length).toBe(known === undefined ? 1 : 0);
          if (known === undefined) firsts.set(messageId, state.sequence + 1);
          else expect(sequence).toBe(known);
          state = after(state, events);
        }
        expect(state.sequence).toBe(1 + firsts.size);
      }),
      seeded(100),
    );
  });
});

test("in any life every command is taken or refused with a word, and what it gives can be folded", () => {
  const key = fc.option(fc.record({ messageId: fc.constantFrom("m0", "m3"), digest: fc.string() }));
  fc.assert(
    fc.property(anyHistory, fc.constantFrom(...names), key, ({ log }, name, given) => {
      for (let end = 1; end <= log.length; end++)
        resultOf(fold(log.slice(0, end)), give(name, given));
    }),
    seeded(150),
  );
});

test("input to any agent that is not failed or canceled is worked on, or kept for the end of a wait", () => {
  fc.assert(
    fc.property(anyHistory, ({ log }) => {
      for (let end = 1; end <= log.length; end++) {
        const state = fold(log.slice(0, end));
        const result = resultOf(state, give("say"));
        const open = state.lifecycle === "open" || state.lifecycle === "completed";
        expect([work, asks, "paused"].includes(result)).toBe(open);
        expect(result === "paused").toBe(open && state.paused);
      }
    }),
    seeded(150),
  );
});
