import type { Clock } from "../../src/clock.ts";
import type { Model } from "../../src/llm/model.ts";
import type { Sandbox } from "../../src/sandbox/sandbox.ts";
import type { Store } from "../../src/store/store.ts";

/** One incarnation of an engine: when it dies, nothing it called ever answers, and nothing it calls does anything. */
export type Life = {
  readonly isDead: () => boolean;
  readonly died: Promise<void>;
  readonly end: () => void;
  /** A place where it may die; it then never goes on from there. */
  readonly point: () => Promise<void>;
  /** Counts what it does. */
  readonly stir: () => void;
};

const never = async (): Promise<never> => new Promise(() => {});

/** A life that dies where `dies` says so; `stir` is told of everything it does. */
export function makeLife(dies: () => boolean, stir: () => void): Life {
  const { promise: died, resolve } = Promise.withResolvers<void>();
  let dead = false;
  const end = (): void => {
    dead = true;
    resolve();
  };
  return {
    isDead: () => dead,
    died,
    end,
    point: async () => {
      if (!dead && dies()) end();
      if (dead) await never();
    },
    stir,
  };
}

/** What comes back to a dead life never does; a refusal neither. */
async function alive<T>(life: Life, run: () => Promise<T>): Promise<T> {
  if (life.isDead()) return never();
  life.stir();
  try {
    return await run();
  } finally {
    if (life.isDead()) await never();
    life.stir();
  }
}

const wrapped =
  <A extends readonly unknown[], R>(life: Life, operation: (...args: A) => Promise<R>) =>
  async (...args: A): Promise<R> =>
    alive(life, () => operation(...args));

/** The operation with a place to die before it, and one behind it: done, but nobody is told. */
const deadly =
  <A extends readonly unknown[], R>(life: Life, operation: (...args: A) => Promise<R>) =>
  async (...args: A): Promise<R> => {
    await life.point();
    const result = await alive(life, () => operation(...args));
    await life.point();
    return result;
  };

export function mortalStore(store: Store, life: Life): Store {
  const reads = {
    read: wrapped(life, store.read),
    row: wrapped(life, store.row),
    list: wrapped(life, store.list),
    readStored: wrapped(life, store.readStored),
    made: wrapped(life, store.made),
    aside: wrapped(life, store.aside),
    tally: wrapped(life, store.tally),
    marks: wrapped(life, store.marks),
    snapshot: wrapped(life, store.snapshot),
    readDraft: wrapped(life, store.readDraft),
    nextWakeMs: wrapped(life, store.nextWakeMs),
    peers: wrapped(life, store.peers),
    announce: wrapped(life, store.announce),
    probe: wrapped(life, store.probe),
  };
  return {
    ...reads,
    nowMs: store.nowMs,
    stage: deadly(life, store.stage),
    unstage: deadly(life, store.unstage),
    create: deadly(life, store.create),
    append: deadly(life, store.append),
    remove: deadly(life, store.remove),
    writeDraft: deadly(life, store.writeDraft),
    claim: deadly(life, store.claim),
    renew: deadly(life, store.renew),
    release: deadly(life, store.release),
    follow: (agentId, hint) => {
      const unfollow = store.follow(agentId, () => {
        if (!life.isDead()) hint();
      });
      void life.died.then(unfollow);
      return unfollow;
    },
    followWakes: (hint) => {
      const unfollow = store.followWakes(() => {
        if (!life.isDead()) hint();
      });
      void life.died.then(unfollow);
      return unfollow;
    },
    close: async () => {},
  };
}

/** Dies before the call, before each piece, and before its end. */
export const mortalModel = (model: Model, life: Life): Model => ({
  call: async function* (request, signal) {
    await life.point();
    for await (const piece of model.call(request, signal)) {
      await life.point();
      life.stir();
      yield piece;
    }
    await life.point();
  },
  continuesPartial: deadly(life, model.continuesPartial),
  abilities: wrapped(life, model.abilities),
  bodyOf: model.bodyOf,
});

export const mortalSandbox = (sandbox: Sandbox, life: Life): Sandbox => ({
  list: wrapped(life, sandbox.list),
  run: deadly(life, sandbox.run),
  check: deadly(life, sandbox.check),
  close: async () => {},
});

export const mortalClock = (clock: Clock, life: Life): Clock => ({
  ...clock,
  after: (delayMs, fn) =>
    clock.after(delayMs, () => {
      if (!life.isDead()) fn();
    }),
});
