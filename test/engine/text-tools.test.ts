import { describe, expect, test } from "bun:test";
import type { AgentConfig, Event } from "../../src/agent/event.ts";
import { EngramError } from "../../src/errors.ts";
import { turnLimits } from "../../src/limits.ts";
import {
  askedOf,
  callingInText,
  makePlayedModel,
  type PlayedModel,
  type PlayedReply,
} from "../support/played-model.ts";
import { openStage, quiet, until } from "../support/stage.ts";
import { makeWatcher } from "../support/watcher.ts";

/** A model that answers `hello` so, and anything else with `done`. */
const answering = (reply: PlayedReply): PlayedModel =>
  makePlayedModel(({ messages }) => (askedOf(messages) === "hello" ? reply : { text: ["done"] }));

/** What came of an agent with this model that was told `hello`, and what its client was shown on the way. */
async function lived(model: PlayedModel, config: Partial<AgentConfig> = {}) {
  const stage = openStage();
  const engine = stage.start({ model });
  const agentId = await stage.create(engine, "hello", config);
  const watcher = makeWatcher();
  void watcher.watch(engine, agentId).catch(() => {});
  await stage.untilSettled(agentId);
  const log = await stage.log(agentId);
  await until("all is seen", () => watcher.seen.length === log.length);
  expect(watcher.faults).toEqual([]);
  await engine.drain();
  return { events: log.slice(1).map(({ event }) => gist(event)), pieces: watcher.pieces() };
}

const gist = (event: Event): string => {
  if (event.type === "ModelSpoke") return `spoke: ${event.content}`;
  if (event.type === "ToolRequested") return `asked for ${event.name}: ${event.inputJson}`;
  if (event.type === "ToolReturned") return `came: ${event.error?.code ?? event.output}`;
  if (event.type === "FinalAnswered") return `final: ${event.content}`;
  return event.type;
};

const marked = ["On it", ".\n\n[TOOL_", 'CALL:echo:{"a": "}', '"}]\n', "\nThat ", "was it."];

describe("a model that calls tools in its text", () => {
  test("has them run, and its client sees the text alone", async () => {
    const model = callingInText(answering({ text: marked }));
    const { events, pieces } = await lived(model);
    expect(events).toEqual([
      "spoke: On it.\n\nThat was it.",
      'asked for echo: {"a": "}"}',
      'came: {"a": "}"}',
      "spoke: done",
    ]);
    expect(pieces).toBeGreaterThan(2);
    const [first, second] = model.calls;
    expect([first?.tools, second?.tools]).toEqual([[], []]);
    expect(first?.messages[0]?.content).toContain('{"name":"echo"');
    expect(second?.messages.slice(2).map(({ role, content }) => [role, content])).toEqual([
      ["assistant", 'On it.\n\nThat was it.\n[TOOL_CALL:echo:{"a": "}"}]'],
      [
        "user",
        expect.stringMatching(/^\[.*\] \(now: .*\) Result of echo \(call_3\): \{"a": "\}"\}$/),
      ],
    ]);
  });

  test("need not say anything beside", async () => {
    const text = ["[TOOL_CALL:echo:{}]\n", "[TOOL_CALL:nowhere:[1]]"];
    expect((await lived(callingInText(answering({ text })))).events.toSorted()).toEqual([
      "asked for echo: {}",
      "asked for nowhere: [1]",
      "came: [1]",
      "came: {}",
      "spoke: done",
    ]);
  });

  test("ends its goal by a final answer", async () => {
    const text = ['So: [TOOL_CALL:final_answer:{"content":"42"}]'];
    expect((await lived(callingInText(answering({ text })))).events).toEqual([
      "spoke: So:",
      "final: 42",
    ]);
  });

  test("may call some as such all the same", async () => {
    const reply = { text: ["[TOOL_CALL:echo:{}] on"], calls: [{ name: "echo", input: [1] }] };
    const { events } = await lived(callingInText(answering(reply)));
    expect(events.slice(0, 3)).toEqual(["spoke: on", "asked for echo: {}", "asked for echo: [1]"]);
  });

  test("has a call that is not whole as one with a broken input", async () => {
    const text = ['[TOOL_CALL:echo:{"a": "b'];
    expect((await lived(callingInText(answering({ text })))).events).toEqual([
      'asked for echo: {"a": "b',
      'came: {"a": "b',
      "spoke: done",
    ]);
  });

  test.each([
    ["calls", "[TOOL_CALL:echo:{}]".repeat(turnLimits.toolCallsPerReplyMax + 1)],
    ["input", `[TOOL_CALL:echo:{"a":"${"x".repeat(turnLimits.toolInputCharsMax)}"}]`],
  ])("has the bounds of others: %s", async (_, text) => {
    const stage = openStage();
    const engine = stage.start({ model: callingInText(answering({ text: [text] })) });
    const agentId = await stage.create(engine, "hello");
    await until("it is known", async () => (await stage.events(agentId)).length === 2);
    expect((await stage.log(agentId))[1]?.event).toMatchObject({ code: "MODEL_ERROR" });
    await engine.drain();
  });
});

describe("what looks like a call is text", () => {
  test("of a model that takes tools as such", async () => {
    const { events } = await lived(answering({ text: marked }));
    expect(events).toEqual([`spoke: ${marked.join("")}`]);
  });
  test("of an agent without tools", async () => {
    const model = callingInText(answering({ text: marked }));
    const { events } = await lived(model, { noTools: true });
    expect(events).toEqual([`spoke: ${marked.join("")}`]);
    expect(model.calls[0]?.messages[0]?.content).not.toContain("TOOL_CALL");
  });
});

describe("an answer that is broken off", () => {
  /** Breaks off once, behind all that it says. */
  const breaking = (): PlayedModel =>
    makePlayedModel(({ messages }, number) => {
      if (askedOf(messages) !== "hello") return { text: ["done"] };
      return {
        text: marked,
        before: async (index) => {
          if (number === 1 && index === marked.length)
            throw new EngramError("model_timeout", "silence", { transient: true });
        },
      };
    });

  /** What comes of it where the answer is begun by one model and, after a pause, gone on with by the other. */
  const livedWith = async (first: PlayedModel, second: PlayedModel): Promise<readonly string[]> => {
    const stage = openStage();
    let model = first;
    const engine = stage.start({
      model: {
        ...first,
        call: (...args) => model.call(...args),
        abilities: async (...args) => model.abilities(...args),
      },
    });
    const agentId = await stage.create(engine, "hello");
    await until("it backs off", async () => (await stage.events(agentId)).includes("ModelFailed"));
    await quiet();
    model = second;
    stage.clock.advance(700);
    await stage.untilSettled(agentId);
    await engine.drain();
    return (await stage.log(agentId)).slice(2).map(({ event }) => gist(event));
  };
  const whole = [
    "spoke: On it.\n\nThat was it.",
    'asked for echo: {"a": "}"}',
    'came: {"a": "}"}',
    "spoke: done",
  ];

  test("is gone on with from before a call, so that the call is made", async () => {
    const model = callingInText(breaking());
    expect(await livedWith(model, model)).toEqual(whole);
    expect(model.calls[1]?.messages.at(-1)).toMatchObject({ role: "assistant", content: "On it." });
  });

  test("is gone on with by a model that takes tools as such too", async () => {
    const second = answering({ text: marked });
    expect(await livedWith(callingInText(breaking()), second)).toEqual(whole);
    expect(second.calls[0]?.tools).toEqual([]);
  });

  test("is answered anew by a model that takes none, where they were offered as such", async () => {
    const second = callingInText(answering({ text: marked }));
    expect(await livedWith(breaking(), second)).toEqual(["AnswerAbandoned", ...whole]);
  });
});
