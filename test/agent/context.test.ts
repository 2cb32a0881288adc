import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { condensingPrompt, planContext, summaryOf, tokenScale } from "../../src/agent/context.ts";
import { decide } from "../../src/agent/decide.ts";
import type { Event, ModelCall } from "../../src/agent/event.ts";
import { fold } from "../../src/agent/fold.ts";
import { buildPrompt, type PromptMessage } from "../../src/agent/prompt.ts";
import { abilitiesUnknown } from "../../src/agent/request.ts";
import type { AgentState } from "../../src/agent/state.ts";
import { contextLimits } from "../../src/limits.ts";
import { born, callAfter, logged, outcome, said } from "../support/events.ts";
import { seeded } from "../support/seed.ts";

/** A part of a life: something said and answered, perhaps by way of tools. */
type Exchange = { readonly chars: number; readonly tools: number };

const noUsage = { promptTokens: 0, completionTokens: 0 };

/** An agent with these exchanges behind it and a message that waits for its answer. */
function agentWith(exchanges: readonly Exchange[], contextTokensMax: number): AgentState {
  const events: Event[] = [born({ contextTokensMax, waitForInput: true })];
  const headNow = () => ({ call: callAfter(events.length), usage: noUsage });
  for (const { chars, tools } of exchanges) {
    events.push(said("q".repeat(chars)));
    for (let n = 0; n < tools; n++) {
      const callId = `call_${events.length + 1}`;
      events.push({
        type: "ToolRequested",
        head: headNow(),
        callId,
        name: "echo",
        inputJson: "{}",
        requiresConfirmation: false,
      });
      events.push({ type: "ToolReturned", callId, ...outcome, output: "r".repeat(chars) });
    }
    events.push({ type: "ModelSpoke", head: headNow(), content: "a".repeat(chars) });
  }
  events.push(said("and now?"));
  return fold(logged(events));
}

/** The state once the plan is carried out. */
function condensed(state: AgentState, items: number, summary = "what was said"): AgentState {
  const event: Event = { type: "ContextCondensed", items, summary, usage: noUsage };
  return fold([{ sequence: state.sequence + 1, atMs: state.updatedAtMs, event }], state);
}

/** The state once all plans are carried out. */
function settled(state: AgentState): AgentState {
  for (let left = state; ;) {
    const plan = planContext(left);
    if (plan === null || plan === "overflow") return left;
    left = condensed(left, plan.items);
  }
}

/** Of a model that takes no tools as such: it is sent more words. */
const withoutTools = { ...abilitiesUnknown, tools: false };
const echo = { name: "echo", description: "says it again", parameters: { type: "object" } };

const charsOf = (messages: readonly PromptMessage[]): number =>
  messages.reduce((chars, { content }) => chars + content.length, 0);

const anyExchanges = fc.array(
  fc.record({ chars: fc.nat({ max: 900 }), tools: fc.nat({ max: 2 }) }),
  { maxLength: 30 },
);

test("what fits stays as it is", () => {
  expect(planContext(agentWith([{ chars: 100, tools: 1 }], 2_000))).toBeNull();
  expect(planContext(agentWith([], 2_000))).toBeNull();
});

test("however long, a conversation is brought down to what fits, half of it free, whole exchanges at a time", () => {
  fc.assert(
    fc.property(anyExchanges, fc.integer({ min: 1_200, max: 4_000 }), (exchanges, tokens) => {
      let state = agentWith(exchanges, tokens);
      for (let rounds = 0; rounds < 40; rounds++) {
        const plan = planContext(state);
        if (plan === null) break;
        if (plan === "overflow") throw new Error("it does not fit");
        expect(plan.items).toBeGreaterThan(0);
        expect(plan.items).toBeLessThan(state.transcript.length);
        expect(state.transcript[plan.items]?.kind).not.toBe("tool");
        const asked = charsOf(condensingPrompt(state, plan.items)) / contextLimits.charsPerToken;
        expect(asked).toBeLessThan(tokens);
        state = condensed(state, plan.items);
      }
      expect(planContext(state)).toBeNull();
      const prompt = buildPrompt(state, callAfter(state.sequence));
      const inWords = buildPrompt(
        state,
        callAfter(state.sequence, { abilities: withoutTools, tools: [echo] }),
      );
      expect(charsOf(prompt)).toBeLessThan(charsOf(inWords));
      expect(charsOf(inWords) / contextLimits.charsPerToken).toBeLessThan(tokens);
      expect(prompt.at(-1)?.content).toContain("and now?");
      expect(prompt[0]?.content).toContain(state.spec.goal);
    }),
    seeded(150),
  );
});

test("what is freed is enough for many turns", () => {
  const withTurns = (count: number): AgentState =>
    agentWith(
      Array.from({ length: count }, () => ({ chars: 300, tools: 0 })),
      3_000,
    );
  let turns = 1;
  while (planContext(withTurns(turns)) === null) turns++;
  const long = withTurns(turns);
  const plan = planContext(long);
  if (plan === null || plan === "overflow") throw new Error("it is to be condensed");
  const state = condensed(long, plan.items);
  expect(state.transcript.length).toBeGreaterThan(2);
  // Turns are kept whole: it begins with what a client said.
  expect(state.transcript[0]?.kind).toBe("user");
  const more = Array.from({ length: 3 }, (_, n) => [
    said("q".repeat(200)),
    {
      type: "ModelSpoke",
      head: { call: callAfter(state.sequence + 2 * n + 1), usage: noUsage },
      content: "a".repeat(200),
    } as const,
  ]).flat();
  expect(planContext(fold(logged(more, state.sequence), state))).toBeNull();
});

test("what is said in another script is taken for as long as models take it, before they have counted it", () => {
  const tokensOf = (messages: readonly PromptMessage[]): number =>
    messages.reduce((sum, { content }) => {
      const han = content.match(/\p{Script=Han}/gu)?.length ?? 0;
      return sum + han + (content.length - han) / contextLimits.charsPerToken;
    }, 0);
  const before = agentWith(
    Array.from({ length: 24 }, () => ({ chars: 300, tools: 0 })),
    8_000,
  );
  const pasted: Event = {
    type: "MessageReceived",
    key: null,
    content: "字".repeat(4_500),
    attachments: [],
  };
  const state = fold(
    [{ sequence: before.sequence + 1, atMs: before.updatedAtMs, event: pasted }],
    before,
  );
  expect(planContext(before)).toBeNull();
  expect(tokensOf(buildPrompt(state, callAfter(state.sequence)))).toBeGreaterThan(8_000);
  const left = settled(state);
  expect(left.transcript.length).toBeGreaterThan(0);
  expect(tokensOf(buildPrompt(left, callAfter(left.sequence)))).toBeLessThan(8_000);
  // What a summary may have is said in its own script's characters.
  const asked = (of: AgentState): number =>
    Number(
      /at most (\d+) characters/.exec(
        condensingPrompt(of, of.transcript.length)[0]?.content ?? "",
      )?.[1],
    );
  expect(asked(state)).toBeLessThan(asked(before));
});

test("what cannot fit at all ends the turn as CONTEXT_OVERFLOW", () => {
  const state = fold(logged([born({ contextTokensMax: 500 }, { goal: "g".repeat(4_000) })]));
  expect(planContext(state)).toBe("overflow");
  expect(decide(state, { nowMs: 0, workedMs: 0 })).toMatchObject({
    type: "FailTurn",
    code: "CONTEXT_OVERFLOW",
  });
});

test("without a limit of the client's, a message that is larger than the default by itself is sent", () => {
  const big = said("x".repeat(1_000_000));
  expect(planContext(fold(logged([born(), big])))).toBeNull();
  const young = agentWith([{ chars: 400, tools: 1 }], 0);
  expect(planContext(fold(logged([big], young.sequence), young))).toBeNull();
  // The turn after it reads its beginning and its end.
  const answered: Event = {
    type: "ModelSpoke",
    head: { call: callAfter(2), usage: noUsage },
    content: "long",
  };
  const next = fold(logged([born(), big, answered, said("and now?")]));
  expect(planContext(next)).toMatchObject({ items: expect.any(Number) });
});

describe("a condensed conversation", () => {
  const state = agentWith(
    [
      { chars: 400, tools: 1 },
      { chars: 400, tools: 0 },
    ],
    0,
  );

  test("goes on with its tools: results stand behind the reply that asked for them", () => {
    const short = condensed(state, 4);
    const { sequence } = short;
    const callId = `call_${sequence + 1}`;
    const asked: Event = {
      type: "ToolRequested",
      head: { call: callAfter(sequence), usage: noUsage },
      callId,
      name: "echo",
      inputJson: "{}",
      requiresConfirmation: false,
    };
    const events: Event[] = [
      asked,
      said("by the way"),
      { type: "ToolReturned", callId, ...outcome },
    ];
    const kinds = fold(logged(events, sequence), short).transcript.map(({ kind }) => kind);
    expect(kinds).toEqual(["user", "assistant", "user", "assistant", "tool", "user"]);
  });
  test("shows its summary to the model with the goal, and counts what it cost", () => {
    const event: Event = {
      type: "ContextCondensed",
      items: 4,
      summary: "the code is 42",
      usage: { promptTokens: 70, completionTokens: 7 },
    };
    const short = fold(logged([event], state.sequence), state);
    const [system] = buildPrompt(short, callAfter(short.sequence));
    expect(system?.content).toEndWith("What was said before, in short:\nthe code is 42");
    expect(short.stats.promptTokens).toBe(state.stats.promptTokens + 70);
    expect(short.stats.steps).toBe(state.stats.steps);
    expect(short.turn.steps).toBe(state.turn.steps);
  });
  test("takes the summary of before into the next", () => {
    const short = condensed(state, 4, "the code is 42");
    expect(condensingPrompt(short, 1)[1]?.content).toStartWith("Summary so far:\nthe code is 42");
  });
});

test("a model that writes no summary leaves the beginnings of what was said, within bounds", () => {
  const state = agentWith([{ chars: 4_000, tools: 0 }], 800);
  expect(summaryOf(state, 2, " told ")).toBe("told");
  expect(summaryOf(state, 2, "x".repeat(9_000)).length).toBeLessThanOrEqual(400);
  expect(summaryOf(state, 2, " \n")).toContain("qqqq");
  expect(summaryOf(state, 2, "").length).toBeLessThanOrEqual(400);
});

test("the model's own count of a prompt counts, as far as it can be one", () => {
  const counted = (promptTokens: number): AgentState => {
    const state = agentWith([{ chars: 400, tools: 0 }], 0);
    const head = { call: callAfter(state.sequence), usage: { promptTokens, completionTokens: 1 } };
    const event: Event = { type: "ModelSpoke", head, content: "a" };
    return fold(logged([event], state.sequence), state);
  };
  expect(tokenScale(counted(0))).toBe(1);
  const double = tokenScale(counted(800)) / tokenScale(counted(400));
  expect(double).toBeCloseTo(2);
  expect(tokenScale(counted(1))).toBe(contextLimits.scaleLeast);
  expect(tokenScale(counted(1e9))).toBe(contextLimits.scaleMost);
  // It outlasts the transcript that was counted.
  const state = counted(800);
  expect(tokenScale(condensed(state, 2))).toBe(tokenScale(state));
});

test("a summary and what goes into it are no longer in tokens where each character is one", () => {
  const counted = (promptTokens: number): AgentState => {
    const state = agentWith([{ chars: 9_000, tools: 0 }], 8_000);
    const head = { call: callAfter(state.sequence), usage: { promptTokens, completionTokens: 1 } };
    return fold(logged([{ type: "ModelSpoke", head, content: "a" }], state.sequence), state);
  };
  const long = "x".repeat(9_000);
  const room = (state: AgentState): readonly number[] => [
    summaryOf(state, 1, long).length,
    condensingPrompt(state, 1)[1]?.content.match(/q/g)?.length ?? 0,
  ];
  const [summary, item] = room(counted(0));
  expect([summary, item]).toEqual([3_999, 3_994]);
  expect(room(counted(1e9))).toEqual([999, 1_994]);
  expect(condensingPrompt(counted(1e9), 1)[0]?.content).toContain("at most 1000 characters");
  // A count that is too low to be one makes nothing longer.
  expect(room(counted(1))).toEqual([3_999, 3_994]);
});

describe("a prompt that the model cannot read", () => {
  const long = agentWith(
    Array.from({ length: 20 }, () => ({ chars: 1_000, tools: 0 })),
    0,
  );
  const refused = (
    state: AgentState,
    overflow: { contextTokens: number | null; promptTokens: number | null },
    abilities: Partial<ModelCall> = { abilities: abilitiesUnknown },
  ): AgentState => {
    const event: Event = {
      type: "ModelFailed",
      call: callAfter(state.sequence, abilities),
      code: "CONTEXT_OVERFLOW",
      message: "too long",
      retryAtMs: 0,
      overflow,
    };
    return fold([{ sequence: state.sequence + 1, atMs: state.updatedAtMs, event }], state);
  };

  test("is condensed to what its server said it can read", () => {
    expect(planContext(long)).toBeNull();
    const state = refused(long, { contextTokens: 4_096, promptTokens: null });
    expect(state.reach).toEqual({ told: null, learnt: 4_096 });
    expect(planContext(state)).not.toBeNull();
    const left = settled(state);
    expect(planContext(refused(left, { contextTokens: 4_096, promptTokens: null }))).toBeNull();
  });
  test("is counted as its server counted it", () => {
    const state = refused(long, { contextTokens: 16_000, promptTokens: 17_000 });
    expect(tokenScale(state)).toBeGreaterThan(1.5);
    expect(planContext(state)).not.toBeNull();
    // What condensing is sent says nothing of the prompt.
    const other = refused(long, { contextTokens: 16_000, promptTokens: 17_000 }, {});
    expect(tokenScale(other)).toBe(tokenScale(long));
  });
  test("is taken to be too long by a quarter where its server told nothing, again and again", () => {
    let state = long;
    for (let rounds = 0; rounds < 5 && state.transcript.length > 1; rounds++) {
      const before = state.reach.learnt ?? Infinity;
      state = refused(state, { contextTokens: null, promptTokens: null });
      expect(state.reach.learnt).toBeLessThan(before);
      state = settled(state);
    }
    expect(state.transcript.length).toBeLessThan(4);
  });
  test("says nothing of another model, and is forgotten when the server tells another figure", () => {
    const state = refused(long, { contextTokens: 4_096, promptTokens: null });
    const edited: Event = {
      type: "AgentEdited",
      key: null,
      spec: { ...state.spec, model: "larger" },
      description: "",
    };
    const next = { sequence: state.sequence + 1, atMs: state.updatedAtMs };
    expect(fold([{ ...next, event: edited }], state).reach).toEqual({ told: null, learnt: null });
    const spoke: Event = {
      type: "ModelSpoke",
      head: {
        call: callAfter(state.sequence, {
          abilities: { ...abilitiesUnknown, contextTokens: 131_072 },
        }),
        usage: noUsage,
      },
      content: "so",
    };
    expect(fold([{ ...next, event: spoke }], state).reach).toEqual({
      told: 131_072,
      learnt: null,
    });
  });
});

test("what the server says of the model's reach bounds the prompt, whatever the agent may use", () => {
  const spoke: Event = {
    type: "ModelSpoke",
    head: {
      call: callAfter(2, { abilities: { ...abilitiesUnknown, contextTokens: 2_048 } }),
      usage: noUsage,
    },
    content: "a".repeat(6_000),
  };
  const state = fold(
    logged([
      born({ contextTokensMax: 8_000, waitForInput: true }),
      said("one"),
      spoke,
      said("two"),
    ]),
  );
  expect(planContext(state)).not.toBeNull();
});

test("what was said to a paused agent is planned in one look, however much it is", () => {
  const many = Array.from({ length: 100_000 }, (_, n) => said(`said ${n}`));
  const state = fold(logged([born({ contextTokensMax: 8_000, waitForInput: true }), ...many]));
  expect(planContext(state)).toMatchObject({ items: expect.any(Number) });
});
