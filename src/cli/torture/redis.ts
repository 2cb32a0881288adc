import { mkdirSync } from "node:fs";
import { createClient } from "redis";
import { EngramError } from "../../errors.ts";
import { listOf, textOf } from "../../store/redis/values.ts";
import { makeShards } from "../../store/redis/shards.ts";
import { fleetLimits } from "./torture-limits.ts";

/** The process id of the engine that drives an agent, 0: none does; and how long its lease still lasts. */
export type Driver = { readonly pid: number; readonly leaseMs: number };

/** A redis-server of the torture's own, which keeps what it was told in a folder. */
export type RedisServer = {
  readonly url: string;
  /** Starts it, also once more on what it kept; resolves when it has loaded that. */
  begin(): Promise<void>;
  /** kill -9. */
  kill(): Promise<void>;
  freeze(): void;
  thaw(): void;
  /** Of each agent who has it and for how long. */
  drivers(agentIds: readonly string[]): Promise<readonly Driver[]>;
  /** Agents that are due, be it later, or driven. */
  due(): Promise<readonly string[]>;
};

/** What the names of the engines' keys begin with. */
export const keyPrefix = "torture:";

/**
 * With `appendfsync always`: under `everysec` Redis answers before it has written as long as its disk is busy, and so
 * does not promise that what it answered survives its own death.
 */
const options = "--bind 127.0.0.1 --appendonly yes --appendfsync always".split(" ");

/** A server that was never started yet. */
export function makeRedisServer(
  program: string,
  folder: string,
  report: (rule: string, detail: string) => void,
): RedisServer {
  mkdirSync(folder, { recursive: true });
  const port = freePort();
  const url = `redis://127.0.0.1:${port}`;
  let child: ReturnType<typeof spawn> | null = null;
  let isEnding = false;

  const watch = async ({ exited }: { readonly exited: Promise<number> }): Promise<void> => {
    const exitCode = await exited;
    if (!isEnding) report("redis-server ended", `by itself, with exit code ${exitCode}`);
  };
  const begin = async (): Promise<void> => {
    const started = spawn([
      program,
      "--port",
      `${port}`,
      "--dir",
      folder,
      "--save",
      "",
      ...options,
    ]);
    child = started;
    isEnding = false;
    void watch(started);
    await ready(started.stdout);
  };
  return {
    url,
    begin,
    kill: async () => {
      isEnding = true;
      child?.kill("SIGKILL");
      await child?.exited;
    },
    freeze: () => child?.kill("SIGSTOP"),
    thaw: () => child?.kill("SIGCONT"),
    ...looks(url),
  };
}

/** Looks into what the engines keep there, each on a connection of its own: Redis may have gone since the last. */
function looks(url: string): Pick<RedisServer, "drivers" | "due"> {
  const shards = makeShards(keyPrefix);
  const asked = async <T>(ask: (client: ReturnType<typeof clientOf>) => Promise<T>): Promise<T> => {
    const client = clientOf(url);
    client.on("error", () => {});
    try {
      await client.connect();
      return await ask(client);
    } finally {
      client.destroy();
    }
  };
  return {
    drivers: (agentIds) =>
      asked(async (client) => {
        const holders = agentIds.map((agentId) =>
          client.sendCommand<unknown>([
            "HMGET",
            shards.of(agentId).agent(agentId),
            "worker",
            "lease",
          ]),
        );
        return (await Promise.all(holders)).map(driverOf);
      }),
    due: () =>
      asked(async (client) => {
        const found = shards.all.map((shard) =>
          client.sendCommand<unknown>(["ZRANGE", shard.wake, "0", "-1"]),
        );
        return (await Promise.all(found)).flatMap((it) => listOf(it).map(textOf));
      }),
  };
}

/** A worker is called by its process id and something that no other has; leases are in the time of Redis, which is this machine's. */
function driverOf(reply: unknown): Driver {
  const [worker = "", lease = ""] = listOf(reply).map((it) => textOf(it ?? ""));
  return { pid: Number.parseInt(worker, 10) || 0, leaseMs: Number(lease) - Date.now() };
}

const clientOf = (url: string) =>
  createClient({ url, RESP: 2, disableOfflineQueue: true, socket: { reconnectStrategy: false } });

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

/** A port that was free a moment ago. */
function freePort(): number {
  const nobody = { socket: { data: () => {} }, hostname: "127.0.0.1", port: 0 };
  const listener = Bun.listen(nobody);
  listener.stop(true);
  return listener.port;
}
