import { EngramError } from "../../errors.ts";
import { redisLimits } from "../../limits.ts";
import { replyCode } from "./faults.ts";
import type { Connection } from "./line.ts";
import type { Shard } from "./shards.ts";
import { numberOf } from "./values.ts";

/** Resolves when enough replicas have everything that this connection was answered before. Fails as unavailable. */
export type Confirm = (connection: Connection, shard: Shard) => Promise<void>;

/**
 * Rounds of confirmation: WAIT holds up what is sent behind it, so whoever asks while one is under way shares the next.
 * Each begins with a small write of its own. It stands behind all that was answered before, what others wrote and this
 * connection only read too; and a master that was put out of office without knowing it gets it confirmed by nobody.
 */
export function makeConfirm(replicas: number): Confirm {
  const rounds = new WeakMap<Connection, (shard: Shard) => Promise<void>>();
  return (connection, shard) => {
    const known = rounds.get(connection) ?? makeRounds(connection, replicas);
    rounds.set(connection, known);
    return known(shard);
  };
}

function makeRounds(connection: Connection, replicas: number): (shard: Shard) => Promise<void> {
  let running: Promise<void> = Promise.resolve();
  let next: Promise<void> | null = null;
  let waitMs: number = redisLimits.replicasWaitMs;

  const round = async ({ store }: Shard): Promise<void> => {
    const write = connection.send(["HSET", store, "confirmed", ""]).catch(unlessFull);
    const wait = connection.send(["WAIT", `${replicas}`, `${waitMs}`]);
    const [, reply] = await Promise.all([write, wait]).catch(unconfirmed);
    const found = numberOf(reply);
    // Where they are away, they are not waited for again by all that comes.
    waitMs = found >= replicas ? redisLimits.replicasWaitMs : redisLimits.replicasLookMs;
    if (found >= replicas) return;
    throw new EngramError(
      "unavailable",
      `only ${found} of ${replicas} Redis replicas (REDIS_WAIT_REPLICAS) have confirmed, so what was asked for may be lost with its server: look, or ask again`,
      { transient: true },
    );
  };
  return (shard) => {
    next ??= running
      .catch(() => undefined)
      .then(() => {
        next = null;
        running = round(shard);
        return running;
      });
    return next;
  };
}

/** Who has no room for it has not written anything else either. */
function unlessFull(error: unknown): void {
  if (replyCode(error) !== "OOM") throw error;
}

/** The connection broke, or the server is no master, or not this shard's, any more. */
function unconfirmed(cause: unknown): never {
  throw new EngramError(
    "unavailable",
    "Redis was lost or replaced by a replica before that had confirmed, so what was asked for may have been done or not: look, or ask again",
    { cause, transient: true },
  );
}
