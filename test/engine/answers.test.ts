import { describe, expect, test } from "bun:test";
import { answerLimits } from "../../src/agent/answer-limits.ts";
import type { AgentSpec, Event } from "../../src/agent/event.ts";
import type { JsonObject } from "../../src/agent/json.ts";
import { formatWords } from "../../src/agent/prompt.ts";
import type { ModelRequest } from "../../src/agent/request.ts";
import { EngramError } from "../../src/errors.ts";
import { engineLimits } from "../../src/limits.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { aborted, makePlayedModel, type PlayedReply } from "../support/played-model.ts";
import { makePlayedSandbox } from "../support/played-sandbox.ts";
import { makeGate, openStage, quiet, type Stage, until } from "../support/stage.ts";

const responseSchema = {
  type: "object",
  properties: { n: { type: "integer" } },
  required: ["n"],
};

const calling = (input: unknown): PlayedReply => ({ calls: [{ name: "final_answer", input }] });
const right = calling({ content: "42", structured: { n: 42 } });
const wrong = calling({ content: "42", structured: { n: "many" } });

const retry = (engine: Engine, agentId: string) =>
  engine.command(agentId, { type: "Retry", key: null });
const edit = (engine: Engine, agentId: string, change: (spec: AgentSpec) => AgentSpec) =>
  engine.command(agentId, { type: "Edit", key: null, change, description: "" });
const withSchema =
  (schema: JsonObject | null) =>
  (spec: AgentSpec): AgentSpec => ({ ...spec, config: { ...spec.config, responseSchema: schema } });

/** The results that told the model what is wrong. */
const toldIn = async (stage: Stage, agentId: string): Promise<readonly string[]> =>
  (await stage.log(agentId)).flatMap(({ event }) =>
    event.type === "ToolReturned" && event.error !== null ? [event.error.message] : [],
  );
const lastOf = async (stage: Stage, agentId: string): Promise<Event | undefined> =>
  (await stage.log(agentId)).at(-1)?.event;

const last = ({ messages }: ModelRequest) => messages.at(-1);

/** An agent that has come to rest, with a model that answers its calls in this order, the last one again and again. */
async function rested(replies: readonly PlayedReply[], config: Partial<AgentSpec["config"]> = {}) {
  const stage = openStage();
  const model = makePlayedModel((_, number) => replies[Math.min(number, replies.length) - 1] ?? {});
  const sandbox = makePlayedSandbox();
  const engine = stage.start({ model, sandbox });
  const agentId = await stage.create(engine, "how many", { responseSchema, ...config });
  await stage.untilSettled(agentId);
  return { stage, engine, model, sandbox, agentId };
}

describe("an answer that has to satisfy a schema", () => {
  test("is taken where it does, and the model was told of the schema", async () => {
    const { stage, model, agentId } = await rested([right]);
    expect(await stage.events(agentId)).toEqual(["AgentCreated", "FinalAnswered"]);
    expect(await lastOf(stage, agentId)).toMatchObject({ content: "42", structured: { n: 42 } });
    const [{ event } = { event: null }] = (await stage.log(agentId)).slice(-1);
    const offered = { properties: { structured: responseSchema } };
    expect(model.calls[0]?.tools.at(-1)?.parameters).toMatchObject(offered);
    // What was offered is in the log.
    expect(JSON.stringify(event)).toContain(JSON.stringify(responseSchema.properties));
  });

  test("is asked for again, with a word on what is wrong, where it does not", async () => {
    const shapes = [{}, { content: "42" }, { content: 42, structured: {} }].map(calling);
    for (const first of [wrong, ...shapes]) {
      const { stage, model, agentId } = await rested([first, right]);
      expect(await stage.events(agentId)).toEqual([
        "AgentCreated",
        "ToolRequested",
        "ToolReturned",
        "FinalAnswered",
      ]);
      const [fault = ""] = await toldIn(stage, agentId);
      expect(fault).toMatch(first === wrong ? /#\/n: .*integer/ : /both of them/);
      expect(last(model.calls[1]!)).toMatchObject({ role: "tool", name: "final_answer" });
      expect(last(model.calls[1]!)?.content).toContain(fault);
    }
  });

  test("is told three times what is wrong; the next fails the turn, and a retry counts anew", async () => {
    const { stage, engine, model, agentId } = await rested([wrong]);
    expect(await lastOf(stage, agentId)).toMatchObject({ type: "TurnFailed", code: "MODEL_ERROR" });
    expect((await stage.state(agentId)).reason).toMatch(/wrong 4 times.*#\/n/);
    expect(model.calls.length).toBe(answerLimits.toldMax + 1);
    await retry(engine, agentId);
    await stage.untilSettled(agentId);
    expect(model.calls.length).toBe(2 * (answerLimits.toldMax + 1));
    expect(await lastOf(stage, agentId)).toMatchObject({ type: "TurnFailed", code: "MODEL_ERROR" });
    // Nothing is forgotten: all that was wrong stands in the next prompt.
    const results = model.calls.at(-1)?.messages.filter(({ role }) => role === "tool");
    expect(results?.length).toBe(2 * answerLimits.toldMax + 1);
  });

  test("beside another that is wrong is taken; two wrong ones of a reply count once", async () => {
    const both = { calls: [...(wrong.calls ?? []), ...(wrong.calls ?? [])] };
    const { stage, model, agentId } = await rested([
      both,
      both,
      { calls: [...wrong.calls!, { name: "echo", input: {} }, ...right.calls!] },
    ]);
    expect(model.calls.length).toBe(3);
    expect((await stage.events(agentId)).slice(-3)).toEqual([
      "ToolReturned",
      "ToolReturned",
      "FinalAnswered",
    ]);
  });

  test("counts from new input on", async () => {
    const stage = openStage();
    const gate = makeGate();
    const model = makePlayedModel((_, number) => ({
      ...(number < 7 ? wrong : right),
      before: async () => (number === 4 ? gate.passed : undefined),
    }));
    const engine = stage.start({ model });
    const agentId = await stage.create(engine, "how many", { responseSchema });
    await until("three are told", () => model.calls.length === 4);
    await stage.say(engine, agentId, "n is a number");
    gate.open();
    await stage.untilSettled(agentId);
    expect(await toldIn(stage, agentId)).toHaveLength(6);
    expect((await stage.state(agentId)).lifecycle).toBe("completed");
  });

  test("without a schema is counted the same way", async () => {
    const { stage, model, agentId } = await rested([calling({})], { responseSchema: null });
    expect(model.calls.length).toBe(answerLimits.toldMax + 1);
    expect((await stage.state(agentId)).reason).toMatch(/^MODEL_ERROR: .*final_answer takes/);
  });

  test("that takes too long to check is wrong, and says so", async () => {
    const stage = openStage();
    const model = makePlayedModel((_, number) => (number === 1 ? wrong : right));
    const played = makePlayedSandbox();
    const check = async (value: JsonObject): Promise<string | null> =>
      value["n"] === 42 ? null : "it took too long";
    const engine = stage.start({ model, sandbox: { ...played, check } });
    const agentId = await stage.create(engine, "how many", { responseSchema });
    await stage.untilSettled(agentId);
    expect(await toldIn(stage, agentId)).toEqual(["it took too long"]);
    expect((await stage.state(agentId)).lifecycle).toBe("completed");
  });

  test("waits where nothing can be checked, and costs no more calls of the model", async () => {
    const stage = openStage();
    const model = makePlayedModel(() => right);
    const played = makePlayedSandbox();
    let checks = 0;
    const check: typeof played.check = async (...args) => {
      if (++checks <= 4) throw new EngramError("unavailable", "no process", { transient: true });
      return played.check(...args);
    };
    const engine = stage.start({ model, sandbox: { ...played, check } });
    const agentId = await stage.create(engine, "how many", { responseSchema });
    for (let retries = 0; retries < 8; retries++) {
      await quiet();
      stage.clock.advance(engineLimits.storeRetryMs);
    }
    await stage.untilSettled(agentId);
    expect(await toldIn(stage, agentId)).toEqual([expect.stringContaining("give it again")]);
    expect((await stage.state(agentId)).lifecycle).toBe("completed");
    expect(model.calls.length).toBe(2);
  });

  test("that a client pauses in mid-check is nobody's; it is asked for again", async () => {
    const stage = openStage();
    const model = makePlayedModel(() => right);
    const played = makePlayedSandbox();
    let checks = 0;
    const check: typeof played.check = async (value, schema, signal) => {
      if (++checks === 1) await aborted(signal);
      return played.check(value, schema, signal);
    };
    const engine = stage.start({ model, sandbox: { ...played, check } });
    const agentId = await stage.create(engine, "how many", { responseSchema });
    await until("it is checked", () => checks === 1);
    await engine.command(agentId, { type: "Pause", key: null, reason: "" });
    await stage.untilSettled(agentId);
    expect(await stage.events(agentId)).toEqual(["AgentCreated", "AgentPaused"]);
    await engine.command(agentId, { type: "Resume", key: null });
    await stage.untilSettled(agentId);
    expect((await stage.state(agentId)).lifecycle).toBe("completed");
  });

  test("is checked once, whatever clients say meanwhile", async () => {
    const stage = openStage();
    const gate = makeGate();
    const played = makePlayedSandbox();
    let checks = 0;
    const check: typeof played.check = async (...args) => {
      checks++;
      await gate.passed;
      return played.check(...args);
    };
    const model = makePlayedModel((_, number) => (number === 1 ? right : { text: ["bye"] }));
    const engine = stage.start({ model, sandbox: { ...played, check } });
    const agentId = await stage.create(engine, "how many", { responseSchema });
    await until("it is checked", () => checks === 1);
    await stage.say(engine, agentId, "go on");
    gate.open();
    await stage.untilSettled(agentId);
    expect(await stage.events(agentId)).toEqual([
      "AgentCreated",
      "MessageReceived",
      "FinalAnswered",
      "ModelSpoke",
    ]);
    expect(checks).toBe(1);
  });

  test("is held against the schema as it is where the answer is recorded", async () => {
    const stage = openStage();
    const gate = makeGate();
    const played = makePlayedSandbox();
    const checked: JsonObject[] = [];
    const check: typeof played.check = async (value, schema, signal) => {
      const fault = await played.check(value, schema, signal);
      // The edit comes behind the check, and before its outcome is recorded.
      if (checked.push(schema) === 1) await gate.passed;
      return fault;
    };
    const model = makePlayedModel(() => right);
    const engine = stage.start({ model, sandbox: { ...played, check } });
    const agentId = await stage.create(engine, "how many", { responseSchema });
    await until("it is checked", () => checked.length === 1);
    const other = { type: "object", required: ["m"] };
    await edit(engine, agentId, withSchema(other));
    gate.open();
    await stage.untilSettled(agentId);
    expect(checked.slice(0, 2)).toEqual([responseSchema, other]);
    expect(await toldIn(stage, agentId)).toHaveLength(answerLimits.toldMax + 1);
    expect(model.calls[1]?.tools.at(-1)?.parameters).toMatchObject({
      properties: { structured: other },
    });
    await edit(engine, agentId, withSchema(null));
    await retry(engine, agentId);
    await stage.untilSettled(agentId);
    expect((await stage.state(agentId)).lifecycle).toBe("completed");
  });
});

describe("an agent without tools and with a schema", () => {
  const noTools = true;
  const text = (...pieces: readonly string[]): PlayedReply => ({ text: pieces });

  test("answers in the format, and its text is its answer to the letter", async () => {
    for (const whole of ['{"n": ', '```json\n{"n":']) {
      const pieces = [whole, whole.startsWith("{") ? "42}\n" : " 42}\n```"];
      const { stage, model, agentId } = await rested([text(...pieces)], { noTools });
      expect(await stage.events(agentId)).toEqual(["AgentCreated", "ModelSpoke", "FinalAnswered"]);
      const content = pieces.join("");
      const [, spoke, final] = (await stage.log(agentId)).map(({ event }) => event);
      expect(spoke).toMatchObject({ content });
      expect(final).toMatchObject({ content, structured: { n: 42 } });
      const [{ format, tools, messages }] = model.calls as [ModelRequest];
      expect({ format, tools }).toEqual({ format: responseSchema, tools: [] });
      expect(messages[0]?.content).toContain(`${formatWords}\n${JSON.stringify(responseSchema)}`);
      expect((await stage.state(agentId)).transcript.at(-1)).toMatchObject({ content });
    }
  });

  test("is told what is wrong as by a user, for it has called nothing", async () => {
    const faults = { "It is 42.": /not valid JSON/, "[42]": /no JSON object/, '{"n":"x"}': /#\/n/ };
    for (const [first, words] of Object.entries(faults)) {
      const { stage, model, agentId } = await rested([text(first), text('{"n":42}')], { noTools });
      expect(await stage.events(agentId)).toEqual([
        "AgentCreated",
        "ModelSpoke",
        "ToolRequested",
        "ToolReturned",
        "ModelSpoke",
        "FinalAnswered",
      ]);
      expect((await toldIn(stage, agentId))[0]).toMatch(words);
      expect(model.calls[1]?.messages.slice(-2)).toEqual([
        { role: "assistant", content: first, toolCalls: [] },
        {
          role: "user",
          content: expect.stringMatching(
            /^\[.*\] .*Your answer was not taken\. Error TOOL_INVALID/,
          ),
          images: [],
        },
      ]);
    }
  });

  test("fails where it never satisfies it", async () => {
    const { stage, model, agentId } = await rested([text("no")], { noTools });
    expect(model.calls.length).toBe(answerLimits.toldMax + 1);
    expect((await stage.state(agentId)).reason).toMatch(/^MODEL_ERROR: .*not valid JSON/);
  });

  test("may call nothing, the answer neither", async () => {
    const { stage, model, agentId } = await rested(
      [{ calls: [{ name: "echo", input: {} }] }, wrong, text('{"n":42}')],
      { noTools },
    );
    expect(model.calls.length).toBe(3);
    const [first, second] = await toldIn(stage, agentId);
    expect(first).toContain("may not call echo");
    expect(second).toMatch(/schema/);
    expect((await stage.state(agentId)).lifecycle).toBe("completed");
  });

  test("answers anew where its answer was broken off", async () => {
    const stage = openStage();
    const model = makePlayedModel((_, number) => ({
      text: ['{"n"', ":42}"],
      before: async (index, signal) => {
        if (number === 1 && index === 1) await aborted(signal);
      },
    }));
    const engine = stage.start({ model });
    const agentId = await stage.create(engine, "how many", { responseSchema, noTools });
    await until("a piece is kept", async () => (await stage.store.readDraft(agentId, 0)) !== null);
    await engine.command(agentId, { type: "Pause", key: null, reason: "" });
    await stage.untilSettled(agentId);
    await engine.command(agentId, { type: "Resume", key: null });
    await stage.untilSettled(agentId);
    expect((await stage.events(agentId)).slice(-3)).toEqual([
      "AnswerAbandoned",
      "ModelSpoke",
      "FinalAnswered",
    ]);
    expect(last(model.calls[1]!)?.role).toBe("user");
  });
});
