import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { PromptMessage } from "../../src/agent/prompt.ts";
import { finalAnswerToolOf, readAnswer } from "../../src/agent/answer.ts";
import type { JsonObject } from "../../src/agent/json.ts";
import { systemClock } from "../../src/clock.ts";
import { EngramError } from "../../src/errors.ts";
import { sampleOf } from "../../src/llm/scripted/answer.ts";
import { scriptedLimits } from "../../src/llm/scripted/scripted-limits.ts";
import { openScripted, withoutMarks } from "../../src/llm/scripted/scripted.ts";
import { checkAnswer } from "../../src/sandbox/input.ts";
import { plainConfig, plainSpec } from "../support/events.ts";
import { asking, assistant, collect, result, toolNamed, user } from "../support/model-reply.ts";

const model = openScripted({ clock: systemClock });
const tools = [
  toolNamed("clock"),
  toolNamed("calculator", "expression"),
  toolNamed("final_answer", "content"),
];
const system: PromptMessage = {
  role: "system",
  content: "You are an agent with this goal:\nHelp the user.\n\nBe kind.",
};
const instant = { model: "scripted:instant", tools, thinking: true };

const replyTo = (...messages: PromptMessage[]) =>
  collect(model, asking([system, ...messages], instant));

const call = (name: string, input: unknown) => ({ name, inputJson: JSON.stringify(input) });

describe("what it answers", () => {
  test.each([
    ["My name is Ada.", "I will remember: Your name is Ada."],
    ["hello there", "You said: hello there"],
    ["What is the secret code?", "I do not know the secret code: nobody has told me."],
    ["count to 5", "1 2 3 4 5"],
    ["write 3 words", "stone-1 cloud-2 lamp-3"],
    ["call me Ishmael", "You said: call me Ishmael"],
    ["say good night", "good night"],
  ])("%s", async (asked, answered) => {
    expect(await replyTo(user(asked))).toMatchObject({ text: answered, calls: [] });
  });

  test.each([
    ["What time is it?", [call("clock", {})]],
    ["Please tell me today's date", [call("clock", {})]],
    ["compute 2 + 3*4.", [call("calculator", { expression: "2 + 3*4" })]],
    ["What is 12/4?", [call("calculator", { expression: "12/4" })]],
    [
      'call echo with {"a": {"b": "}"}} and call other with {}',
      [{ name: "echo", inputJson: '{"a": {"b": "}"}}' }, call("other", {})],
    ],
    ["use the tool nowhere", [call("nowhere", {})]],
    ["call clock", [call("clock", {})]],
    ["call echo with {broken", [{ name: "echo", inputJson: "{broken" }]],
    ["finish with all done", [call("final_answer", { content: "all done" })]],
    ['finish with {"n":1}', [call("final_answer", { content: '{"n":1}', structured: { n: 1 } })]],
    ["finish wrongly", [call("final_answer", { content: "wrong", structured: "wrong" })]],
  ])("%s => calls", async (asked, calls) => {
    expect((await replyTo(user(asked))).calls).toEqual(calls);
  });

  describe("with an answer that has to satisfy a schema", () => {
    const schema = {
      type: "object",
      properties: {
        name: { type: "string", minLength: 6 },
        kind: { enum: ["a", "b"] },
        counts: { type: "array", minItems: 2, items: { type: "integer", minimum: 3 } },
        inner: { properties: { yes: { type: "boolean" }, no: { type: ["null", "string"] } } },
      },
      required: ["name", "kind", "counts", "inner"],
    };
    const sample = { name: "text..", kind: "a", counts: [3, 3], inner: { yes: true, no: null } };
    const spec = { ...plainSpec, config: { ...plainConfig, responseSchema: schema } };
    const answered = async (asked: string): Promise<unknown> => {
      const messages = [system, user(asked)];
      const more = { ...instant, tools: [finalAnswerToolOf(spec)] };
      const { calls } = await collect(model, asking(messages, more));
      return readAnswer(spec, calls[0]?.inputJson ?? "").answer?.structured;
    };
    const inFormat = async (...messages: PromptMessage[]): Promise<unknown> => {
      const more = { ...instant, tools: [], format: schema };
      return JSON.parse((await collect(model, asking([system, ...messages], more))).text);
    };
    const refusal = user("[2026-01-31T12:00:00Z] Your answer was not taken. Error TOOL_X: no");

    test("it fills in data, wrong ones if so asked, or takes those it is given", async () => {
      expect(checkAnswer(sample, schema)).toBeNull();
      expect(await answered("finish with all done")).toEqual(sample);
      expect(await answered('finish with {"n":1}')).toEqual({ n: 1 });
      const wrong = { ...sample, name: 0 };
      expect(checkAnswer(wrong, schema)).not.toBeNull();
      expect(await answered("finish wrongly")).toEqual(wrong);
    });
    test("it does the same in a format", async () => {
      expect(await inFormat(user("go"))).toEqual(sample);
      expect(await inFormat(user('finish with {"n":{}}, please'))).toEqual({ n: {} });
      const asked = user("finish wrongly, then finish with {}");
      expect(await inFormat(asked)).toEqual({ ...sample, name: 0 });
      expect(await inFormat(asked, assistant("{}"), refusal)).toEqual({});
      expect(await inFormat(asked, assistant("{}"), refusal, user("now"))).toEqual(sample);
    });
    test("it fills in no more than a little, whatever the schema", () => {
      let deep: JsonObject = { type: "string", minLength: 1e9 };
      for (let level = 0; level < 14; level++) deep = { type: "array", minItems: 1e9, items: deep };
      expect(JSON.stringify(sampleOf(deep)).length).toBeLessThan(5_000);
    });
  });

  test("facts are recalled from anywhere before, the newest first", async () => {
    const told = [
      user("Hi, my name is Ada and my dog is Rex."),
      assistant("ok"),
      user("The secret code is 41. Remember that Zed is dead."),
      assistant("ok"),
      user("the secret code is 42"),
      assistant("ok"),
    ];
    const ask = async (question: string) => (await replyTo(...told, user(question))).text;
    expect(await ask("What is my name?")).toBe("Your name is Ada.");
    expect(await ask("who's my dog")).toBe("Your dog is Rex.");
    expect(await ask("Do you know what the secret code is?")).toBe("The secret code is 42.");
    expect(await ask("What is Zed?")).toBe("Zed is dead.");
    expect(await ask("What is my shoe size?")).toMatch(/^I do not know your shoe size/);
  });

  test("a fact in the operator's prompt is known too", async () => {
    const told: PromptMessage = {
      role: "system",
      content: "Goal: help\n\nThe motto is carpe diem.",
    };
    const reply = await collect(model, asking([told, user("what is the motto?")], instant));
    expect(reply.text).toBe("The motto is carpe diem.");
  });

  test("results are named, errors with their code", async () => {
    const asked = user("call clock");
    const good = await replyTo(
      asked,
      assistant("", "clock"),
      result("clock", "[2026-01-31T12:00:00Z] noon"),
    );
    expect(good).toMatchObject({ text: "The tool clock says: noon.", calls: [] });
    const bad = result("clock", "[2026-01-31T12:00:00Z] Error TOOL_TIMEOUT: too slow");
    expect((await replyTo(asked, assistant("", "clock"), bad)).text).toBe(
      "The tool clock failed with TOOL_TIMEOUT: too slow",
    );
  });

  test("parts joined by then are done one call after the other", async () => {
    const asked = user("count to 3, then call clock and then call calculator then finish with bye");
    const first = await replyTo(asked);
    expect(first).toMatchObject({ text: "1 2 3", calls: [call("clock", {})] });
    const done = [asked, assistant("1 2 3", "clock"), result("clock", "noon")];
    expect(await replyTo(...done)).toMatchObject({ text: "", calls: [call("calculator", {})] });
    const both = [...done, assistant("", "calculator"), result("calculator", "4")];
    expect((await replyTo(...both)).calls).toEqual([call("final_answer", { content: "bye" })]);
  });

  test("keep calling never ends by itself", async () => {
    const turn = [assistant("", "clock"), result("clock", "noon")];
    const reply = await replyTo(user("keep calling clock"), ...turn, ...turn, ...turn);
    expect(reply.calls).toEqual([call("clock", {})]);
  });

  test("without a user message it works on the goal", async () => {
    expect((await replyTo()).text).toBe("I will work on this goal: Help the user.");
    const timed: PromptMessage = { role: "system", content: "the goal:\nTell the time\n\nmore" };
    const reply = await collect(model, asking([timed], instant));
    expect(reply.calls).toEqual([call("clock", {})]);
    const after = [timed, assistant("", "clock"), result("clock", "noon")];
    expect((await collect(model, asking(after, instant))).text).toContain("noon");
  });

  test("input that joins a working turn is answered beside the result", async () => {
    const joined = await replyTo(
      user("call clock"),
      assistant("", "clock"),
      result("clock", "noon"),
      user("my name is Ada"),
    );
    expect(joined.text).toBe("The tool clock says: noon. I will remember: Your name is Ada.");
  });

  test("thinking comes only where asked for", async () => {
    expect((await replyTo(user("what time is it"))).thinking).not.toBe("");
    const quiet = asking([system, user("what time is it")], { ...instant, thinking: false });
    expect((await collect(model, quiet)).thinking).toBe("");
  });

  test("it sees images", async () => {
    const shown = { role: "user", content: "look", images: ["aGk=", "aGk="] } as const;
    expect((await replyTo(shown)).text).toBe("I see 2 images. You said: look");
  });

  test("tokens are words", async () => {
    const request = asking([user("count to 4")], { model: "scripted:instant" });
    expect((await collect(model, request)).usage).toEqual({ promptTokens: 3, completionTokens: 4 });
  });

  test("a long reply is bounded", async () => {
    const { text } = await replyTo(user("count to 999999999"));
    expect(text.split(" ")).toHaveLength(scriptedLimits.wordsMax);
  });
});

const requests = [
  "count to 30",
  "write 25 words",
  "tell me a short story",
  "my name is Zoë",
  "say  a  b \n c",
  "count to 4 then call clock",
];

describe("continuing", () => {
  test("from any point of a reply the rest is exactly what was missing", async () => {
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...requests), fc.nat(), async (asked, at) => {
        const whole = await replyTo(user(asked));
        const partial = whole.text.slice(0, at % (whole.text.length + 1));
        for (const given of [partial, partial.trimEnd()]) {
          const rest = await replyTo(user(asked), assistant(given));
          expect(given + rest.text).toBe(whole.text);
          expect({ calls: rest.calls, thinking: rest.thinking }).toEqual({
            calls: whole.calls,
            thinking: "",
          });
        }
      }),
    );
  });

  test("a partial answer with other white space at its end is continued too", async () => {
    expect((await replyTo(user("count to 3"), assistant("1 2\n"))).text).toBe(" 3");
  });

  test("the anew manner starts over, and says so when asked", async () => {
    const { signal } = new AbortController();
    expect(await model.continuesPartial("scripted:instant", true, signal)).toBe(true);
    expect(await model.continuesPartial("scripted:anew:0", true, signal)).toBe(false);
    const messages = [user("count to 3"), assistant("1 2")];
    const reply = await collect(model, asking(messages, { model: "scripted:instant:anew" }));
    expect(reply.text).toBe("1 2 3");
  });

  test("the varied manner writes other words at each call, and goes on behind those of another", async () => {
    const asked = user("write 3 words");
    const varied = (...messages: PromptMessage[]) =>
      collect(model, asking(messages, { model: "scripted:instant:varied" }));
    const [first, second] = [(await varied(asked)).text, (await varied(asked)).text];
    expect(first).not.toBe(second);
    expect([first, second].map(withoutMarks)).toEqual(
      Array.from({ length: 2 }, () => "stone-1 cloud-2 lamp-3"),
    );
    const partial = first.split(" ").slice(0, 2).join(" ");
    const { text } = await varied(asked, assistant(partial));
    expect(text).toMatch(/^ lamp-3~/);
    expect(first).not.toEndWith(text);
  });
});

describe("as a model", () => {
  test("the times that the engine puts to a message change nothing", async () => {
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...requests, "what is my name?"), async (asked) => {
        const plain = await replyTo(user("my name is Ada"), assistant("ok"), user(asked));
        const stamped = await replyTo(
          user("[2026-01-31T12:00:00Z] my name is Ada"),
          assistant("ok"),
          user(`[2026-01-31T12:00:01Z] (now: 2026-01-31T12:00:09Z) ${asked}`),
        );
        expect({ ...stamped, usage: null }).toEqual({ ...plain, usage: null });
      }),
      { numRuns: 30 },
    );
  });

  test("it always answers something, the same to the same", async () => {
    const word = fc.constantFrom(
      ..."call use tool clock then { } [ ] the my is what ? . , count to 9 finish with".split(" "),
    );
    const said = fc.oneof(
      fc.string(),
      fc.array(word).map((words) => words.join(" ")),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(said, { minLength: 1, maxLength: 4 }), async (texts) => {
        const messages = texts.map(user);
        const reply = await replyTo(...messages);
        expect(reply.error).toBeUndefined();
        expect(reply.text !== "" || reply.calls.length > 0).toBe(true);
        expect(await replyTo(...messages)).toEqual(reply);
      }),
    );
  });

  test("it stops at once while it waits to write", async () => {
    let armed = (): void => {};
    const waiting = new Promise<void>((resolve) => (armed = resolve));
    let canceled = 0;
    const clock = {
      ...systemClock,
      after: () => {
        armed();
        return () => void canceled++;
      },
    };
    const stop = new AbortController();
    const reply = collect(
      openScripted({ clock }),
      asking([user("hi")], { model: "scripted" }),
      stop.signal,
    );
    await waiting;
    const reason = new Error("enough");
    stop.abort(reason);
    expect((await reply).error).toBe(reason);
    expect(canceled).toBe(1);
  });

  test("each word waits as long as the model's name says", async () => {
    const waits: number[] = [];
    const after = (delayMs: number, fn: () => void) => {
      waits.push(delayMs);
      queueMicrotask(fn);
      return () => {};
    };
    const slow = openScripted({ clock: { ...systemClock, after } });
    await collect(slow, asking([user("count to 3")], { model: "scripted:7" }));
    await collect(slow, asking([user("count to 2")], { model: "llama3.2:latest" }));
    expect(waits).toEqual([7, 7, 7, 20, 20]);
  });

  test.each(["scripted:fast", "scripted:60001", "scripted:"])("%s is no model", async (name) => {
    const { error } = await collect(model, asking([user("hi")], { model: name }));
    expect(error).toBeInstanceOf(EngramError);
    expect(error).toMatchObject({ code: "model_not_found", transient: false });
  });
});
