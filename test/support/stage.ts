import type { AgentConfig, Event, LoggedEvent } from "../../src/agent/event.ts";
import { fold } from "../../src/agent/fold.ts";
import { type AgentState, statusOf } from "../../src/agent/state.ts";
import { type Engine, startEngine } from "../../src/engine/engine.ts";
import type { Model } from "../../src/llm/model.ts";
import type { Sandbox } from "../../src/sandbox/sandbox.ts";
import { openMemoryStore } from "../../src/store/memory.ts";
import { EngramError } from "../../src/errors.ts";
import type { Lease, Store } from "../../src/store/store.ts";
import { born } from "./events.ts";
import { makeManualClock, type ManualClock } from "./manual-clock.ts";
import { askedOf, makePlayedModel, turn } from "./played-model.ts";
import { makePlayedSandbox } from "./played-sandbox.ts";
import { readAll } from "./stores.ts";

/** Engines on one store, with a clock that the test moves. */
export type Stage = {
  /** What the engines' stores come down to. */
  readonly store: Store;
  readonly clock: ManualClock;
  /** What the engines told the operator. */
  readonly lines: readonly string[];
  /** One more engine; what is left out is the stage's: a model that repeats what it is told, the tools, the store. */
  start(over?: Partial<EngineWishes>): Engine;
  /** A new agent; answers its id. */
  create(engine: Engine, goal: string, config?: Partial<AgentConfig>): Promise<string>;
  say(engine: Engine, agentId: string, content: string): Promise<void>;
  log(agentId: string): Promise<readonly LoggedEvent[]>;
  events(agentId: string): Promise<readonly Event["type"][]>;
  state(agentId: string): Promise<AgentState>;
  untilStatus(agentId: string, status: string): Promise<void>;
  /** Waits until the agent rests and nobody is due or leased. */
  untilSettled(agentId: string): Promise<void>;
};

export type EngineWishes = {
  readonly name: string;
  readonly model: Model;
  readonly sandbox: Sandbox;
  readonly store: Store;
  readonly clock: ManualClock;
  readonly concurrency: number;
};

export const leaseTtlMs = 1_000;

/** Turns of the event loop after which what could happen by itself has happened. */
const turnsMax = 3_000;

/** Waits for what happens without the clock. */
export async function until(what: string, holds: () => Promise<boolean> | boolean): Promise<void> {
  for (let turns = 0; turns < turnsMax; turns++) {
    if (await holds()) return;
    await turn();
  }
  throw new Error(`this did not come about: ${what}`);
}

/** Lets everything happen that can happen by itself. */
export async function quiet(): Promise<void> {
  for (let turns = 0; turns < 40; turns++) await turn();
}

/** Says what it is told, in two pieces. */
export const echoing = (): ReturnType<typeof makePlayedModel> =>
  makePlayedModel(({ messages }) => ({ text: ["you said: ", askedOf(messages)] }));

export function openStage(
  open: (clock: ManualClock) => Store = openMemoryStore,
  clock: ManualClock = makeManualClock(),
): Stage {
  const store = open(clock);
  const lines: string[] = [];
  const log = (agentId: string): Promise<readonly LoggedEvent[]> => readAll(store, agentId);
  const state = async (agentId: string): Promise<AgentState> => fold(await log(agentId));
  const isAt = async (agentId: string, status: string): Promise<boolean> =>
    statusOf(await state(agentId)) === status;

  return {
    store,
    clock,
    lines,
    start: (over = {}) =>
      startEngine(
        {
          store: over.store ?? store,
          model: over.model ?? echoing(),
          sandbox: over.sandbox ?? makePlayedSandbox(),
          clock: over.clock ?? clock,
          log: (_level, line, fields) =>
            void lines.push(`${line} ${JSON.stringify(fields?.["code"])}`),
          settings: { concurrency: over.concurrency ?? 8, leaseTtlMs },
        },
        over.name ?? "engine",
      ),
    create: async (engine, goal, config = {}) => {
      const { type: _type, parent: _parent, ...spec } = born(config, { goal });
      return (await engine.create(spec, null)).agentId;
    },
    say: async (engine, agentId, content) => {
      await engine.command(agentId, { type: "Say", key: null, content, attachments: [] });
    },
    log,
    events: async (agentId) => (await log(agentId)).map(({ event }) => event.type),
    state,
    untilStatus: (agentId, status) => until(`it is ${status}`, () => isAt(agentId, status)),
    untilSettled: (agentId) =>
      until("it rests", async () => {
        const resting = statusOf(await state(agentId)) !== "waiting_for_step";
        return resting && (await store.nextWakeMs()) === null;
      }),
  };
}

/** Something that waits until the test lets it on. */
export type Gate = { readonly passed: Promise<void>; open(): void };

export function makeGate(): Gate {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { passed: promise, open: resolve };
}

/** What a store says that cannot be reached. */
export const unavailable = (): Promise<never> =>
  Promise.reject(new EngramError("unavailable", "the store is away", { transient: true }));

/** Leases that came by a look at the store, not with an append. */
export const counting = (store: Store): { readonly store: Store; readonly claimed: Lease[] } => {
  const claimed: Lease[] = [];
  return {
    claimed,
    store: {
      ...store,
      claim: async (...args) => {
        const leases = await store.claim(...args);
        claimed.push(...leases);
        return leases;
      },
    },
  };
};
