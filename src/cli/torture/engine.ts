import { tortureLimits } from "../../limits.ts";
import { type EngineProcess, spawnEngine } from "../demo-engine.ts";
import type { Random } from "./random.ts";

/** One engine from being ready to its end. */
export type Life = {
  readonly number: number;
  readonly url: string;
  /** Resolves when it is being ended. */
  readonly over: Promise<void>;
};

export type LivesCounts = {
  starts: number;
  kills: number;
  /** Of these, before the engine was ready. */
  killsAtStart: number;
  stops: number;
  /** From being started to being ready, in ms. */
  readonly readyMs: number[];
};

/** An engine that is killed and started again on the same data folder. */
export type Lives = {
  /** The engine that is there; waits while there is none. */
  now(): Promise<Life>;
  /** Starts engines until one is ready; some are killed before. */
  begin(): Promise<void>;
  /** Ends the engine that is there: by kill -9, now and then by SIGTERM. */
  end(): Promise<void>;
  /** SIGTERM, at the very end. */
  stop(): Promise<void>;
  /** Leaves nothing running, whatever it is doing. */
  abandon(): Promise<void>;
  readonly counts: LivesCounts;
};

type LivesParts = {
  readonly folder: string;
  readonly settings: Readonly<Record<string, string>>;
  readonly random: Random;
  readonly report: (rule: string, detail: string) => void;
};

const shares = { killedAtStart: 0.12, stopped: 0.1, killedWhileStopping: 0.3 } as const;

/** An engine that was never started yet. */
export function makeLives(parts: LivesParts): Lives {
  const { random } = parts;
  const counts: LivesCounts = { starts: 0, kills: 0, killsAtStart: 0, stops: 0, readyMs: [] };
  const runner = makeRunner(parts, counts);
  let life = Promise.withResolvers<Life>();
  let over = Promise.withResolvers<void>();

  /** Nobody is given the engine any more. */
  const announceEnd = (): void => {
    life = Promise.withResolvers<Life>();
    over.resolve();
    over = Promise.withResolvers<void>();
  };
  return {
    counts,
    now: () => life.promise,
    begin: async () => {
      while (random.chance(shares.killedAtStart)) {
        const { ready } = runner.spawn();
        const usualMs = counts.readyMs.at(-1) ?? 100;
        await Promise.race([Bun.sleep(random.next() * usualMs), ready]);
        counts.killsAtStart++;
        await runner.kill();
      }
      const startedMs = performance.now();
      const url = await runner.spawn().ready;
      counts.readyMs.push(performance.now() - startedMs);
      life.resolve({ number: counts.starts, url, over: over.promise });
    },
    end: async () => {
      announceEnd();
      if (!random.chance(shares.stopped)) return runner.kill();
      const stopping = runner.stop();
      if (!random.chance(shares.killedWhileStopping)) return stopping;
      await Promise.race([Bun.sleep(random.between(0, 50)), stopping]);
      return runner.kill();
    },
    stop: async () => {
      announceEnd();
      await runner.stop();
    },
    abandon: runner.abandon,
  };
}

/** The processes, one after the other. */
function makeRunner({ folder, settings, report }: LivesParts, counts: LivesCounts) {
  let engine: EngineProcess | null = null;
  let isEnding = false;
  let isKilled = false;

  const onLine = (line: string): void => {
    if (line.includes('"level":"error"')) report("error in the engine's log", line.slice(0, 2_000));
  };
  const watch = async ({ exited }: EngineProcess): Promise<void> => {
    const exitCode = await exited;
    if (!isEnding) report("engine ended", `by itself, with exit code ${exitCode}`);
  };
  const end = async (): Promise<void> => {
    isEnding = true;
    isKilled = true;
    await engine?.kill();
  };
  return {
    spawn: (): EngineProcess => {
      counts.starts++;
      isEnding = false;
      isKilled = false;
      engine = spawnEngine(folder, { port: 0, settings, onLine });
      void watch(engine);
      return engine;
    },
    kill: (): Promise<void> => {
      counts.kills++;
      return end();
    },
    stop: async (): Promise<void> => {
      isEnding = true;
      counts.stops++;
      const startedMs = performance.now();
      const exitCode = await engine?.stop();
      const tookMs = Math.round(performance.now() - startedMs);
      if (!isKilled && (exitCode !== 0 || tookMs > tortureLimits.stopMs))
        report("bad stop", `SIGTERM ended the engine after ${tookMs} ms, exit code ${exitCode}`);
    },
    /** Without a count: nothing comes after it. */
    abandon: end,
  };
}
