import { connect, createServer, type Socket } from "node:net";

/** Stands between an engine and a Redis, and spoils the way. */
export type RedisProxy = {
  readonly port: number;
  /** From now on nothing comes through, and nothing says so. */
  swallow(): void;
  /** The next command reaches Redis, its answer nobody: the connection breaks instead. */
  cutNextAnswer(): void;
  /** As at the start, for new connections; those that were swallowed stay dead. */
  heal(): void;
  /** New connections lead to another Redis from now on. */
  lead(toPort: number): void;
  close(): void;
};

export async function openProxy(redisPort: number): Promise<RedisProxy> {
  const pairs = new Set<readonly [Socket, Socket]>();
  let swallowing = false;
  let cutting = false;
  let port = redisPort;
  const server = createServer((near) => {
    const far = connect(port, "127.0.0.1");
    const dead = swallowing;
    const pair = [near, far] as const;
    pairs.add(pair);
    near.on("data", (bytes) => {
      if (!dead && !swallowing) far.write(bytes);
    });
    far.on("data", (bytes) => {
      if (cutting && !swallowing) {
        cutting = false;
        near.destroy();
      } else if (!dead && !swallowing) near.write(bytes);
    });
    for (const [one, other] of [pair, [far, near] as const])
      one
        .on("error", () => other.destroy())
        .on("close", () => {
          pairs.delete(pair);
          other.destroy();
        });
  });
  const { promise, resolve } = Promise.withResolvers<void>();
  server.listen(0, "127.0.0.1", resolve);
  await promise;
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : 0,
    swallow: () => (swallowing = true),
    cutNextAnswer: () => (cutting = true),
    lead: (toPort) => (port = toPort),
    heal: () => (swallowing = false),
    close: () => {
      server.close();
      for (const [near, far] of pairs) {
        near.destroy();
        far.destroy();
      }
    },
  };
}
