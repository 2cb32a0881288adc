import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { AgentConfig, Attachment, Event, ModelCall } from "../../src/agent/event.ts";
import { fold } from "../../src/agent/fold.ts";
import { buildPrompt, type PromptMessage } from "../../src/agent/prompt.ts";
import { abilitiesUnknown, requestOf } from "../../src/agent/request.ts";
import {
  born,
  callAfter,
  headAfter,
  logged,
  nested,
  plainSpec,
  requested,
  returned,
  said,
  spoke,
  startMs,
} from "../support/events.ts";
import { anyHistory } from "../support/histories.ts";
import { seeded } from "../support/seed.ts";

/** What a call is sent that knows all of these events. */
const sentAfter = (...events: readonly Event[]): readonly PromptMessage[] =>
  buildPrompt(fold(logged(events)), callAfter(events.length));
const texts = (messages: readonly PromptMessage[]): string[] =>
  messages.map(({ content }) => content);
const waiting: Partial<AgentConfig> = { waitForInput: true };
const inText = ({ abilities }: ModelCall): boolean => abilities?.tools === false;

/** A reply that says this and calls a tool. */
const called = (content: string): readonly Event[] => [
  spoke(content, 1),
  { ...requested("call_3", 1), head: null, inputJson: '{"a":1.50}' } as Event,
];

describe("over the calls of a life", () => {
  test("the prompt of each call begins with the messages of the one before that spelled calls alike", () => {
    let compared = 0;
    fc.assert(
      fc.property(anyHistory, ({ calls }) => {
        for (const [index, { call, messages }] of calls.entries()) {
          const before = calls.slice(0, index).findLast((it) => inText(it.call) === inText(call));
          if (before === undefined) continue;
          // The system message changes with the agent's spec.
          const earlier = before.messages.slice(1);
          expect(messages.slice(1, earlier.length + 1)).toEqual(earlier);
          compared++;
        }
      }),
      seeded(300),
    );
    expect(compared).toBeGreaterThan(300);
  });

  test("a call that is taken up again later is sent what it was sent at first", () => {
    fc.assert(
      fc.property(anyHistory, ({ calls }) => {
        for (const { messages, messagesLate } of calls)
          expect(messagesLate.slice(1)).toEqual(messages.slice(1));
      }),
      seeded(200),
    );
  });

  test("every past prompt can be built again from the log up to what its call knew", () => {
    fc.assert(
      fc.property(anyHistory, ({ log, calls }) => {
        for (const { call, messages } of calls) {
          const known = fold(log.slice(0, call.afterSequence));
          expect(buildPrompt(known, call)).toEqual(messages);
        }
      }),
      seeded(200),
    );
  });

  test("each call of a tool in a text is followed by its result, before anybody else speaks", () => {
    let results = 0;
    fc.assert(
      fc.property(anyHistory, ({ calls }) => {
        for (const { messages } of calls.filter(({ call }) => inText(call))) {
          let open = 0;
          for (const { role, content } of messages) {
            const isResult =
              role === "user" && /^\[.*?\] (\(.*?\) )?Result of \w+ \(call_\d+\): /.test(content);
            expect(isResult).toBe(open > 0);
            if (isResult) open--;
            if (isResult) results++;
            if (role === "assistant") open = content.split(/^\[TOOL_CALL:/m).length - 1;
          }
          expect(open).toBe(0);
        }
      }),
      seeded(200),
    );
    expect(results).toBeGreaterThan(100);
  });

  test("one who takes no tools as such is told of them in the system message, by user messages and in his own words", () => {
    fc.assert(
      fc.property(anyHistory, ({ calls }) => {
        for (const { messages } of calls.filter(({ call }) => inText(call))) {
          const [first, ...others] = messages;
          expect(first?.role).toBe("system");
          for (const message of others) {
            expect(["user", "assistant"]).toContain(message.role);
            if (message.role === "assistant") expect(message.toolCalls).toEqual([]);
          }
        }
      }),
      seeded(100),
    );
  });

  test("each call of a tool is followed by its result, before anybody else speaks", () => {
    fc.assert(
      fc.property(anyHistory, ({ calls }) => {
        for (const { messages } of calls.filter(({ call }) => !inText(call))) {
          let open: string[] = [];
          for (const message of messages) {
            if (message.role === "tool") open = open.filter((id) => id !== message.callId);
            else expect(open).toEqual([]);
            if (message.role === "assistant") open = message.toolCalls.map((it) => it.callId);
          }
          expect(open).toEqual([]);
        }
      }),
      seeded(200),
    );
  });

  test("exactly one message of a prompt tells its own present time: the newest", () => {
    fc.assert(
      fc.property(anyHistory, ({ calls }) => {
        for (const { messages } of calls) {
          const heard = messages.slice(1).filter(({ role }) => role !== "assistant");
          expect(heard.at(-1)?.content).toMatch(/^\[[^\]]+\] \(now: [^)]+\) /);
        }
      }),
      seeded(100),
    );
  });
});

describe("times", () => {
  test("stand before each message and result, as they came", () => {
    const [, goal, asked, result] = sentAfter(
      born(),
      requested("call_2", 1),
      returned("call_2", { output: "3" }),
    );
    expect(goal?.content).toStartWith("[2026-01-31T12:00:01Z] ");
    expect(asked).toMatchObject({ role: "assistant", content: "" });
    expect(result?.content).toBe("[2026-01-31T12:00:03Z] (now: 2026-01-31T12:00:03Z) 3");
  });
  test("the present one is told with the newest message, and stays where it was told", () => {
    const events = [born(waiting), said("one"), spoke("1", 2), said("two"), said("three")];
    expect(texts(sentAfter(...events)).slice(1)).toEqual([
      "[2026-01-31T12:00:02Z] (now: 2026-01-31T12:00:02Z) one",
      "1",
      "[2026-01-31T12:00:04Z] two",
      "[2026-01-31T12:00:05Z] (now: 2026-01-31T12:00:05Z) three",
    ]);
  });
  test("the present one is what the log says it was, not what a later call says", () => {
    const call = callAfter(2, { nowMs: startMs + 3_600_000 });
    const fault: Event = {
      type: "ModelFailed",
      call,
      code: "MODEL_ERROR",
      message: "no",
      retryAtMs: 0,
    };
    const state = fold(logged([born(waiting), said("one"), fault]));
    const late = buildPrompt(state, callAfter(3, { nowMs: startMs + 7_200_000 }));
    expect(late.at(-1)?.content).toBe("[2026-01-31T12:00:02Z] (now: 2026-01-31T13:00:00Z) one");
  });
  test("what a call did not know is not in its prompt", () => {
    const state = fold(logged([born(waiting), said("one"), said("two")]));
    expect(texts(buildPrompt(state, callAfter(2))).slice(1)).toEqual([
      "[2026-01-31T12:00:02Z] (now: 2026-01-31T12:00:02Z) one",
    ]);
  });
});

describe("what is said", () => {
  test("first: the goal and the operator's prompt", () => {
    const [system] = sentAfter(born({}, { goal: "count", systemPrompt: "Be brief." }));
    expect(system?.role).toBe("system");
    expect(system?.content).toContain("count");
    expect(system?.content).toContain("Be brief.");
  });
  test("of an edit: its description, as the operator's", () => {
    const edited: Event = {
      type: "AgentEdited",
      key: null,
      spec: plainSpec,
      description: "faster",
    };
    const message = sentAfter(born(), edited).at(-1);
    expect(message?.role).toBe("user");
    expect(message?.content).toMatch(/operator.*: faster\)$/);
  });
  test("of thinking: nothing", () => {
    const thought: Event = { type: "ModelThought", head: headAfter(1), content: "secret" };
    const messages = sentAfter(born(), thought, said("on"));
    expect(messages.map(({ role }) => role)).toEqual(["system", "user", "user"]);
    expect(JSON.stringify(messages)).not.toContain("secret");
  });
  test("of a tool call: its input as an object, whatever the model wrote", () => {
    const inputs: readonly (readonly [string, unknown])[] = [
      ['{"a":1}', { a: 1 }],
      ["[1]", { input: [1] }],
      ["7", { input: 7 }],
      ["{broken", { input: "{broken" }],
      ["", { input: "" }],
      ['{"a":{"a":1}}', { a: { a: 1 } }],
      [nested(40_000), { input: nested(40_000) }],
    ];
    for (const [inputJson, input] of inputs) {
      const event = { ...requested("call_2", 1), inputJson } as Event;
      expect(sentAfter(born(), event).at(-1)).toMatchObject({
        toolCalls: [{ callId: "call_2", name: "echo", input }],
      });
    }
  });
});

describe("to a model that takes no tools as such", () => {
  const abilities = { ...abilitiesUnknown, tools: false };
  const echo = { name: "echo", description: "says it", parameters: { type: "object" } };
  const events = [born(), ...called("Well:"), returned("call_3", { output: "3" })];
  const state = fold(logged(events));
  const sent = (over: Partial<ModelCall>): readonly PromptMessage[] =>
    buildPrompt(state, callAfter(events.length, { abilities, ...over }));

  test("tools are told in the system message, and nowhere else", () => {
    const request = requestOf(state, callAfter(4, { abilities, tools: [echo] }), "");
    expect(request.tools).toEqual([]);
    expect(request.messages[0]?.content).toContain(JSON.stringify(echo));
    expect(request.messages[0]?.content).toContain("[TOOL_CALL:NAME:");
    expect(sent({ tools: [] })[0]?.content).not.toContain("TOOL_CALL");
    const native = requestOf(state, callAfter(4, { tools: [echo] }), "");
    expect(native.tools).toEqual([echo]);
    expect(native.messages[0]?.content).not.toContain("TOOL_CALL");
  });
  test("calls stand in the text, as they were written, and results come from the user", () => {
    expect(sent({}).slice(2)).toEqual([
      { role: "assistant", content: 'Well:\n[TOOL_CALL:echo:{"a":1.50}]', toolCalls: [] },
      {
        role: "user",
        content: "[2026-01-31T12:00:04Z] (now: 2026-01-31T12:00:04Z) Result of echo (call_3): 3",
        images: [],
      },
    ]);
  });
  test("what was spelled in one way before is not taken for the other", () => {
    const native = buildPrompt(state, callAfter(4));
    expect(native.map(({ role }) => role)).toEqual(["system", "user", "assistant", "tool"]);
    expect(sent({}).map(({ role }) => role)).toEqual(["system", "user", "assistant", "user"]);
    expect(buildPrompt(state, callAfter(4))).toEqual(native);
  });
});

describe("a partial answer", () => {
  const state = fold(logged([born()]));
  const last = (partial: string): PromptMessage | undefined =>
    buildPrompt(state, callAfter(1), partial).at(-1);

  test("is the last message, its trailing white space left out", () => {
    expect(last("One, two,\n\n \t")).toEqual({
      role: "assistant",
      content: "One, two,",
      toolCalls: [],
    });
    expect(last("  One")).toMatchObject({ content: "  One" });
  });
  test("of nothing but white space is none", () => {
    expect(last("")?.role).toBe("user");
    expect(last(" \n")?.role).toBe("user");
  });
});

describe("attachments", () => {
  const file = (name: string, mimeType: string, text: string): Attachment => ({
    name,
    mimeType,
    base64: Buffer.from(text).toString("base64"),
  });
  const sent = (...attachments: readonly Attachment[]): PromptMessage | undefined =>
    sentAfter(born(waiting), {
      type: "MessageReceived",
      key: null,
      content: "look",
      attachments,
    }).at(-1);

  test("images go beside the text, in order", () => {
    expect(sent(file("a.png", "image/png", "A"), file("b.jpg", "image/jpeg", "B"))).toEqual({
      role: "user",
      content: "[2026-01-31T12:00:02Z] (now: 2026-01-31T12:00:02Z) look",
      images: ["QQ==", "Qg=="],
    });
  });
  test("texts and JSON stand in it, with their names and as UTF-8", () => {
    const message = sent(
      file("n.txt", "text/plain", "grün 🙂"),
      file("d", "application/json", "{}"),
    );
    expect(message).toMatchObject({ images: [] });
    expect(message?.content).toEndWith("look\n\nAttachment n.txt:\ngrün 🙂\n\nAttachment d:\n{}");
  });
});
