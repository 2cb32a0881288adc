import { describe, expect, test } from "bun:test";
import { answerLimits } from "../../src/agent/answer-limits.ts";
import type { AgentSpec } from "../../src/agent/event.ts";
import { callDigest } from "../../src/agent/repeats.ts";
import type { ModelRequest } from "../../src/agent/request.ts";
import { makePlayedModel, type PlayedReply } from "../support/played-model.ts";
import { makePlayedSandbox } from "../support/played-sandbox.ts";
import { makeGate, openStage, until } from "../support/stage.ts";

type Input = Record<string, unknown>;
const calling = (...inputs: readonly Input[]): PlayedReply => ({
  calls: inputs.map((input) => ({ name: "echo", input })),
});
const same = calling({ a: 1, b: [2] });

const noteText = "3 times in a row";
const notesIn = ({ messages }: ModelRequest): number =>
  messages.filter(({ content }) => content.includes(noteText)).length;

async function begun(
  reply: (number: number) => PlayedReply,
  config: Partial<AgentSpec["config"]> = {},
) {
  const stage = openStage();
  const model = makePlayedModel((_, number) => reply(number));
  const sandbox = makePlayedSandbox();
  const engine = stage.start({ model, sandbox });
  const agentId = await stage.create(engine, "work", config);
  const command = (type: "Retry" | "Pause" | "Resume") =>
    engine.command(
      agentId,
      type === "Pause" ? { type, key: null, reason: "" } : { type, key: null },
    );
  return { stage, engine, model, sandbox, agentId, command };
}

test("a call is the same by its name and its input, whatever the order of the keys", () => {
  const of = (inputJson: string, name = "echo"): string => callDigest({ name, inputJson });
  expect(of('{"a":1,"b":[{"c":2,"d":3}]}')).toBe(of(' {"b":[{"d":3,"c":2.0}],"a":1} '));
  const others = ['{"a":1}', '{"a":2}', '{"a":"1"}', "[1]", "[[1]]", "{", "", '"{"', '["{"]'];
  expect(new Set(others.map((input) => of(input))).size).toBe(others.length);
  expect(of("{}")).not.toBe(of("{}", "other"));
  const long = `{"a":"${"x".repeat(answerLimits.comparedCharsMax)}"}`;
  expect(of(long)).toBe(of(long));
  expect(of("[".repeat(60_000))).toBe(of("[".repeat(60_000)));
  const deep = "[".repeat(30_000) + "]".repeat(30_000);
  expect(of(deep)).toBe(of(deep));
});

describe("a model that makes the same call again and again", () => {
  test("is told at the third result, for itself alone, and ends as MAX_STEPS at the fourth", async () => {
    const { stage, model, sandbox, agentId } = await begun(() => same);
    await stage.untilSettled(agentId);
    expect((await stage.state(agentId)).reason).toMatch(/^MAX_STEPS: .*echo.*4th time/);
    expect(sandbox.calls.length).toBe(3);
    expect(model.calls.map(notesIn)).toEqual([0, 0, 0, 1]);
    expect(model.calls.at(-1)?.messages.at(-1)?.content).toEndWith("do something else.)");
    expect(JSON.stringify(await stage.log(agentId))).not.toContain(noteText);
  });

  test("goes on with the fourth after a retry, and is counted anew", async () => {
    const { stage, model, sandbox, agentId, command } = await begun(() => same);
    await stage.untilSettled(agentId);
    await command("Retry");
    await stage.untilSettled(agentId);
    expect((await stage.state(agentId)).lifecycle).toBe("failed");
    // The one that waited, and three more.
    expect(sandbox.calls.length).toBe(7);
    expect(model.calls.length).toBe(8);
    const ids = (await stage.log(agentId)).flatMap(({ event }) =>
      event.type === "ToolReturned" ? [event.callId] : [],
    );
    expect(new Set(ids).size).toBe(7);
  });

  test("counts by replies, whatever else stands in them", async () => {
    const { stage, sandbox, agentId } = await begun((number) =>
      number > 5 ? { text: ["done"] } : calling({ a: 1 }, { a: 1 }, { a: 1 }, { n: number }),
    );
    await stage.untilSettled(agentId);
    expect((await stage.state(agentId)).reason).toStartWith("MAX_STEPS");
    // None of the fourth reply's is run, so that a retry runs them all.
    expect(sandbox.calls.length).toBe(12);
  });

  test("may make it for ever where something else comes in between", async () => {
    const { stage, sandbox, model, agentId } = await begun((number) => {
      if (number > 20) return { text: ["done"] };
      return number % 4 === 0 ? calling({ else: number }) : same;
    });
    await stage.untilSettled(agentId);
    expect((await stage.state(agentId)).lifecycle).toBe("open");
    expect(sandbox.calls.length).toBe(20);
    expect(model.calls.slice(-1).map(notesIn)).toEqual([5]);
  });

  test("starts anew with input, in mid-turn too", async () => {
    const gate = makeGate();
    const { stage, engine, sandbox, model, agentId } = await begun((number) => ({
      ...(number > 6 ? { text: ["done"] } : same),
      before: async () => (number === 4 ? gate.passed : undefined),
    }));
    await until("three were made", () => model.calls.length === 4);
    await stage.say(engine, agentId, "go on");
    gate.open();
    await stage.untilSettled(agentId);
    expect((await stage.state(agentId)).lifecycle).toBe("open");
    expect(sandbox.calls.length).toBe(6);
  });

  test("is found out across pauses, and in a conversation that was condensed", async () => {
    const { stage, sandbox, agentId, command } = await begun(
      () => ({ ...same, text: ["x".repeat(12_000)] }),
      { contextTokensMax: 1_500 },
    );
    for (const count of [1, 2, 3]) {
      await until(`it is at call ${count}`, () => sandbox.calls.length >= count);
      await command("Pause").catch(() => undefined);
      await command("Resume").catch(() => undefined);
    }
    await stage.untilSettled(agentId);
    expect(await stage.events(agentId)).toContain("ContextCondensed");
    expect((await stage.state(agentId)).reason).toStartWith("MAX_STEPS");
    const results = (await stage.events(agentId)).filter((type) => type === "ToolReturned");
    expect(results.length).toBe(3);
  });

  test("has nobody asked to confirm the fourth; after a retry they are", async () => {
    const { stage, engine, sandbox, agentId, command } = await begun(() => ({
      calls: [{ name: "risky", input: {} }],
    }));
    const approve = async (): Promise<void> => {
      await stage.untilStatus(agentId, "waiting_for_confirmation");
      const { callId = "" } = (await stage.state(agentId)).pendingCalls[0] ?? {};
      await engine.command(agentId, {
        type: "Confirm",
        key: null,
        callId,
        approve: true,
        reason: "",
      });
    };
    for (let count = 0; count < 3; count++) await approve();
    await stage.untilStatus(agentId, "failed");
    expect(sandbox.calls.length).toBe(3);
    await command("Retry");
    await approve();
    await stage.untilStatus(agentId, "waiting_for_confirmation");
    expect(sandbox.calls.length).toBe(4);
  });

  test("leaves a fork nothing to be counted on", async () => {
    const { stage, engine, sandbox, agentId } = await begun(() => same);
    await stage.untilSettled(agentId);
    const { agentId: forkId } = await engine.fork(agentId, 0, { metadata: {}, request: null });
    await stage.say(engine, forkId, "go on");
    await stage.untilSettled(forkId);
    expect(sandbox.calls.length).toBe(6);
  });
});
