import { describe, expect, test } from "bun:test";
import { condensingPrompt, planContext, summaryOf, tokenScale } from "../../src/agent/context.ts";
import type { AgentSpec, Event, ModelCall } from "../../src/agent/event.ts";
import { fold } from "../../src/agent/fold.ts";
import { abilitiesUnknown } from "../../src/agent/request.ts";
import type { AgentState } from "../../src/agent/state.ts";
import { born, callAfter, logged, outcome, said } from "../support/events.ts";

/* What a model's own count of a prompt is worth once the prompt's fixed part has changed, or where it was of more than that. */

const behind = (state: AgentState, ...events: readonly Event[]): AgentState =>
  fold(logged([...events], state.sequence), state);

const edited = ({ spec }: AgentState, over: Partial<AgentSpec>): Event => ({
  type: "AgentEdited",
  key: null,
  spec: { ...spec, ...over },
  description: "",
});

const spoke = (
  content: string,
  promptTokens: number,
  call: Partial<ModelCall> & Pick<ModelCall, "afterSequence">,
): Event => ({
  type: "ModelSpoke",
  head: { call: callAfter(call.afterSequence, call), usage: { promptTokens, completionTokens: 1 } },
  content,
});

const config = { contextTokensMax: 8_000, waitForInput: true };
const long = "s".repeat(24_000);
const grown = said("q".repeat(12_000));

/** An agent whose prompt is a long system prompt, as its model has counted it. */
const told = fold(
  logged([
    born(config, { systemPrompt: long }),
    said("hello"),
    spoke("well", 6_100, { afterSequence: 2 }),
  ]),
);
const scale = tokenScale(told);

describe("a count of the model's", () => {
  test("is of the prompt as it was: an edit that shortens it makes room", () => {
    const full = behind(told, grown);
    expect(planContext(full)).toBe("overflow");
    const short = behind(full, edited(full, { systemPrompt: "" }));
    expect(tokenScale(short)).toBeCloseTo(scale, 5);
    expect(planContext(short)).toBeNull();
  });

  test("that was on its way when an edit came is none of the prompt as it is now", () => {
    const on = behind(told, said("on"));
    const change = edited(on, { systemPrompt: "" });
    const after = { afterSequence: on.sequence };
    const short = behind(on, change, spoke("so", 6_150, after), grown);
    expect(tokenScale(short)).toBeCloseTo(scale, 5);
    expect(planContext(short)).toBeNull();
    const refused: Event = {
      type: "ModelFailed",
      call: callAfter(on.sequence, { abilities: abilitiesUnknown }),
      code: "CONTEXT_OVERFLOW",
      message: "too long",
      retryAtMs: 0,
      overflow: { contextTokens: null, promptTokens: 6_150 },
    };
    expect(tokenScale(behind(on, change, refused))).toBeCloseTo(scale, 5);
    // The next one is.
    const next = behind(short, spoke("yes", 2 * 3_200, { afterSequence: short.sequence }));
    expect(tokenScale(next)).toBeGreaterThan(1.5);
  });

  test("of other tools says as little", () => {
    const tools = [{ name: "t", description: "d".repeat(20_000), parameters: {} }];
    const failed: Event = {
      type: "ModelFailed",
      call: callAfter(told.sequence, { tools }),
      code: "MODEL_UNAVAILABLE",
      message: "away",
      retryAtMs: 0,
    };
    expect(tokenScale(behind(told, failed))).toBeCloseTo(scale, 5);
  });

  test("counts the beginning of an answer too, where that was gone on with", () => {
    const young = fold(logged([born(config), said("write")]));
    const answer = "w".repeat(16_000);
    const call = { afterSequence: 2, continuedLength: 15_000 };
    const asked: Event = {
      type: "ToolRequested",
      head: null,
      callId: "call_4",
      name: "echo",
      inputJson: "{}",
      requiresConfirmation: false,
    };
    const state = behind(young, spoke(answer, 3_900, call), asked, {
      type: "ToolReturned",
      callId: "call_4",
      ...outcome,
    });
    expect(tokenScale(state)).toBe(1);
    expect(planContext(state)).toBeNull();
  });
});

describe("what the server told of how much the model can read", () => {
  const refused: Event = {
    type: "ModelFailed",
    call: callAfter(2, { abilities: abilitiesUnknown }),
    code: "CONTEXT_OVERFLOW",
    message: "too long",
    retryAtMs: 0,
    overflow: { contextTokens: 10, promptTokens: null },
  };
  const tellsLittle = { abilities: { ...abilitiesUnknown, contextTokens: 10 } };
  const states = {
    "of a prompt": fold(logged([born(config), said("hello"), refused])),
    "of the model": fold(
      logged([
        born(config),
        said("hello"),
        spoke("hi", 0, { afterSequence: 2, ...tellsLittle }),
        said("and now?"),
      ]),
    ),
  };
  const failed: Event = { type: "TurnFailed", code: "CONTEXT_OVERFLOW", message: "too long" };
  const retried: Event = { type: "AgentRetried", key: null };

  for (const [what, narrow] of Object.entries(states)) {
    test(`${what} is asked anew where an edit says otherwise`, () => {
      expect(planContext(narrow)).toBe("overflow");
      const other = behind(narrow, edited(narrow, { metadata: { a: "b" } }));
      expect(planContext(other)).toBe("overflow");
      const wider = { ...narrow.spec.config, contextTokensMax: 9_000 };
      expect(planContext(behind(narrow, edited(narrow, { config: wider })))).toBeNull();
    });
    test(`${what} is asked anew by a retry, since that may be what was mended`, () => {
      expect(planContext(behind(narrow, failed, retried))).toBeNull();
      const another: Event = { ...failed, code: "MODEL_ERROR" };
      expect(planContext(behind(narrow, another, retried))).toBe("overflow");
    });
  }

  test("by a call that was on its way when an edit named another model is none of that one", () => {
    const state = fold(logged([born(config), said("hello")]));
    const change = edited(state, { model: "larger" });
    const next = behind(state, change, spoke("hi", 0, { afterSequence: 2, ...tellsLittle }));
    expect(next.reach).toEqual({ told: null, learnt: null });
  });
});

test("what is shortened is whole characters, and is short however little room there is", () => {
  const text = "\u{1f600}".repeat(9_000);
  for (const first of ["", "x"]) {
    const state = fold(logged([born(config), said(first + text)]));
    expect(condensingPrompt(state, 1)[1]?.content.isWellFormed()).toBe(true);
    expect(summaryOf(state, 1, first + text).isWellFormed()).toBe(true);
  }
  const tiny = fold(logged([born({ contextTokensMax: 5, waitForInput: true }), said("hello")]));
  expect(summaryOf(tiny, 1, text).length).toBeLessThan(10);
  // Of a model that writes half a character.
  expect(summaryOf(tiny, 1, "\ud800").isWellFormed()).toBe(true);
});
