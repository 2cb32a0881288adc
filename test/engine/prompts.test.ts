import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { fold } from "../../src/agent/fold.ts";
import { condensingHead } from "../../src/agent/context.ts";
import type { AgentSpec, ModelAbilities } from "../../src/agent/event.ts";
import type { ModelRequest } from "../../src/agent/request.ts";
import { type AgentState, statusOf } from "../../src/agent/state.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { EngramError } from "../../src/errors.ts";
import { born } from "../support/events.ts";
import { type CrashWorld, openCrashWorld, type Unkeyed } from "../support/crash-world.ts";
import { makePlayedModel, partialOf, type PlayedReply, turn } from "../support/played-model.ts";
import { fileOf, makePlayedSandbox } from "../support/played-sandbox.ts";
import { quickBackends, slowDiskMs } from "../support/quick-stores.ts";
import { missed, rebuilt } from "../support/rebuilt.ts";
import { echoing, makeGate, openStage, until } from "../support/stage.ts";
import { seeded } from "../support/seed.ts";

const kinds = [
  "say",
  "say",
  "say",
  "pause",
  "edit",
  "edit",
  "fault",
  "tool",
  "crash",
  "wait",
] as const;

/** What happens to an agent, and after how many turns of the event loop. */
const anyMove = fc.record({
  kind: fc.constantFrom(...kinds),
  n: fc.nat({ max: 99 }),
  after: fc.nat({ max: 90 }),
});

type Move = typeof anyMove extends fc.Arbitrary<infer M> ? M : never;

const {
  type: _type,
  parent: _parent,
  ...spec
} = born({ contextTokensMax: 500, enableThinking: true });

const change =
  (n: number) =>
  (before: AgentSpec): AgentSpec => {
    const { config } = before;
    if (n % 12 === 11) {
      const noTools = !config.noTools;
      return { ...before, config: { ...config, noTools, responseSchema: { title: `${n}` } } };
    }
    if (n % 4 === 0) return { ...before, goal: `goal ${n}` };
    if (n % 4 === 1) return { ...before, systemPrompt: `prompt ${n}` };
    if (n % 4 === 2) return { ...before, model: `model ${n}` };
    return {
      ...before,
      config: { ...before.config, contextTokensMax: 400 + n, temperature: n / 99 },
    };
  };

/** What is known of the model, as time goes by. */
const abilitiesNow: readonly ModelAbilities[] = [
  { tools: true, thinking: true, contextTokens: null },
  { tools: true, thinking: false, contextTokens: 450, usage: false },
  { tools: false, thinking: true, contextTokens: 700, format: false },
];

const broken = (n: number): EngramError => {
  const overflow = { contextTokens: 300 + 3 * n, promptTokens: n % 3 === 0 ? 400 + n : null };
  if (n % 4 === 1)
    return new EngramError("context_overflow", "too long", n % 8 === 1 ? {} : { overflow });
  return n % 5 === 0
    ? new EngramError("model_error", "no", { transient: false })
    : new EngramError("model_unavailable", "away", { transient: true });
};

/** Some of it again and again, some of it wrong, some to be confirmed. */
const callsOf = (number: number): PlayedReply["calls"] & {} => {
  if (number % 6 === 0) return [{ name: "echo", input: { number: number % 4 } }];
  if (number % 7 === 0) {
    const input = number % 2 === 0 ? { content: "done" } : {};
    return [{ name: "final_answer", input }];
  }
  return number % 11 === 0 ? [{ name: "risky", input: {} }] : [];
};

/** Plays a life; answers what the model received, and what the log tells of that. */
async function play(
  fixture: Parameters<typeof openCrashWorld>[0]["fixture"],
  moves: readonly Move[],
) {
  const files = ["echo", "risky"];
  const faults: Move[] = [];
  let cut = 0;
  let asked = 0;
  const played = makePlayedModel((request, number): PlayedReply => {
    const fault = faults.shift();
    const partial = partialOf(request.messages);
    const words = Array.from({ length: 1 + (number % 7) }, (_, n) => `word-${number}-${n} `);
    const before = async (index: number): Promise<void> => {
      if (fault !== undefined && index === fault.n % 4) throw broken(fault.n);
    };
    return {
      thinking: number % 3 === 0 ? ["hm"] : [],
      text: [partial, "x".repeat(90), ...words],
      calls: callsOf(number),
      before,
    };
  });
  const model = {
    ...played,
    continuesPartial: async () => ++asked % 4 > 0,
    abilities: async () => abilitiesNow[Math.floor(++asked / 8) % abilitiesNow.length]!,
  };
  const sandbox = { ...makePlayedSandbox(), list: async () => files.map(fileOf) };
  const world = openCrashWorld({ fixture, model, sandbox, crashAt: new Set() });
  const agentId = await world.create(spec);
  const send = async (command: Unkeyed): Promise<void> => {
    try {
      await world.send(agentId, command);
    } catch (error) {
      if (!(error instanceof EngramError)) throw error;
    }
  };
  const move = async ({ kind, n }: Move): Promise<void> => {
    const { state } = await world.ending(agentId);
    if (statusOf(state) === "failed") await send({ type: "Retry" });
    if (kind === "say")
      await send({ type: "Say", content: `said ${n} ${"y ".repeat(3 * n)}`, attachments: [] });
    if (kind === "edit")
      await send({ type: "Edit", change: change(n), description: n % 3 === 0 ? `edit ${n}` : "" });
    if (kind === "fault") faults.push({ kind, n, after: 0 });
    if (kind === "tool")
      files.splice(0, files.length, ...["echo", `tool-${n}`].slice(0, 1 + (n % 2)));
    if (kind === "crash") {
      if (isWorking(state)) cut++;
      world.crash();
    }
    if (kind === "pause") {
      await send({ type: "Pause", reason: "" });
      await pass(n % 9);
      await send({ type: "Resume" });
    }
  };
  const pass = async (turns: number): Promise<void> => {
    for (let n = 0; n < turns; n++) await turn();
  };
  try {
    for (const one of moves) {
      await pass(one.after);
      await move(one);
    }
    await settle(world, agentId);
    const { log, draft } = await world.ending(agentId);
    const stopped = log.filter(
      ({ event, sequence }) =>
        event.type === "AgentPaused" && isWorking(fold(log.slice(0, sequence - 1))),
    );
    cut += stopped.length;
    return { received: model.calls, told: rebuilt(log, draft), cut };
  } finally {
    await world.end();
  }
}

const isWorking = (state: AgentState): boolean => statusOf(state) === "waiting_for_step";

async function settle(world: CrashWorld, agentId: string): Promise<void> {
  const { state } = await world.ending(agentId);
  if (statusOf(state) === "failed") await world.send(agentId, { type: "Retry" });
  await world.untilSettled(agentId);
}

const isCondensing = (request: ModelRequest | null): boolean =>
  request?.messages[0]?.content.startsWith(condensingHead) === true;

describe.each(quickBackends)("what a model was sent: $name", ({ name, fixture }) => {
  const lives = name === "memory" ? 100 : 15;

  test(
    "can be told from the log, whatever happened meanwhile; but for what was broken off at once",
    async () => {
      const seen = { condensed: 0, continued: 0, missing: 0, received: 0 };
      await fc.assert(
        fc.asyncProperty(
          fc.array(anyMove, { minLength: 25, maxLength: 50, size: "max" }),
          async (moves) => {
            const { received, told, cut } = await play(fixture, moves);
            const missing = missed(received, told);
            expect(told).not.toContain(null);
            expect(missing).not.toBeNull();
            expect(missing).toBeLessThanOrEqual(cut);
            seen.received += received.length;
            seen.missing += missing ?? 0;
            seen.condensed += told.filter(isCondensing).length;
            seen.continued += told.filter(
              (request) => request !== null && partialOf(request.messages) !== "",
            ).length;
          },
        ),
        { ...seeded(lives), endOnFailure: true },
      );
      expect(seen.condensed).toBeGreaterThan(lives / 2);
      expect(seen.continued).toBeGreaterThan(lives / 2);
      expect(seen.missing).toBeLessThan(seen.received / 10);
    },
    slowDiskMs,
  );
});

describe("the prompt of a call", () => {
  /** All prompts that an agent's model was sent. */
  async function promptsOf(engine: Engine, agentId: string): Promise<readonly string[]> {
    const { place, body } = await engine.sentPrompt(agentId, null);
    const bodies: string[] = [];
    for (let number = 1; number < place.total; number++)
      bodies.push((await engine.sentPrompt(agentId, number)).body);
    return [...bodies, body];
  }

  test("is found by its number, of a fork from its parent's on, and is as it was sent to the byte", async () => {
    const stage = openStage();
    const model = echoing();
    const engine = stage.start({ model });
    const agentId = await stage.create(engine, "one");
    await stage.untilSettled(agentId);
    const atSequence = (await stage.state(agentId)).sequence;
    await stage.say(engine, agentId, "two");
    await stage.untilSettled(agentId);
    const fork = await engine.fork(agentId, atSequence, { metadata: {}, request: null });
    await stage.say(engine, fork.agentId, "three");
    await stage.untilSettled(fork.agentId);
    const [one = "", two = "", three = ""] = model.calls.map(model.bodyOf);
    expect(await promptsOf(engine, agentId)).toEqual([one, two]);
    expect(await promptsOf(engine, fork.agentId)).toEqual([one, three]);
    const { place } = await engine.sentPrompt(agentId, 2);
    expect(place).toMatchObject({ number: 2, total: 2 });
    expect(place.sending).toMatchObject({
      headSequence: 3,
      outcomeSequence: 4,
      continuedLength: 0,
    });
    await engine.drain();
  });

  test("is there while the model writes, once something of its answer is durable", async () => {
    const stage = openStage();
    const gate = makeGate();
    const before = async (index: number): Promise<void> => void (index > 1 && (await gate.passed));
    const model = makePlayedModel(() => ({ text: ["so ", "far ", "good"], before }));
    const engine = stage.start({ model });
    const agentId = await stage.create(engine, "one");
    await until("it writes", async () => (await stage.store.readDraft(agentId, 0)) !== null);
    const { place, body } = await engine.sentPrompt(agentId, null);
    expect([place.number, place.total, place.sending.outcomeSequence]).toEqual([1, 1, null]);
    expect(model.calls.map(model.bodyOf)).toEqual([body]);
    gate.open();
    await stage.untilSettled(agentId);
    expect((await engine.sentPrompt(agentId, null)).place.sending.outcomeSequence).toBe(2);
    await engine.drain();
  });

  test("is refused where there is none", async () => {
    const stage = openStage();
    const engine = stage.start();
    const idle = await stage.create(engine, "one", { waitForInput: true });
    const refusal = async (agentId: string, number: number | null): Promise<string> =>
      engine.sentPrompt(agentId, number).then(
        () => "none",
        (error: EngramError) => `${error.code}: ${error.message}`,
      );
    expect(await refusal("nobody", null)).toMatch(/^not_found: /);
    expect(await refusal(idle, null)).toMatch(/^not_found: .* has not called its model yet$/);
    await stage.say(engine, idle, "two");
    await stage.untilSettled(idle);
    expect(await refusal(idle, 2)).toMatch(/^not_found: .* there is no call 2$/);
    await engine.drain();
  });
});
