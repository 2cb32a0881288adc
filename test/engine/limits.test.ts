import { describe, expect, test } from "bun:test";
import { answerLimits } from "../../src/agent/answer-limits.ts";
import type { AgentConfig } from "../../src/agent/event.ts";
import { makePlayedModel, type PlayedReply } from "../support/played-model.ts";
import { makePlayedSandbox } from "../support/played-sandbox.ts";
import { openStage } from "../support/stage.ts";

type Limit = {
  /** What a reply asks for; the sixth ends the turn. */
  readonly reply: (number: number) => PlayedReply;
  readonly config: Partial<AgentConfig>;
  readonly code: string;
  /** Replies after which it ends. */
  readonly after: number;
  /** What raises it; where a retry alone goes on, nothing. */
  readonly raised: Partial<AgentConfig> | null;
};

const calling = (input: unknown, name = "echo"): PlayedReply => ({ calls: [{ name, input }] });
const counting = (number: number): PlayedReply => calling({ number });
const done: PlayedReply = { text: ["done"] };
/** Each tool takes a second. */
const toolMs = 1_000;

const limits: Readonly<Record<string, Limit>> = {
  "its steps": {
    reply: counting,
    config: { stepsMax: 3 },
    code: "MAX_STEPS",
    after: 3,
    raised: { stepsMax: 6 },
  },
  "its time": {
    reply: counting,
    config: { durationMsMax: 3 * toolMs },
    code: "MAX_DURATION",
    after: 3,
    raised: { durationMsMax: 60 * toolMs },
  },
  "its tokens": {
    reply: counting,
    // A played reply is ten.
    config: { totalTokensMax: 30 },
    code: "TOKEN_BUDGET",
    after: 3,
    raised: { totalTokensMax: 1_000 },
  },
  "the same call again and again": {
    reply: () => calling({ same: true }),
    config: {},
    code: "MAX_STEPS",
    after: 4,
    raised: null,
  },
  "answers that are refused": {
    reply: (number) => (number === 1 ? counting(1) : calling({}, "final_answer")),
    config: {},
    code: "MODEL_ERROR",
    after: answerLimits.toldMax + 2,
    raised: null,
  },
};

describe.each(Object.entries(limits))("a turn that ends by %s", (_name, limit) => {
  const { code, config, after, raised } = limit;

  async function ended() {
    const stage = openStage();
    const model = makePlayedModel((_, number) => (number < 6 ? limit.reply(number) : done));
    const sandbox = makePlayedSandbox(async () => {
      stage.clock.advance(toolMs);
      return {};
    });
    const engine = stage.start({ model, sandbox });
    const agentId = await stage.create(engine, "work", config);
    await stage.untilSettled(agentId);
    const retry = async (): Promise<void> => {
      await engine.command(agentId, { type: "Retry", key: null });
      await stage.untilSettled(agentId);
    };
    return { stage, engine, model, sandbox, agentId, retry };
  }

  test(`fails as ${code}, and says what to do`, async () => {
    const { stage, model, agentId } = await ended();
    expect(model.calls.length).toBe(after);
    expect((await stage.state(agentId)).lifecycle).toBe("failed");
    expect((await stage.state(agentId)).reason).toMatch(new RegExp(`^${code}: .*retry`));
  });

  test("goes on from where it was, and runs no tool again", async () => {
    const { stage, engine, model, sandbox, agentId, retry } = await ended();
    if (raised !== null) {
      await retry();
      // The limit is as it was: nothing is done, and nothing forgotten.
      expect(model.calls.length).toBe(after);
      expect((await stage.state(agentId)).reason).toStartWith(code);
      await engine.command(agentId, {
        type: "Edit",
        key: null,
        description: "",
        change: (spec) => ({ ...spec, config: { ...spec.config, ...raised } }),
      });
    }
    await retry();
    const state = await stage.state(agentId);
    expect(state.lifecycle).toBe("open");
    expect(state.transcript.at(-1)).toMatchObject({ kind: "assistant", content: "done" });
    expect(model.calls.length).toBe(6);
    expect(state.stats).toMatchObject({ steps: 6, toolCalls: 5 });
    const results = (await stage.log(agentId)).flatMap(({ event }) =>
      event.type === "ToolReturned" ? [event.callId] : [],
    );
    expect(new Set(results).size).toBe(5);
    expect(results.length).toBe(5);
    const ran = limit.code === "MODEL_ERROR" ? 1 : 5;
    expect(sandbox.calls.length).toBe(ran);
    // Each prompt begins with the one before it, over the failure too.
    for (const [index, { messages }] of model.calls.slice(1).entries())
      expect(messages.slice(0, model.calls[index]?.messages.length)).toEqual([
        ...(model.calls[index]?.messages ?? []),
      ]);
  });
});
