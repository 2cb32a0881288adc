import type { AgentConfig } from "../../src/agent/event.ts";
import { EngramError } from "../../src/errors.ts";
import { type CrashWorld, type Ending, openCrashWorld } from "./crash-world.ts";
import { born } from "./events.ts";
import { makeManualClock, type ManualClock } from "./manual-clock.ts";
import { askedOf, makePlayedModel, unlessAborted } from "./played-model.ts";
import { makePlayedSandbox } from "./played-sandbox.ts";
import type { Backend } from "./stores.ts";

/** Where in a life something can happen, in their order. */
export const moments = [
  "before its goal",
  "in a retry's back-off",
  "in mid-answer",
  "during a tool",
  "in a pause",
] as const;
export type Moment = (typeof moments)[number];

/** What a life on moving clocks came to. */
export type ClockLife = Ending & {
  /** When each model call began: in ms of monotonic time since the life began. */
  readonly calledMs: readonly number[];
  /** How long it all took. */
  readonly tookMs: number;
  /** What a client saw that was not as promised. */
  readonly faults: readonly string[];
};

/** Longer than any back-off of the engine's own, so that its length is no chance. */
export const retryAfterMs = 40_000;
const wordMs = 1_000;
const toolMs = 3_000;

export type Scene = {
  readonly world: CrashWorld;
  readonly clock: ManualClock;
  readonly agentId: string;
};

type Played = {
  readonly fixture: Backend["fixture"];
  readonly config?: Partial<AgentConfig>;
  /** What happens at each moment beside the life itself. */
  readonly at: (moment: Moment, on: Scene) => Promise<void> | void;
};

/**
 * An agent whose model is overloaded at first, then asks for a tool, and whose answer is paused in the middle; words,
 * tool, back-off and pause take their time on the monotonic clock.
 */
export async function liveByTheClock({ fixture, config = {}, at }: Played): Promise<ClockLife> {
  const clock = makeManualClock();
  const beganMs = clock.monotonicMs();
  const sleep = async (ms: number, signal: AbortSignal): Promise<void> => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const cancel = clock.after(ms, resolve);
    await unlessAborted(promise, signal).finally(cancel);
  };
  const calledMs: number[] = [];
  let toolRuns = 0;
  const model = makePlayedModel(({ messages }) => {
    calledMs.push(clock.monotonicMs() - beganMs);
    if (calledMs.length === 1)
      throw new EngramError("model_unavailable", "overloaded", { transient: true, retryAfterMs });
    const before = (_index: number, signal: AbortSignal): Promise<void> => sleep(wordMs, signal);
    return askedOf(messages) === "hello"
      ? { text: ["let ", "me ", "see"], calls: [{ name: "echo", input: { n: 1 } }], before }
      : { text: ["this ", "is ", "what ", "it ", "said"], before };
  });
  const sandbox = makePlayedSandbox(async (_call, signal) => {
    toolRuns++;
    await sleep(toolMs, signal);
    return {};
  });
  const world = openCrashWorld({ fixture, clock, model, sandbox, crashAt: new Set() });
  let agentId = "";
  const happen = async (moment: Moment): Promise<void> => at(moment, { world, clock, agentId });
  const waited = (ms: number): Promise<void> => {
    const untilMs = clock.monotonicMs() + ms;
    return world.until(`${ms} ms pass`, () => clock.monotonicMs() >= untilMs);
  };
  const holds = async (type: string): Promise<boolean> =>
    (await world.ending(agentId)).log.some(({ event }) => event.type === type);
  try {
    await happen("before its goal");
    const { type: _type, parent: _parent, ...spec } = born(config, { goal: "hello" });
    agentId = await world.create(spec);
    await world.until("it backs off", () => holds("ModelFailed"));
    await waited(15_000);
    await happen("in a retry's back-off");
    const { textBytes } = world.watcher(agentId);
    await world.until("two words are seen", () => textBytes() >= "let me ".length);
    await happen("in mid-answer");
    await world.until("the tool runs", () => toolRuns === 1);
    await waited(1_000);
    await happen("during a tool");
    await world.until("it is back", () => holds("ToolReturned"));
    await world.until("two words are seen", () => textBytes() >= "this is ".length);
    await world.send(agentId, { type: "Pause", reason: "" });
    await waited(5_000);
    await happen("in a pause");
    await waited(5_000);
    await world.send(agentId, { type: "Resume" });
    await world.untilSettled(agentId);
    const tookMs = clock.monotonicMs() - beganMs;
    const { faults } = world.watcher(agentId);
    return { ...(await world.ending(agentId)), calledMs, tookMs, faults };
  } finally {
    await world.end();
  }
}
