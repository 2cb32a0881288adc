import { type EngineProcess, spawnEngine } from "../demo/engine.ts";
import type { Random } from "./random.ts";
import { number, type Row, times } from "./rows.ts";
import type { Life } from "./world.ts";
import { tortureLimits } from "./torture-limits.ts";

export type LivesCounts = {
  starts: number;
  kills: number;
  /** Of these, before the engine was ready. */
  killsAtStart: number;
  stops: number;
  /** From being started to being ready, in ms. */
  readonly readyMs: number[];
};

/** What was done to engines. */
export const livesRows = (lives: LivesCounts): readonly Row[] => [
  [
    "kills",
    `${number(lives.kills)}, ${number(lives.killsAtStart)} of them before the engine was ready`,
  ],
  ["stops by SIGTERM", number(lives.stops)],
  ["starts", number(lives.starts)],
  ["start to ready", times(lives.readyMs)],
];

/** Nothing was started yet. */
export const noCounts = (): LivesCounts => ({
  starts: 0,
  kills: 0,
  killsAtStart: 0,
  stops: 0,
  readyMs: [],
});

/** An engine that is ended and started again, one process after the other. */
export type Lives = {
  /** The engine that is there; waits while there is none. */
  now(): Promise<Life>;
  /** The engine that is there; null: none. */
  current(): Life | null;
  /** Of the newest process, be it dead; 0: there was none. */
  pid(): number;
  /** Starts engines until one is ready; some are killed before. */
  begin(): Promise<void>;
  /** kill -9. */
  kill(): Promise<void>;
  /** SIGTERM; now and then it is killed while it stops. */
  terminate(): Promise<void>;
  /** SIGTERM, at the very end. */
  stop(): Promise<void>;
  /** Halts it where it is. Its clients are told nothing. */
  freeze(): void;
  thaw(): void;
  /** Leaves nothing running, whatever it is doing. */
  abandon(): Promise<void>;
};

export type LivesParts = {
  /** What the engine is called. */
  readonly name: string;
  readonly folder: string;
  readonly settings: Readonly<Record<string, string>>;
  readonly random: Random;
  readonly counts: LivesCounts;
  readonly report: (rule: string, detail: string) => void;
  /** Gets each line of its log. */
  readonly onLine: (line: string) => void;
};

const shares = { killedAtStart: 0.12, killedWhileStopping: 0.3 } as const;

/** An engine that was never started yet. */
export function makeLives(parts: LivesParts): Lives {
  const { random, counts, name } = parts;
  const runner = makeRunner(parts);
  let life = Promise.withResolvers<Life>();
  let current: Life | null = null;
  let over = Promise.withResolvers<void>();
  let count = 0;

  /** Nobody is given the engine any more. */
  const announceEnd = (): void => {
    current = null;
    life = Promise.withResolvers<Life>();
    over.resolve();
    over = Promise.withResolvers<void>();
  };
  return {
    now: () => life.promise,
    current: () => current,
    pid: runner.pid,
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
      current = { name: `${name}, life ${++count}`, url, over: over.promise };
      life.resolve(current);
    },
    kill: async () => {
      announceEnd();
      await runner.kill();
    },
    terminate: async () => {
      announceEnd();
      const stopping = runner.stop();
      if (!random.chance(shares.killedWhileStopping)) return stopping;
      await Promise.race([Bun.sleep(random.between(0, 50)), stopping]);
      return runner.kill();
    },
    stop: async () => {
      announceEnd();
      await runner.stop();
    },
    freeze: () => runner.signal("SIGSTOP"),
    thaw: () => runner.signal("SIGCONT"),
    abandon: runner.abandon,
  };
}

/** The processes, one after the other. */
function makeRunner({ name, folder, settings, counts, report, onLine }: LivesParts) {
  let engine: EngineProcess | null = null;
  let isEnding = false;
  let isKilled = false;

  const onEachLine = (line: string): void => {
    onLine(line);
    if (line.includes('"level":"error"'))
      report("error in the engine's log", `${name}: ${line.slice(0, 2_000)}`);
  };
  const watch = async ({ exited }: EngineProcess): Promise<void> => {
    const exitCode = await exited;
    if (!isEnding) report("engine ended", `${name}, by itself, with exit code ${exitCode}`);
  };
  const end = async (): Promise<void> => {
    isEnding = true;
    isKilled = true;
    await engine?.kill();
  };
  return {
    pid: (): number => engine?.pid ?? 0,
    spawn: (): EngineProcess => {
      counts.starts++;
      isEnding = false;
      isKilled = false;
      engine = spawnEngine(folder, { port: 0, settings, onLine: onEachLine });
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
        report("bad stop", `SIGTERM ended ${name} after ${tookMs} ms, exit code ${exitCode}`);
    },
    signal: (signal: "SIGSTOP" | "SIGCONT"): void => {
      if (engine !== null && !isEnding) process.kill(engine.pid, signal);
    },
    /** Without a count: nothing comes after it. */
    abandon: end,
  };
}
