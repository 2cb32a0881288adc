import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { Event } from "../../src/agent/event.ts";
import { fold } from "../../src/agent/fold.ts";
import { type ModelReply, replyEvents } from "../../src/agent/reply.ts";
import { requestLimits } from "../../src/limits.ts";
import { anyText, born, callAfter, logged, nested } from "../support/events.ts";
import { judged } from "../support/judged.ts";
import { seeded } from "../support/seed.ts";

const call = callAfter(4);
const usage = { promptTokens: 5, completionTokens: 2 };
const echo = { name: "echo", inputJson: '{"a":1}' };
const final = (input: unknown): ModelReply["toolCalls"][number] => ({
  name: "final_answer",
  inputJson: JSON.stringify(input),
});

const eventsOf = (reply: Partial<ModelReply>, asks = (_name: string): boolean => false) => {
  const whole = { thinking: "", text: "", toolCalls: [], usage, ...reply };
  return replyEvents(whole, call, 6, judged(whole.toolCalls, asks));
};
const typesOf = (reply: Partial<ModelReply>): string[] => eventsOf(reply).map(({ type }) => type);

describe("a reply's events", () => {
  test("come in the order thought, text, tool calls", () => {
    expect(typesOf({ thinking: "hm", text: "so", toolCalls: [echo, echo] })).toEqual([
      "ModelThought",
      "ModelSpoke",
      "ToolRequested",
      "ToolRequested",
    ]);
  });
  test("leave out what is empty", () => {
    expect(typesOf({ text: "so" })).toEqual(["ModelSpoke"]);
    expect(typesOf({ toolCalls: [echo] })).toEqual(["ToolRequested"]);
    expect(typesOf({ thinking: "hm", toolCalls: [echo] })).toEqual([
      "ModelThought",
      "ToolRequested",
    ]);
  });
  test("of thinking alone are a thought alone", () => {
    expect(typesOf({ thinking: "hm" })).toEqual(["ModelThought"]);
  });
  test("name a tool call by its place in the log", () => {
    const [, first, second] = eventsOf({ text: "so", toolCalls: [echo, echo] });
    expect(first).toMatchObject({ callId: "call_8" });
    expect(second).toMatchObject({ callId: "call_9" });
  });
  test("say of each tool call whether it needs a confirmation", () => {
    const toolCalls = [echo, { ...echo, name: "pay" }];
    expect(eventsOf({ toolCalls }, (name) => name === "pay")).toMatchObject([
      { name: "echo", requiresConfirmation: false },
      { name: "pay", requiresConfirmation: true },
    ]);
  });
});

describe("a final answer", () => {
  test("ends the reply: other calls beside it are not run", () => {
    const events = eventsOf({ text: "so", toolCalls: [echo, final({ content: "3" }), echo] });
    expect(events).toMatchObject([
      { type: "ModelSpoke", content: "so" },
      { type: "FinalAnswered", content: "3", structured: null },
    ]);
  });
  test("carries its structured part", () => {
    const toolCalls = [final({ content: "3", structured: { n: 3 } })];
    expect(eventsOf({ toolCalls })).toMatchObject([{ structured: { n: 3 } }]);
  });
  test("that does not fit is a tool call like others, to be answered by an error", () => {
    const unfit = [{}, { content: 3 }, [], { content: "3", structured: "x" }, { content: null }];
    for (const input of unfit)
      expect(typesOf({ toolCalls: [final(input)] })).toEqual(["ToolRequested"]);
    const broken = { name: "final_answer", inputJson: '{"content":' };
    expect(typesOf({ toolCalls: [broken] })).toEqual(["ToolRequested"]);
  });
  test("is no deeper than a client can be sent", () => {
    const answer = (levels: number) => ({
      name: "final_answer",
      inputJson: `{"content":"3","structured":${nested(levels)}}`,
    });
    const { jsonLevelsMax } = requestLimits;
    expect(typesOf({ toolCalls: [answer(jsonLevelsMax)] })).toEqual(["FinalAnswered"]);
    for (const levels of [jsonLevelsMax + 1, 5_000, 1_000_000])
      expect(typesOf({ toolCalls: [answer(levels)] })).toEqual(["ToolRequested"]);
  });
  test("behind one that does not fit is taken", () => {
    const toolCalls = [final({}), final({ content: "3" })];
    expect(typesOf({ toolCalls })).toEqual(["FinalAnswered"]);
  });
});

test("the first event of any reply, and only it, carries the call; and any reply can be folded", () => {
  const anyCall = fc.record({
    name: fc.constantFrom("echo", "final_answer"),
    inputJson: fc.oneof(anyText, fc.json(), fc.constant('{"content":"3"}')),
  });
  const anyReply = fc
    .record({ thinking: anyText, text: anyText, toolCalls: fc.array(anyCall, { maxLength: 3 }) })
    .filter(({ thinking, text, toolCalls }) => thinking + text !== "" || toolCalls.length > 0);
  fc.assert(
    fc.property(anyReply, fc.boolean(), (reply, asks) => {
      const events = replyEvents(
        { ...reply, usage },
        callAfter(1),
        1,
        judged(reply.toolCalls, () => asks),
      );
      const heads = events.map((event: Event) => ("head" in event ? event.head : undefined));
      expect(heads[0]).toEqual({ call: callAfter(1), usage });
      expect(heads.slice(1).every((head) => head === null)).toBe(true);
      const state = fold(logged([born(), ...events]));
      expect(state.stats).toMatchObject({ steps: 1, promptTokens: 5, completionTokens: 2 });
      expect(new Set(state.pendingCalls.map(({ callId }) => callId)).size).toBe(
        state.pendingCalls.length,
      );
    }),
    seeded(300),
  );
});
