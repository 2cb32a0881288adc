import type { AgentConfig, Event } from "../../src/agent/event.ts";
import { type AgentState, statusOf } from "../../src/agent/state.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { turnLimits } from "../../src/limits.ts";
import type { Clock } from "../../src/clock.ts";
import type { Model } from "../../src/llm/model.ts";
import { openOllama } from "../../src/llm/ollama/ollama.ts";
import { born } from "./events.ts";
import type { FakeExchange } from "./fake-ollama-exchange.ts";
import { openStage, quiet, type Stage, until } from "./stage.ts";
import { turn } from "./played-model.ts";
import { makeWatcher, type Watcher } from "./watcher.ts";

/** An agent on an engine whose model is on a server, by default one of Ollama's, and a client that watches. */
export type Story = {
  readonly stage: Stage;
  readonly engine: Engine;
  readonly agentId: string;
  readonly watcher: Watcher;
};

/** Silence after which a call is given up, on the stage's clock. */
export const timeoutMs = 2_000;

/** Makes the model of a server at that address. */
export type OpenModel = (url: string, clock: Clock) => Model;

const onOllama: OpenModel = (url, clock) =>
  openOllama({ url, timeoutMs, clock, options: {}, log: () => {} });

export const startOn = (
  { url }: { readonly url: string },
  stage: Stage,
  name: string,
  open = onOllama,
): Engine => stage.start({ name, model: open(url, stage.clock) });

/** Begins one whose agent waits for input. */
export const begin = async (
  fake: { readonly url: string },
  more: Partial<AgentConfig> = {},
  model = "qwen3",
  open = onOllama,
): Promise<Story> => {
  const stage = openStage();
  const engine = startOn(fake, stage, "first", open);
  const config = { ...more, waitForInput: true };
  const { type: _type, parent: _parent, ...spec } = born(config, { goal: "help", model });
  const { agentId } = await engine.create(spec, null);
  const watcher = makeWatcher();
  void watcher.watch(engine, agentId).catch(() => {});
  return { stage, engine, agentId, watcher };
};

/** Waits for what the server's answers bring about; the store says when there is something new. */
export const untilState = async (
  { stage, agentId }: Story,
  holds: (state: AgentState) => boolean,
): Promise<AgentState> => {
  for (;;) {
    const changed = Promise.withResolvers<void>();
    const unfollow = stage.store.follow(agentId, changed.resolve);
    const state = await stage.state(agentId);
    if (!holds(state)) await changed.promise;
    unfollow();
    if (holds(state)) return state;
  }
};

const isResting = (state: AgentState): boolean => statusOf(state) !== "waiting_for_step";

/** Lets the agent work until it rests, over the pauses between its attempts. */
export const untilRest = async (story: Story): Promise<AgentState> => {
  for (let attempts = 0; ; attempts++) {
    const state = await untilState(story, (now) => isResting(now) || now.turn.attempts > attempts);
    if (isResting(state)) return state;
    // The worker lets go of it first.
    await until("it waits", async () => (await story.stage.store.nextWakeMs()) !== null);
    await quiet();
    story.stage.clock.advance(turnLimits.retryDelayMsMax * 2);
  }
};

/** Moves the clock on in steps that a lease outlives. */
export const pass = async ({ stage }: Story, ms: number): Promise<void> => {
  for (let left = ms; left > 0; left -= 200) {
    stage.clock.advance(Math.min(left, 200));
    await quiet();
  }
};

/** Waits for what another process does: the loop turns until it holds. */
export const untilSeen = async (holds: () => boolean): Promise<void> => {
  while (!holds()) await turn();
};

/** Calls to answer, not those that ask whether an answer can be continued. */
export const askedOf = <X extends Pick<FakeExchange, "body">>(fake: {
  readonly chats: readonly X[];
}): readonly X[] => fake.chats.filter(({ body }) => body["_debug_render_only"] !== true);

export const lastOf = async ({ stage, agentId }: Story): Promise<Event | undefined> =>
  (await stage.log(agentId)).at(-1)?.event;

/** The beginning of an answer that a call was to go on with; empty: none. */
export const partialOf = ({ body }: Pick<FakeExchange, "body">): string => {
  const messages = Array.isArray(body["messages"]) ? body["messages"] : [];
  const { role, content } = messages.at(-1) as { role: string; content: string };
  return role === "assistant" ? content : "";
};
