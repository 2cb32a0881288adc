import { EngramError } from "../../errors.ts";
import { cliLimits } from "../cli-limits.ts";
import { selfCommand } from "../self.ts";

/** An engine in a process of its own, from the moment at which it was started. */
export type EngineProcess = {
  readonly pid: number;
  /** The address, when it is ready. Fails with unavailable where the engine ends before or takes too long. */
  readonly ready: Promise<string>;
  /** The exit code, when it has ended, be it by itself. */
  readonly exited: Promise<number>;
  /** SIGKILL: nothing of it runs another instruction. */
  kill(): Promise<void>;
  /** SIGTERM; resolves with the exit code. */
  stop(): Promise<number>;
};

/** An engine that was ready. */
export type DemoEngine = Pick<EngineProcess, "pid" | "kill" | "stop"> & {
  readonly url: string;
  /** Since it was started, in ms. */
  readonly readyAfterMs: number;
};

type Spawning = {
  /** 0: any. */
  readonly port: number;
  /** Over those that every demo has. */
  readonly settings: Readonly<Record<string, string>>;
  /** Gets each line of its log. */
  readonly onLine: (line: string) => void;
};

/** Starts this same program as `engram serve` in a folder. */
export function spawnEngine(folder: string, { port, settings, onLine }: Spawning): EngineProcess {
  const child = Bun.spawn([...selfCommand, "serve", "--grpc-port", String(port)], {
    cwd: folder,
    // Nothing of the caller's own settings: it is the same everywhere.
    env: {
      LLM_PROVIDER: "scripted",
      LOG_FORMAT: "json",
      DB_PATH: `${folder}/data`,
      TOOLS_PATH: `${folder}/tools`,
      ...settings,
    },
    stdin: "ignore",
    stdout: "ignore",
    stderr: "pipe",
    // In a process group of its own: Ctrl-C is meant for the caller, who ends it.
    detached: true,
  });
  // Also where the caller ends before its end: by a signal, or because nobody reads it any more.
  const killWithCaller = (): void => child.kill("SIGKILL");
  process.prependListener("exit", killWithCaller);
  const exited = child.exited.finally(() => process.off("exit", killWithCaller));
  const ready = readyUrl(child.stderr, onLine);
  // It fails long after anyone asked where the engine is killed at its start.
  ready.catch(() => {});
  return {
    pid: child.pid,
    ready,
    exited,
    kill: async () => {
      child.kill("SIGKILL");
      await exited;
    },
    stop: () => {
      child.kill("SIGTERM");
      return exited;
    },
  };
}

/** Starts an engine and resolves when it is ready. */
export async function startEngineProcess(folder: string, port: number): Promise<DemoEngine> {
  const startedMs = performance.now();
  const { pid, ready, kill, stop } = spawnEngine(folder, { port, settings: {}, onLine: () => {} });
  try {
    const url = await ready;
    return { pid, url, readyAfterMs: performance.now() - startedMs, kill, stop };
  } catch (error) {
    await kill();
    throw error;
  }
}

/** The address in the line that an engine logs when it is ready. What it logs later is read on, so that no full pipe blocks it. */
function readyUrl(
  stderr: ReadableStream<Uint8Array>,
  onLine: (line: string) => void,
): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const read = async (): Promise<void> => {
    const decoder = new TextDecoder();
    let rest = "";
    let newest = "";
    for await (const chunk of stderr) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        newest = line;
        onLine(line);
        const url = /"engram is ready","url":"([^"]+)"/.exec(line)?.[1];
        if (url !== undefined) resolve(url);
      }
    }
    reject(new EngramError("unavailable", `the engine did not start: ${newest}${rest}`));
  };
  read().catch(reject);
  return withTimeout(promise, reject);
}

async function withTimeout<T>(promise: Promise<T>, reject: (error: Error) => void): Promise<T> {
  const timer = setTimeout(
    () => reject(new EngramError("unavailable", "the engine did not start in time")),
    cliLimits.engineStartMs,
  );
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
  }
}
