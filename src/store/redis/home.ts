import type { Clock } from "../../clock.ts";
import { EngramError } from "../../errors.ts";
import { redisLimits } from "../../limits.ts";
import { redisFault, replyCode } from "./faults.ts";
import type { Connection } from "./line.ts";
import { runScript, scripts } from "./scripts.ts";
import type { Servers } from "./servers.ts";
import type { Shard, Shards } from "./shards.ts";
import type { StoreTime } from "./time.ts";
import { listOf, numberOf, textOf, textOrNull } from "./values.ts";

/** Of the keys and their contents; a store of a newer format is left alone. Engines of two neighbouring formats must understand each other. */
const formatVersion = 1;

/** Whether the store is the one that was begun here: each shard holds its identity, so what was emptied or exchanged is noticed. */
export interface Home {
  /** Throws where the store is not known to be there. */
  mustBeHere(): void;
  /** Looks whether it is there, and what time it is. Fails where not. */
  look(servers: Servers, places: readonly Shard[]): Promise<void>;
  /** Whether a server has what the store left on it. Fails where not. */
  check(connection: Connection, shards: readonly Shard[]): Promise<void>;
}

export function makeHome(shards: Shards, time: StoreTime, clock: Clock): Home {
  let identity: string | null = null;
  let trouble: EngramError | null = new EngramError(
    "unavailable",
    "Redis has not been reached yet; try again later",
    { transient: true },
  );

  const hasIt = (found: unknown): void => {
    if (identity === null || found === identity) return;
    throw new EngramError(
      "unavailable",
      found === null
        ? "Redis was emptied (FLUSHALL, or a restart without its data): bring the data back, or restart the engine to begin anew"
        : "another store has taken the place of this one in Redis: restart the engine to use it",
    );
  };
  const check = async (connection: Connection, of: readonly Shard[]): Promise<void> => {
    const [shard] = of;
    if (shard === undefined) return;
    try {
      hasIt(await connection.send(["HGET", shard.store, "id"]));
    } catch (error) {
      if (replyCode(error) !== "MOVED") throw error;
    }
  };
  const tell = async (servers: Servers): Promise<void> => {
    const sentMs = clock.monotonicMs();
    const args = [`${time.guess() ?? ""}`, `${redisLimits.clockJumpMs}`];
    const [, id, format, nowMs] = listOf(
      await runScript(servers, shards.first, scripts.time, { keys: [shards.first.store], args }),
    );
    hasIt(textOrNull(id));
    mustKnow(numberOf(format));
    time.learn(numberOf(nowMs), sentMs);
  };
  /** One shard of each server. */
  const checkAll = async (servers: Servers, places: readonly Shard[]): Promise<void> => {
    const found = places.map((shard) => servers.send(shard, ["HGET", shard.store, "id"]));
    for (const one of await Promise.all(found)) hasIt(one);
  };

  return {
    mustBeHere: () => {
      if (trouble !== null) throw trouble;
    },
    look: async (servers, places) => {
      try {
        identity ??= await join(servers, shards);
        await Promise.all([tell(servers), checkAll(servers, places)]);
        trouble = null;
      } catch (error) {
        // A server that is down says so itself, and others may be up.
        if (identity === null || error instanceof EngramError) trouble = redisFault(error);
        throw error;
      }
    },
    check,
  };
}

/** The identity of the store, which is begun where there is none. */
async function join(servers: Servers, shards: Shards): Promise<string> {
  const { store } = shards.first;
  const args = [crypto.randomUUID(), `${formatVersion}`];
  const reply = await runScript(servers, shards.first, scripts.join, { keys: [store], args });
  const [id = "", format = "", whole = ""] = listOf(reply).map(textOf);
  mustKnow(numberOf(format));
  if (whole === "") {
    const marked = shards.all.map((shard) =>
      servers.write(shard, ["HSETNX", shard.store, "id", id]),
    );
    await Promise.all(marked);
    await servers.write(shards.first, ["HSET", store, "whole", "1"]);
  }
  const asked = shards.all.map((shard) => servers.send(shard, ["HGET", shard.store, "id"]));
  if ((await Promise.all(asked)).every((one) => one === id)) return id;
  throw new EngramError(
    "corrupt",
    "a part of the store in Redis is gone or another's: bring the data of all its servers back, or empty them all",
  );
}

function mustKnow(format: number): void {
  if (format <= formatVersion) return;
  throw new EngramError(
    "failed_precondition",
    `the store in Redis has format ${format}, this engine knows formats up to ${formatVersion}: start a newer engine`,
  );
}
