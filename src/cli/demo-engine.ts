import { EngramError } from "../errors.ts";
import { cliLimits } from "../limits.ts";
import { selfCommand } from "./self.ts";

/** An engine in a process of its own. */
export type DemoEngine = {
  readonly pid: number;
  readonly url: string;
  /** Since it was started, in ms. */
  readonly readyAfterMs: number;
  /** SIGKILL: nothing of it runs another instruction. */
  kill(): Promise<void>;
  /** SIGTERM; resolves with the exit code. */
  stop(): Promise<number>;
};

/** Starts this same program as `engram serve` in a folder, on a port (0: any), and resolves when it is ready. */
export async function startEngineProcess(folder: string, port: number): Promise<DemoEngine> {
  const startedMs = performance.now();
  const child = Bun.spawn([...selfCommand, "serve", "--grpc-port", String(port)], {
    cwd: folder,
    // Nothing of the caller's own settings: the demo is the same everywhere.
    env: {
      LLM_PROVIDER: "scripted",
      LOG_FORMAT: "json",
      DB_PATH: `${folder}/data`,
      TOOLS_PATH: `${folder}/tools`,
    },
    stdin: "ignore",
    stdout: "ignore",
    stderr: "pipe",
  });
  // Also where the demo ends before its end: by a signal, or because nobody reads it any more.
  const killWithDemo = (): void => child.kill("SIGKILL");
  process.prependListener("exit", killWithDemo);
  const stop = async (signal: "SIGKILL" | "SIGTERM"): Promise<number> => {
    child.kill(signal);
    const exitCode = await child.exited;
    process.off("exit", killWithDemo);
    return exitCode;
  };
  try {
    const url = await readyUrl(child.stderr);
    return {
      pid: child.pid,
      url,
      readyAfterMs: performance.now() - startedMs,
      kill: async () => {
        await stop("SIGKILL");
      },
      stop: () => stop("SIGTERM"),
    };
  } catch (error) {
    await stop("SIGKILL");
    throw error;
  }
}

/** The address in the line that an engine logs when it is ready. What it logs later is read on and dropped, so that no full pipe blocks it. */
function readyUrl(stderr: ReadableStream<Uint8Array>): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const read = async (): Promise<void> => {
    const decoder = new TextDecoder();
    let seen = "";
    let ready = false;
    for await (const chunk of stderr) {
      if (ready) continue;
      seen += decoder.decode(chunk, { stream: true });
      const url = /"engram is ready","url":"([^"]+)"/.exec(seen)?.[1];
      ready = url !== undefined;
      if (url !== undefined) resolve(url);
    }
    reject(new EngramError("unavailable", `the engine did not start: ${seen.trim()}`));
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
