import { mkdirSync } from "node:fs";
import { createClient } from "redis";
import { EngramError } from "../../errors.ts";
import { fleetLimits } from "./torture-limits.ts";

/** A redis-server of the torture's own, which keeps what it was told in a folder. */
export type RedisProcess = {
  readonly port: number;
  readonly url: string;
  /** Starts it, also once more on what it kept; resolves when it has loaded that. */
  begin(): Promise<void>;
  /** kill -9. */
  kill(): Promise<void>;
  freeze(): void;
  thaw(): void;
};

type ProcessParts = {
  /** As it is called. */
  readonly program: string;
  readonly folder: string;
  readonly options: readonly string[];
  readonly report: (rule: string, detail: string) => void;
};

/**
 * With `appendfsync always`: under `everysec` Redis answers before it has written as long as its disk is busy, and so
 * does not promise that what it answered survives its own death.
 */
const syncing = "--bind 127.0.0.1 --appendonly yes --appendfsync always".split(" ");

/** A server that was never started yet. */
export function makeRedisProcess({ program, folder, options, report }: ProcessParts): RedisProcess {
  mkdirSync(folder, { recursive: true });
  const port = freePort();
  const where = ["--port", `${port}`, "--dir", folder, "--save", ""];
  let child: ReturnType<typeof spawn> | null = null;
  let isEnding = false;

  const watch = async ({ exited }: { readonly exited: Promise<number> }): Promise<void> => {
    const exitCode = await exited;
    if (!isEnding) report("redis-server ended", `by itself, with exit code ${exitCode}`);
  };
  return {
    port,
    url: `redis://127.0.0.1:${port}`,
    begin: async () => {
      const started = spawn([program, ...where, ...syncing, ...options]);
      child = started;
      isEnding = false;
      void watch(started);
      await ready(started.stdout);
    },
    kill: async () => {
      isEnding = true;
      child?.kill("SIGKILL");
      await child?.exited;
    },
    freeze: () => child?.kill("SIGSTOP"),
    thaw: () => child?.kill("SIGCONT"),
  };
}

/** A connection for one question or some: the server may have gone since the last. */
export type Asking = {
  ask(...command: readonly [string, ...string[]]): Promise<unknown>;
  end(): void;
};

/** Fails where the server does not answer at once. */
export async function askingAt(url: string): Promise<Asking> {
  const client = createClient({
    url,
    RESP: 2,
    disableOfflineQueue: true,
    socket: { reconnectStrategy: false, connectTimeout: fleetLimits.answerMs },
    commandOptions: { timeout: fleetLimits.answerMs },
  });
  client.on("error", () => {});
  try {
    await client.connect();
  } catch (error) {
    client.destroy();
    throw error;
  }
  return {
    ask: (...command) => client.sendCommand<unknown>([...command]),
    end: () => client.destroy(),
  };
}

function spawn(command: string[]) {
  // In a process group of its own, as the engines are.
  const child = Bun.spawn(command, {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "ignore",
    detached: true,
  });
  const killWithCaller = (): void => child.kill("SIGKILL");
  process.prependListener("exit", killWithCaller);
  void child.exited.finally(() => process.off("exit", killWithCaller));
  return child;
}

/** Resolves when it serves; what it says later is read on, so that no full pipe blocks it. */
function ready(stdout: ReadableStream<Uint8Array>): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const read = async (): Promise<void> => {
    const decoder = new TextDecoder();
    let said = "";
    for await (const chunk of stdout) {
      said = (said + decoder.decode(chunk, { stream: true })).slice(-10_000);
      if (said.includes("Ready to accept connections")) resolve();
    }
    reject(new EngramError("unavailable", `redis-server did not start: ${said.slice(-2_000)}`));
  };
  read().catch(reject);
  const late = new EngramError("unavailable", "redis-server did not start in time");
  const timer = setTimeout(() => reject(late), fleetLimits.redisStartMs);
  return promise.finally(() => clearTimeout(timer));
}

/** A port that was free a moment ago, and so is the one that a Cluster's servers take beside it. */
function freePort(): number {
  for (;;) {
    const port = portTaken();
    if (port + busPortAbove < 2 ** 16) return port;
  }
}

/** The Cluster's bus is so far above a server's own port. */
const busPortAbove = 10_000;

function portTaken(): number {
  const nobody = { socket: { data: () => {} }, hostname: "127.0.0.1", port: 0 };
  const listener = Bun.listen(nobody);
  listener.stop(true);
  return listener.port;
}
