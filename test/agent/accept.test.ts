import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { accept, type Command } from "../../src/agent/accept.ts";
import type { Event, MessageKey } from "../../src/agent/event.ts";
import { fold } from "../../src/agent/fold.ts";
import { type Marks, marksOf, messageKey } from "../../src/agent/mark.ts";
import { type AgentState, statusOf } from "../../src/agent/state.ts";
import { EngramError } from "../../src/errors.ts";
import { engineLimits } from "../../src/limits.ts";
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

const unmarked: Marks = new Map();
/** The marks of a log that goes on with these events behind `state`. */
const marksBehind = ({ sequence }: AgentState, events: readonly Event[]): Marks =>
  new Map(marksOf(events, sequence).map((mark) => [mark.key, mark]));

/** What a command comes to: the status after it (= for none recorded), or the code of its refusal. */
function resultOf(state: AgentState, command: Command, known: Marks = unmarked): string {
  try {
    const { events } = accept(state, command, known);
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
      accept(state, give(name), unmarked);
      return "";
    } catch (error) {
      return error instanceof Error ? error.message : "";
    }
  };

  test("says what state the agent is in and what to do about it", () => {
    expect(refusalOf(lives.failed, "say")).toMatch(/failed \(MODEL_ERROR: no\).*retry/);
    expect(refusalOf(lives.canceled, "say")).toMatch(/canceled.*fork/);
    expect(refusalOf(lives.completed, "pause")).toMatch(/completed.*message/);
    expect(refusalOf(lives.working, "retry")).toMatch(/waiting_for_step .*only a failed/);
    expect(refusalOf(lives.paused, "retry")).toMatch(/paused .*only a failed/);
    expect(refusalOf(lives.working, "approve")).toMatch(/call_2/);
  });
});

describe("a confirmation", () => {
  const unasked = stateOf(requested("call_2", 1));
  const approval = accept(lives.asking, give("approve"), unmarked).events;
  const rejection = accept(lives.asking, give("reject"), unmarked).events;
  const approved = after(lives.asking, approval);
  const rejected = after(lives.asking, rejection);

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
    const yes = marksBehind(lives.asking, approval);
    const never = marksBehind(lives.asking, rejection);
    expect(resultOf(approved, give("approve"), yes)).toBe("=");
    expect(resultOf(approved, give("reject"), yes)).toBe(no);
    expect(resultOf(rejected, give("reject"), never)).toBe("=");
    expect(resultOf(rejected, give("approve"), never)).toBe(no);
    const over = after(approved, [canceled]);
    expect(resultOf(over, give("approve"), yes)).toBe("=");
    expect(resultOf(over, give("reject"), yes)).toBe(no);
  });
  test("of a call that asks for none is refused", () => {
    expect(resultOf(unasked, give("approve"))).toBe(no);
  });
  test("is taken in a pause, which goes on", () => {
    const still = after(lives.asking, [paused()]);
    expect(resultOf(still, give("approve"))).toBe("paused");
    const going = after(still, [...accept(still, give("approve"), unmarked).events, resumed]);
    expect(statusOf(going)).toBe(work);
  });
  test("one of two leaves the other waiting", () => {
    const two = stateOf(asking, requested("call_3", null, true));
    expect(resultOf(two, give("reject"))).toBe(asks);
  });
});

describe("an edit", () => {
  test("records the spec that its change gives, and says nothing without a description", () => {
    const state = after(lives.resting, accept(lives.resting, give("edit"), unmarked).events);
    expect(state.spec.model).toBe("other");
    expect(state.transcript.at(-1)).toMatchObject({ kind: "operator", content: "swap" });
    const silent = { ...give("edit"), description: "" };
    const { transcript } = after(lives.resting, accept(lives.resting, silent, unmarked).events);
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
    const first = accept(lives.working, give("say", key), unmarked);
    expect(first).toMatchObject({ sequence: 1, events: [{ type: "MessageReceived", key }] });
    const later = [...first.events, said("more"), canceled];
    const state = after(lives.working, later);
    const marks = marksBehind(lives.working, later);
    expect(accept(state, give("say", key), marks)).toEqual({ events: [], sequence: 2 });
  });
  test("with other content is already_exists", () => {
    const { events } = accept(lives.working, give("say", key), unmarked);
    const state = after(lives.working, events);
    const marks = marksBehind(lives.working, events);
    expect(resultOf(state, give("say", { ...key, digest: "d2" }), marks)).toBe("already_exists");
    expect(resultOf(state, give("pause", { ...key, digest: "d3" }), marks)).toBe("already_exists");
  });
  test("makes a late repetition of what changed nothing change nothing still", () => {
    const { events } = accept(lives.working, give("resume", key), unmarked);
    expect(events).toEqual([{ type: "AgentResumed", key }]);
    const later = after(lives.working, [...events, paused("lunch")]);
    const marks = marksBehind(lives.working, events);
    expect(accept(later, give("resume", key), marks)).toEqual({ events: [], sequence: 2 });
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
      const { events } = accept(before, give(name, key), unmarked);
      const { turn, stats, updatedAtMs, sequence, ...state } = after(before, events);
      expect(marksBehind(before, events).get(messageKey("m1"))).toEqual({
        key: messageKey("m1"),
        sequence: before.sequence + 1,
        digest: "d1",
      });
      expect({ ...state, turn, stats, updatedAtMs, sequence }).toEqual({
        ...before,
        sequence,
        updatedAtMs,
        turn,
        stats,
      });
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
        const recorded: Event[] = [];
        const firsts = new Map<string, number>();
        for (const { name, id } of given) {
          const messageId = `${name}${id}`;
          const marks = marksBehind(lives.working, recorded);
          const command = give(name, { messageId, digest: name });
          const { events, sequence } = accept(state, command, marks);
          const known = firsts.get(messageId);
          expect(events.length).toBe(known === undefined ? 1 : 0);
          if (known === undefined) firsts.set(messageId, state.sequence + 1);
          else expect(sequence).toBe(known);
          state = after(state, events);
          recorded.push(...events);
        }
        expect(state.sequence).toBe(1 + firsts.size);
      }),
      seeded(100),
    );
  });
  test("is a fork's own again, while decisions go with the copied calls", () => {
    const decided: Event = {
      type: "ToolConfirmed",
      key: { messageId: "m2", digest: "d" },
      callId: "call_2",
      approve: true,
      reason: "",
    };
    const spoken: Event = { ...said("hi"), key } as Event;
    const forked: Event = {
      type: "AgentForked",
      parent: { agentId: "p", sequence: 2 },
      metadata: {},
    };
    const keysOf = (events: readonly Event[]): string[] => marksOf(events, 0).map((it) => it.key);
    expect(keysOf([spoken, decided])).toEqual(["message m1", "message m2", "decision call_2"]);
    expect(keysOf([spoken, decided, forked])).toEqual(["decision call_2"]);
    expect(marksOf([forked, spoken, spoken], 4)).toEqual([
      { key: "message m1", sequence: 6, digest: "d1" },
    ]);
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

test("a conversation that is full takes no more input, but all else", () => {
  const base64 = "x".repeat(engineLimits.conversationCharsMax / 4);
  const file = { name: "f", mimeType: "image/png", base64 };
  const sent: Event = { type: "MessageReceived", key: null, content: "", attachments: [file] };
  const say: Command = { type: "Say", key: null, content: "more", attachments: [] };
  const pausing = paused();
  const nearly = stateOf(pausing, sent, sent, sent);
  expect(accept(nearly, say, new Map()).events.length).toBe(1);
  const full = after(nearly, [sent]);
  expect(() => accept(full, say, new Map())).toThrow(
    expect.objectContaining({ code: "resource_exhausted" }),
  );
  expect(accept(full, { type: "Resume", key: null }, new Map()).events.length).toBe(1);
});
