import { EngramError, messageOf } from "../../errors.ts";
import { redisLimits } from "../../limits.ts";
import type { RedisAddress } from "./address.ts";
import { replyCode } from "./faults.ts";
import type { Fleet } from "./fleet.ts";
import type { Command, Connection } from "./line.ts";
import type { Shard } from "./shards.ts";
import { numberOf } from "./values.ts";

/** Commands to the servers that have the shards. They fail as a connection does. */
export interface Servers {
  /** Sends a command on keys of one shard. */
  send(shard: Shard, command: Command): Promise<unknown>;
  /** Sends what writes: it is answered when as many replicas as wished for have it. */
  write(shard: Shard, command: Command): Promise<unknown>;
}

type Routed = { readonly reply: unknown; readonly connection: Connection };

/** `replicas`: how many have to confirm a write. */
export function makeServers(fleet: Fleet, replicas: number): Servers {
  /** Follows a Cluster's answers that say who has the shard; such a command has not been run. */
  const routed = async (shard: Shard, command: Command): Promise<Routed> => {
    let connection = fleet.connectionOf(shard);
    let asking = false;
    for (let redirects = 0; ; redirects++) {
      try {
        const asked = asking ? connection.send(["ASKING"]) : null;
        const [reply] = await Promise.all([connection.send(command), asked]);
        return { reply, connection };
      } catch (error) {
        const code = replyCode(error);
        asking = code === "ASK";
        if (redirects >= redisLimits.redirectsMax || !(asking || code === "MOVED")) throw error;
        const address = redirection(messageOf(error));
        if (!asking) fleet.moved(shard, address);
        connection = fleet.connectionAt(address);
      }
    }
  };
  return {
    send: async (shard, command) => (await routed(shard, command)).reply,
    write: async (shard, command) => {
      const { reply, connection } = await routed(shard, command);
      if (replicas > 0) await confirmed(connection, replicas);
      return reply;
    },
  };
}

/** Waits until replicas have all that this connection has written; a connection made since would know nothing of it. */
async function confirmed(connection: Connection, replicas: number): Promise<void> {
  const reply = await connection.send(["WAIT", `${replicas}`, `${redisLimits.replicasWaitMs}`]);
  if (numberOf(reply) >= replicas) return;
  throw new EngramError(
    "unavailable",
    `only ${numberOf(reply)} of ${replicas} Redis replicas (REDIS_WAIT_REPLICAS) have confirmed, so what was asked for may be lost with its server: look, or ask again`,
    { transient: true },
  );
}

/** "MOVED 3999 127.0.0.1:6381" */
function redirection(message: string): RedisAddress {
  const [, , target = ""] = message.split(" ");
  const colon = target.lastIndexOf(":");
  return { host: target.slice(0, colon), port: Number(target.slice(colon + 1)) };
}
