import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { AgentConfig, Attachment, Event } from "../../src/agent/event.ts";
import { fold } from "../../src/agent/fold.ts";
import { buildPrompt, type PromptMessage } from "../../src/agent/prompt.ts";
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

describe("over the calls of a life", () => {
  test("the prompt of each call begins with the messages of the one before", () => {
    let compared = 0;
    fc.assert(
      fc.property(anyHistory, ({ calls }) => {
        for (const [index, { messages }] of calls.entries()) {
          const before = calls[index - 1];
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

  test("each call of a tool is followed by its result, before anybody else speaks", () => {
    fc.assert(
      fc.property(anyHistory, ({ calls }) => {
        for (const { messages } of calls) {
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
