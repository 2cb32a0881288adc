import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { Event, EventType } from "../../src/agent/event.ts";
import { turnLimits } from "../../src/limits.ts";
import { eventOf } from "../../src/store/codec.ts";
import { faultyFieldOf } from "../../src/store/event-shape.ts";
import {
  anyEventOf,
  born,
  callAfter,
  headAfter,
  requested,
  returned,
  said,
} from "../support/events.ts";
import { anyHistory } from "../support/histories.ts";
import { seeded } from "../support/seed.ts";

const types = Object.keys(anyEventOf) as EventType[];
/** Holds whatever a client or a model has put in. */
const isFree = (path: readonly string[]): boolean =>
  path.some((name) => ["responseSchema", "parameters", "structured"].includes(name));

type Change = { readonly path: readonly string[]; readonly changed: unknown };

/** The value with each of its fields, at any depth, left out or made another type's, one at a time. */
function* changesOf(value: unknown, path: readonly string[] = []): Generator<Change> {
  if (typeof value !== "object" || value === null || isFree(path)) return;
  for (const [name, field] of Object.entries(value)) {
    const inside = [...path, name];
    const wrong = typeof field === "boolean" ? "yes" : true;
    yield { path: inside, changed: { ...value, [name]: wrong } };
    if (!Array.isArray(value) && path.at(-1) !== "metadata") {
      const { [name]: _, ...rest } = value as Record<string, unknown>;
      yield { path: inside, changed: rest };
    }
    for (const deeper of changesOf(field, inside))
      yield { path: deeper.path, changed: { ...value, [name]: deeper.changed } };
  }
}

const known = (value: unknown): Event | null => {
  try {
    return eventOf(value);
  } catch {
    return null; // The codec has noticed.
  }
};

describe.each(types)("%s", (type) => {
  test("is whole as it is written", () => {
    fc.assert(
      fc.property(anyEventOf[type], fc.option(fc.nat()), (event, workedMs) => {
        const worked = workedMs === null ? event : { ...event, workedMs };
        expect(faultyFieldOf(worked)).toBeNull();
      }),
      seeded(50),
    );
  });
  test("is faulty where any field is left out or of another type", () => {
    fc.assert(
      fc.property(anyEventOf[type], (event) => {
        for (const { path, changed } of changesOf(event)) {
          const found = known(changed);
          if (found !== null) expect([path, faultyFieldOf(found)]).not.toEqual([path, null]);
        }
      }),
      seeded(20),
    );
  });
});

test("the events of any life are whole", () => {
  fc.assert(
    fc.property(anyHistory, ({ log }) => {
      for (const { event } of log) expect(faultyFieldOf(event)).toBeNull();
    }),
    seeded(20),
  );
});

test("a fault is named by its path", () => {
  const call = { ...callAfter(1), nowMs: 1e300 };
  const usage = { promptTokens: 1, completionTokens: 1 };
  const tools = [{ name: "a", description: "", parameters: null, requiresConfirmation: 1 }];
  const file = { name: "a", mimeType: "image/png" };
  const faults: readonly (readonly [unknown, string])[] = [
    [born({ stepsMax: 2 ** 31 }), "config.stepsMax"],
    [born({ stepsMax: 1.5 }), "config.stepsMax"],
    [born({ totalTokensMax: 0.5 }), "config.totalTokensMax"],
    [born({ totalTokensMax: 2 ** 53 }), "config.totalTokensMax"],
    [born({ temperature: 5.1 }), "config.temperature"],
    [{ ...born(), metadata: { a: 1 } }, "metadata.a"],
    [{ ...born(), metadata: ["a"] }, "metadata"],
    [{ ...born(), tools }, "tools[0].requiresConfirmation"],
    [returned("c", { fuelUsed: -1 }), "fuelUsed"],
    [returned("c", { memoryBytes: 1.5 }), "memoryBytes"],
    [{ ...returned("c"), workedMs: -1 }, "workedMs"],
    [{ ...returned("c"), workedMs: 315_576_000_000_001 }, "workedMs"],
    [{ ...said("x"), attachments: [{ ...file, base64: "aGk" }] }, "attachments[0].base64"],
    [{ ...said("x"), attachments: [{ ...file, base64: 'aG"=' }] }, "attachments[0].base64"],
    [{ ...requested("c", 1), head: { call, usage } }, "head.call.nowMs"],
  ];
  for (const [event, path] of faults) expect(faultyFieldOf(event as Event)).toBe(path);
});

test("what newer engines note of a call may be absent, and is not anything else than it is to be", () => {
  const call = callAfter(1);
  const failed = (of: object, more: object = {}): string | null =>
    faultyFieldOf({
      type: "ModelFailed",
      call: { ...call, ...of },
      code: "MODEL_ERROR",
      message: "",
      retryAtMs: 0,
      ...more,
    });
  const abilities = { tools: true, thinking: false, contextTokens: null };
  const continuations = [{ length: 3, headSequence: 2 }];
  const overflow = { contextTokens: 4, promptTokens: null };
  expect(failed({})).toBeNull();
  expect(failed({ abilities, continuations }, { overflow })).toBeNull();
  expect(failed({ abilities: { ...abilities, tools: "no" } })).toBe("call.abilities.tools");
  expect(failed({ continuations: [{ length: -1, headSequence: 2 }] })).toBe(
    "call.continuations[0].length",
  );
  // As many as an engine writes: they are held against each other.
  const { continuationsKept } = turnLimits;
  const many = Array.from({ length: continuationsKept + 1 }, () => continuations).flat();
  expect(failed({ continuations: many.slice(1) })).toBeNull();
  expect(failed({ continuations: many })).toBe("call.continuations");
  expect(failed({}, { overflow: { ...overflow, contextTokens: "4" } })).toBe(
    "overflow.contextTokens",
  );
});

test("events may tell of the call behind them, and of the answer that was given up", () => {
  const call = callAfter(3, { condensedItems: 2 });
  const condensed = {
    type: "ContextCondensed",
    items: 2,
    summary: "",
    usage: headAfter(3).usage,
  } as const;
  const ended = { type: "TurnFailed", code: "MODEL_ERROR", message: "" } as const;
  const abandoned = { type: "AnswerAbandoned", call, reason: "" } as const;
  const fault = (event: object): string | null => faultyFieldOf(event as Event);
  for (const event of [condensed, ended, { ...condensed, call }, { ...ended, call }])
    expect(fault(event)).toBeNull();
  expect([fault(abandoned), fault({ ...abandoned, text: "so far" })]).toEqual([null, null]);
  for (const event of [condensed, ended])
    expect(fault({ ...event, call: { ...call, condensedItems: -1 } })).toBe("call.condensedItems");
  expect(fault({ ...abandoned, text: 1 })).toBe("text");
});
