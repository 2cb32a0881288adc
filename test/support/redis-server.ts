import { mkdtempSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A redis-server of the tests' own, in a folder of its own. */
export type RedisServer = {
  readonly port: number;
  /** `kill -9`; what it wrote stays. */
  kill(): Promise<void>;
  /** Ends it for good; a test that forgets to is helped when its process ends. */
  stop(): Promise<void>;
  /** SIGSTOP, SIGCONT. */
  signal(name: "SIGSTOP" | "SIGCONT"): void;
  /** Starts it again on the same port and folder. */
  start(): Promise<void>;
  /** redis-cli with these arguments: what it prints. */
  cli(...args: readonly string[]): string;
};

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer();
  const { promise, resolve } = Promise.withResolvers<void>();
  server.listen(0, "127.0.0.1", resolve);
  await promise;
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const closed = Promise.withResolvers<void>();
  server.close(() => closed.resolve());
  await closed.promise;
  // A Cluster's servers take port + 10000 too.
  return port < 55_000 ? port : freePort();
}

/** For a server that is killed: by default Redis answers before it has written, while its disk is busy. */
export const syncing = ["--appendfsync", "always"];

export async function startRedis(...options: readonly string[]): Promise<RedisServer> {
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), "engram-redis-"));
  // Ends the server and removes its folder when this process is gone, however that came.
  const keeper = Bun.spawn(
    ["sh", "-c", 'read _; kill -9 "$(cat "$0/pid")"; sleep 0.1; rm -rf "$0"', folder],
    { stdin: "pipe", stdout: "ignore", stderr: "ignore" },
  );
  const spawn = () =>
    Bun.spawn(
      [
        "redis-server",
        ...`--port ${port} --bind 127.0.0.1 --dir ${folder} --pidfile ${folder}/pid`.split(" "),
        "--appendonly",
        "yes",
        "--save",
        "",
        "--repl-diskless-sync-delay",
        "0",
        ...options,
      ],
      { stdin: "ignore", stdout: "pipe", stderr: "inherit" },
    );
  let child = spawn();
  const ready = async (): Promise<void> => {
    const decoder = new TextDecoder();
    let said = "";
    for await (const chunk of child.stdout) {
      said += decoder.decode(chunk, { stream: true });
      if (said.includes("Ready to accept connections")) return;
    }
    throw new Error(`redis-server did not start: ${said}`);
  };
  await ready();
  return {
    port,
    kill: async () => {
      child.kill("SIGKILL");
      await child.exited;
    },
    stop: async () => {
      await keeper.stdin.end();
      await keeper.exited;
    },
    signal: (name) => child.kill(name),
    start: async () => {
      child = spawn();
      await ready();
    },
    cli: (...args) => {
      const { stdout, stderr, exitCode } = Bun.spawnSync(["redis-cli", "-p", `${port}`, ...args]);
      if (exitCode !== 0) throw new Error(stderr.toString());
      return stdout.toString().trim();
    },
  };
}

/** Three masters with all slots between them, each with so many replicas. */
export async function startCluster(
  replicas = 0,
  ...more: readonly string[]
): Promise<readonly RedisServer[]> {
  const count = 3 * (1 + replicas);
  const options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000", ...more];
  const servers = await Promise.all(Array.from({ length: count }, () => startRedis(...options)));
  const hosts = servers.map(({ port }) => `127.0.0.1:${port}`);
  const shape = ["--cluster-replicas", `${replicas}`, "--cluster-yes"];
  servers[0]?.cli("--cluster", "create", ...hosts, ...shape);
  for (const server of servers)
    while (!server.cli("cluster", "info").includes("cluster_state:ok")) await Bun.sleep(20);
  return servers;
}

/** What engines may share: each starts servers of its own. */
export const deployments: readonly {
  readonly name: string;
  readonly start: () => Promise<readonly RedisServer[]>;
}[] = [
  { name: "one Redis", start: async () => [await startRedis()] },
  { name: "a Redis Cluster", start: () => startCluster() },
];
