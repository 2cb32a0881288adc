import type { Clock } from "../../clock.ts";
import { messageOf } from "../../errors.ts";
import { redisLimits } from "../../limits.ts";
import type { RedisAddress } from "./address.ts";
import { makeConfirm } from "./confirm.ts";
import { replyCode } from "./faults.ts";
import type { Fleet } from "./fleet.ts";
import { type Command, type Connection, LineDown } from "./line.ts";
import type { Shard } from "./shards.ts";

/** Commands to the servers that have the shards. They fail as a connection does. */
export interface Servers {
  /** Sends a command on keys of one shard. */
  send(shard: Shard, command: Command): Promise<unknown>;
  /** As `send`, and answers when as many replicas as wished for have what it wrote, or what it read. */
  sure(shard: Shard, command: Command): Promise<unknown>;
}

type Routed = { readonly reply: unknown; readonly connection: Connection };

/** `replicas`: how many have to confirm. */
export function makeServers(fleet: Fleet, replicas: number, clock: Clock): Servers {
  const confirm = makeConfirm(replicas);
  const pause = (): Promise<void> =>
    new Promise((resolve) => void clock.after(redisLimits.tryAgainMs, resolve));

  /** Follows a Cluster's answers that say who has the shard; such a command has not been run. */
  const routed = async (shard: Shard, command: Command): Promise<Routed> => {
    const deadlineMs = clock.monotonicMs() + redisLimits.redirectedMs;
    let told: RedisAddress | null = null;
    let asking = false;
    for (let tries = 0; ; tries++) {
      try {
        const connection: Connection =
          told === null ? fleet.connectionOf(shard) : fleet.connectionAt(told);
        const asked = asking ? connection.send(["ASKING"]) : null;
        const [reply] = await Promise.all([connection.send(command), asked]);
        return { reply, connection };
      } catch (error) {
        const code = replyCode(error);
        // A server that another has just named is connected to first.
        const isNew = told !== null && error instanceof LineDown && !error.sent;
        if (!isNew && !redirecting.has(code)) throw error;
        if (clock.monotonicMs() >= deadlineMs) throw error;
        if (code === "MOVED" || code === "ASK") told = redirection(messageOf(error));
        if (code === "MOVED" && told !== null) fleet.moved(shard, told);
        // Neither of two has all of it yet: where it was is asked again.
        if (code === "TRYAGAIN") told = null;
        if (!isNew) asking = code === "ASK";
        if (isNew || code === "TRYAGAIN" || tries >= redisLimits.redirectsMax) await pause();
      }
    }
  };
  return {
    send: async (shard, command) => (await routed(shard, command)).reply,
    sure: async (shard, command) => {
      const { reply, connection } = await routed(shard, command);
      if (replicas > 0) await confirm(connection, shard);
      return reply;
    },
  };
}

const redirecting: ReadonlySet<string> = new Set(["MOVED", "ASK", "TRYAGAIN"]);

/** "MOVED 3999 127.0.0.1:6381" */
function redirection(message: string): RedisAddress {
  const [, , target = ""] = message.split(" ");
  const colon = target.lastIndexOf(":");
  return { host: target.slice(0, colon), port: Number(target.slice(colon + 1)) };
}
