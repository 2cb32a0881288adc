import { makeShards, type Shard } from "../../store/redis/shards.ts";
import { listOf, textOf } from "../../store/redis/values.ts";
import { type Asking, askingAt } from "./redis-process.ts";

/** What the names of the engines' keys begin with. */
export const keyPrefix = "torture:";

/** The process id of the engine that drives an agent, 0: none does; and how long its lease still lasts. */
export type Driver = { readonly pid: number; readonly leaseMs: number };

/** Looks into what the engines keep in Redis. They fail where one of its servers is away. */
export type Looks = {
  /** Of each agent who has it and for how long. */
  drivers(agentIds: readonly string[]): Promise<readonly Driver[]>;
  /** Agents that are due, be it later, or driven. */
  due(): Promise<readonly string[]>;
};

/** `owners`: gives what tells a shard's server. */
export function makeLooks(owners: () => Promise<(shard: Shard) => string>): Looks {
  const shards = makeShards(keyPrefix);
  const looked = async <T>(
    look: (at: (shard: Shard) => Promise<Asking>) => Promise<T>,
  ): Promise<T> => {
    const urlOf = await owners();
    const connections = new Map<string, Promise<Asking>>();
    const at = (shard: Shard): Promise<Asking> => {
      const url = urlOf(shard);
      const connection = connections.get(url) ?? askingAt(url);
      connections.set(url, connection);
      return connection;
    };
    try {
      return await look(at);
    } finally {
      for (const made of await Promise.allSettled(connections.values()))
        if (made.status === "fulfilled") made.value.end();
    }
  };
  return {
    drivers: (agentIds) =>
      looked((at) =>
        Promise.all(
          agentIds.map(async (agentId) => {
            const shard = shards.of(agentId);
            const { ask } = await at(shard);
            return driverOf(await ask("HMGET", shard.agent(agentId), "worker", "lease"));
          }),
        ),
      ),
    due: () =>
      looked(async (at) => {
        const found = shards.all.map(async (shard) => {
          const { ask } = await at(shard);
          return listOf(await ask("ZRANGE", shard.wake, "0", "-1")).map(textOf);
        });
        return (await Promise.all(found)).flat();
      }),
  };
}

/** A worker is called by its process id and something that no other has; leases are in the time of Redis, which is this machine's. */
function driverOf(reply: unknown): Driver {
  const [worker = "", lease = ""] = listOf(reply).map((it) => textOf(it ?? ""));
  return { pid: Number.parseInt(worker, 10) || 0, leaseMs: Number(lease) - Date.now() };
}
