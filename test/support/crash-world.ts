import type { Command } from "../../src/agent/accept.ts";
import type { AgentSpec, LoggedEvent } from "../../src/agent/event.ts";
import { fold } from "../../src/agent/fold.ts";
import type { AgentState } from "../../src/agent/state.ts";
import { isResting, statusOf } from "../../src/agent/state.ts";
import type { Clock } from "../../src/clock.ts";
import { type Engine, startEngine } from "../../src/engine/engine.ts";
import type { Model } from "../../src/llm/model.ts";
import type { Sandbox } from "../../src/sandbox/sandbox.ts";
import type { Draft, Store } from "../../src/store/store.ts";
import { makeManualClock, type ManualClock } from "./manual-clock.ts";
import {
  type Life,
  makeLife,
  mortalClock,
  mortalModel,
  mortalSandbox,
  mortalStore,
} from "./mortal.ts";
import { turn } from "./played-model.ts";
import { type Fixture, readAll } from "./stores.ts";
import { makeWatcher, type Watcher } from "./watcher.ts";

/** What an agent has come to. */
export type Ending = {
  readonly log: readonly LoggedEvent[];
  readonly state: AgentState;
  readonly draft: Draft | null;
};

/** A client that sends each command until it is answered, and the engine it talks to, raised after each crash. */
export type CrashWorld = {
  create(spec: AgentSpec): Promise<string>;
  fork(agentId: string, atSequence: number): Promise<string>;
  /** `key` null in the command; each gets an id of its own. */
  send(agentId: string, command: Unkeyed): Promise<void>;
  /** Waits, moving the clock whenever nothing else happens. Fails where nothing leads there. */
  until(what: string, holds: () => Promise<boolean> | boolean): Promise<void>;
  untilStatus(agentId: string, status: string): Promise<void>;
  /** Waits until the agent rests and nobody holds it. */
  untilSettled(agentId: string): Promise<void>;
  ending(agentId: string): Promise<Ending>;
  watcher(agentId: string): Watcher;
  /** What the engine takes for the agent's state, where that differs from what its log folds to. */
  delusion(agentId: string): Promise<AgentState | null>;
  /** Nothing dies meanwhile, and no point is counted. */
  safely<T>(run: () => Promise<T>): Promise<T>;
  /** Repetitions that were not answered as the first time. Each engine is asked for all that was answered before it. */
  faults(): readonly string[];
  /** How often an agent was loaded from a snapshot. */
  snapshotsUsed(): number;
  /** The engine dies now; another is raised when something is next asked or waited for. */
  crash(): void;
  crashes(): number;
  /** Places so far at which an engine could have died. */
  points(): number;
  end(): Promise<void>;
};

export type Unkeyed = Command extends infer C
  ? C extends Command
    ? Omit<C, "key">
    : never
  : never;

export type WorldParts = {
  readonly fixture: (clock: Clock) => Fixture;
  readonly clock?: ManualClock;
  readonly model: Model;
  readonly sandbox: Sandbox;
  /** The numbers of the points at which the engine dies. */
  readonly crashAt: ReadonlySet<number>;
};

const leaseTtlMs = 1_000;
/** Time is moved by this where nothing else happens; so often, and the agent is stuck. */
const tickMs = 100;
const ticksMax = 1_200;
/** Turns of the event loop without a call of any part after which nothing more will happen by itself. */
const quietTurns = 12;
/** An engine that has called its parts this often goes round in circles; its calls fail from here on. */
const stirsMax = 20_000;

export function openCrashWorld(wishes: WorldParts): CrashWorld {
  const { model, sandbox, crashAt, clock = makeManualClock() } = wishes;
  const fixture = wishes.fixture(clock);
  const watchers = new Map<string, Watcher>();
  let store: Store = fixture.open();
  let points = 0;
  let crashes = 0;
  let keys = 0;
  let stirred = 0;
  let safe = false;
  let snapshotsUsed = 0;
  const faults: string[] = [];
  /** What clients were answered, to be asked for again. */
  const answered: { readonly ask: (engine: Engine) => Promise<string>; readonly answer: string }[] =
    [];
  const isCircling = (): boolean => stirred > stirsMax;

  const raise = (): { readonly life: Life; readonly engine: Engine } => {
    const life = makeLife(
      () => !safe && crashAt.has(points++),
      () => {
        stirred++;
        if (isCircling()) throw new Error("the engine goes round in circles");
      },
    );
    const parts = {
      store: mortalStore(counted(store), life),
      model: mortalModel(model, life),
      sandbox: mortalSandbox(sandbox, life),
      clock: mortalClock(clock, life),
      log: () => {},
      settings: { concurrency: 2, leaseTtlMs },
    };
    return { life, engine: startEngine(parts, `engine-${crashes}`) };
  };
  const counted = (inner: Store): Store => ({
    ...inner,
    snapshot: async (agentId) => {
      const state = await inner.snapshot(agentId);
      if (state !== null) snapshotsUsed++;
      return state;
    },
  });
  let { life, engine } = raise();
  const watch = (agentId: string): void => {
    const watcher = watchers.get(agentId) ?? makeWatcher();
    watchers.set(agentId, watcher);
    void watcher.watch(engine, agentId);
  };
  const rise = async (): Promise<void> => {
    crashes++;
    await store.close();
    store = fixture.open();
    clock.advance(leaseTtlMs + 1);
    ({ life, engine } = raise());
    for (const agentId of watchers.keys()) watch(agentId);
    await repeat();
  };
  const repeat = async (): Promise<void> => {
    for (const { ask, answer } of answered) {
      const second = await Promise.race([ask(engine), life.died]);
      if (second !== undefined && second !== answer)
        faults.push(`${answer} was ${second} when it was asked for again`);
    }
  };
  /** Asks until there is an answer; a refusal is the test's fault. */
  const again = async <T>(ask: (engine: Engine) => Promise<T>): Promise<T> => {
    for (;;) {
      const answer = await Promise.race([ask(engine).then((value) => ({ value })), life.died]);
      if (answer !== undefined) return answer.value;
      await rise();
    }
  };
  /** What is asked for under an id. */
  const once = async (ask: (engine: Engine) => Promise<string>): Promise<string> => {
    const answer = await again(ask);
    answered.push({ ask, answer });
    return answer;
  };
  const until = async (what: string, holds: () => Promise<boolean> | boolean): Promise<void> => {
    for (let quiet = 0, ticks = 0; !isCircling();) {
      if (life.isDead()) await rise();
      if (await holds()) return;
      const before = stirred;
      await turn();
      quiet = stirred === before ? quiet + 1 : 0;
      if (quiet < quietTurns) continue;
      quiet = 0;
      if (++ticks > ticksMax) throw new Error(`stuck: ${what}`);
      clock.advance(tickMs);
    }
    throw new Error(`busy for ever: ${what}`);
  };
  const ending = async (agentId: string): Promise<Ending> => {
    const log = await readAll(store, agentId);
    return { log, state: fold(log), draft: await store.readDraft(agentId, 0) };
  };
  const untilStatus = (agentId: string, status: string): Promise<void> =>
    until(
      `${agentId} is ${status}`,
      async () => statusOf((await ending(agentId)).state) === status,
    );

  return {
    create: async (spec) => {
      const request = { requestId: `request-${keys++}`, digest: "" };
      const agentId = await once(async (it) => (await it.create(spec, request)).agentId);
      watch(agentId);
      return agentId;
    },
    fork: async (parentId, atSequence) => {
      const request = { requestId: `request-${keys++}`, digest: "" };
      const given = { metadata: {}, request };
      const agentId = await once(
        async (it) => (await it.fork(parentId, atSequence, given)).agentId,
      );
      watch(agentId);
      return agentId;
    },
    send: async (agentId, command) => {
      const key = { messageId: `message-${keys++}`, digest: "" };
      await once(async (it) => {
        const { sequence } = await it.command(agentId, { ...command, key });
        return `${command.type} of ${agentId} at ${sequence}`;
      });
    },
    until,
    untilStatus,
    untilSettled: (agentId) =>
      until(`${agentId} rests`, async () => {
        const { state } = await ending(agentId);
        return (
          isResting(statusOf(state)) &&
          (await store.nextWakeMs()) === null &&
          watchers.get(agentId)?.seen.length === state.sequence
        );
      }),
    ending,
    watcher: (agentId) => watchers.get(agentId) ?? makeWatcher(),
    delusion: async (agentId) => {
      const { state } = await ending(agentId);
      const known = await again((it) => it.stateAt(agentId, state.sequence));
      return Bun.deepEquals(known, state) ? null : known;
    },
    safely: async (run) => {
      safe = true;
      return run().finally(() => (safe = false));
    },
    faults: () => faults,
    snapshotsUsed: () => snapshotsUsed,
    crash: () => life.end(),
    crashes: () => crashes,
    points: () => points,
    end: async () => {
      life.end();
      await store.close();
      fixture.drop();
    },
  };
}
