import type { Clock } from "../../clock.ts";
import { EngramError } from "../../errors.ts";
import { redisLimits } from "../../limits.ts";
import type { Log } from "../../log.ts";
import { redisFault, replyCode } from "./faults.ts";
import { type Formats, makeStoreFormat, type StoreFormat } from "./formats.ts";
import type { Connection } from "./line.ts";
import { runScript, scripts } from "./scripts.ts";
import type { Servers } from "./servers.ts";
import type { Shard, Shards } from "./shards.ts";
import type { StoreTime } from "./time.ts";
import { listOf, numberOf, textOf, textOrNull } from "./values.ts";

/**
 * Whether the store is the one that was begun here, in a format that this engine knows (see formats.ts). Each shard holds its
 * identity, so what was emptied or exchanged is noticed.
 */
export interface Home {
  /** Throws where the store is not known to be there. */
  mustBeHere(): void;
  /** The store's format: what is written must be readable to engines that know no newer one. */
  format(): number;
  /** A shard has this newer format. Throws where this engine does not know it. */
  raised(format: number): void;
  /** Looks whether it is there, and what time it is; tells that this engine is. Fails where not. */
  look(servers: Servers, places: readonly Shard[]): Promise<void>;
  /** Whether a server has what the store left on it. Fails where not. */
  check(connection: Connection, shards: readonly Shard[]): Promise<void>;
  /** Nothing is written from now on: the others need not wait for this engine. */
  leave(servers: Servers): Promise<void>;
}

type HomeParts = {
  readonly shards: Shards;
  readonly time: StoreTime;
  readonly clock: Clock;
  readonly log: Log;
  /** Names this engine to the others. */
  readonly worker: string;
  readonly formats: Formats;
  /** Is called when the store is not this engine's any more. */
  readonly shut: () => void;
};

export function makeHome(parts: HomeParts): Home {
  const { shards } = parts;
  const format = makeStoreFormat(parts.formats, parts.log, parts.shut);
  const identity = makeIdentity();
  let left = false;
  let trouble: EngramError | null = new EngramError(
    "unavailable",
    "Redis has not been reached yet; try again later",
    { transient: true },
  );

  const mustServe = (): void => {
    format.mustBeKnown();
    if (left) throw new EngramError("unavailable", "the store was closed");
  };
  /** One shard of each server. */
  const checkAll = async (servers: Servers, places: readonly Shard[]): Promise<void> => {
    const found = places.map((shard) => servers.send(shard, ["HGET", shard.store, "id"]));
    for (const one of await Promise.all(found)) identity.mustBe(one);
  };
  const begin = async (servers: Servers): Promise<void> => {
    const { store } = shards.first;
    const args = [crypto.randomUUID(), `${parts.formats.newest}`];
    const reply = await runScript(servers, shards.first, scripts.join, { keys: [store], args });
    const [id = "", whole = ""] = listOf(reply).map(textOf);
    await beat(parts, servers, { format, identity }); // Before anything is written.
    await mustBeWhole(servers, shards, { id, whole });
    identity.keep(id);
  };
  return {
    mustBeHere: () => {
      mustServe();
      if (trouble !== null) throw trouble;
    },
    format: () => format.learnt() ?? parts.formats.oldest,
    raised: format.learn,
    look: async (servers, places) => {
      mustServe();
      try {
        if (identity.isKnown())
          await Promise.all([
            beat(parts, servers, { format, identity }),
            checkAll(servers, places),
          ]);
        else await begin(servers);
        trouble = null;
      } catch (error) {
        // A server that is down says so itself, and others may be up.
        if (!identity.isKnown() || error instanceof EngramError) trouble = redisFault(error);
        throw error;
      }
    },
    check: async (connection, [shard]) => {
      if (shard === undefined) return;
      try {
        identity.mustBe(await connection.send(["HGET", shard.store, "id"]));
      } catch (error) {
        if (replyCode(error) !== "MOVED") throw error;
      }
    },
    leave: async (servers) => {
      left = true;
      if (trouble === null) await sayGoodbye(parts, servers);
    },
  };
}

type Identity = ReturnType<typeof makeIdentity>;

/** Which store this is, once it is known. */
function makeIdentity() {
  let kept: string | null = null;
  return {
    isKnown: (): boolean => kept !== null,
    keep: (id: string): void => {
      kept = id;
    },
    mustBe: (found: unknown): void => {
      if (kept === null || found === kept) return;
      throw new EngramError(
        "unavailable",
        found === null
          ? "Redis was emptied (FLUSHALL, or a restart without its data): bring the data back, or restart the engine to begin anew"
          : "another store has taken the place of this one in Redis: restart the engine to use it",
      );
    },
  };
}

/** Tells the others of this engine, and learns the store's format and time. */
async function beat(
  { shards, time, clock, worker, formats: { oldest, newest } }: HomeParts,
  servers: Servers,
  { format, identity }: { readonly format: StoreFormat; readonly identity: Identity },
): Promise<void> {
  const { store, members, peers } = shards.first;
  const { clockJumpMs, memberMs } = redisLimits;
  const numbers = [memberMs, oldest, newest, format.learnt() ?? 0];
  const sentMs = clock.monotonicMs();
  const args = [`${time.guess() ?? ""}`, `${clockJumpMs}`, worker, ...numbers.map(String)];
  const keys = [store, members, peers];
  const reply = await runScript(servers, shards.first, scripts.beat, { keys, args });
  const [, id, told, nowMs] = listOf(reply);
  identity.mustBe(textOrNull(id));
  format.learn(numberOf(told));
  time.learn(numberOf(nowMs), sentMs);
}

async function sayGoodbye({ shards, clock, worker }: HomeParts, servers: Servers): Promise<void> {
  const { promise: late, resolve } = Promise.withResolvers<void>();
  const cancel = clock.after(redisLimits.goodbyeMs, resolve);
  const told = servers.send(shards.first, ["HDEL", shards.first.members, worker]);
  // Those who are not told find it out.
  await Promise.race([late, told.catch(() => undefined)]);
  cancel();
}

/** Marks each shard of a store that was just begun, and looks that no part of it is missing. */
async function mustBeWhole(
  servers: Servers,
  { all, first }: Shards,
  { id, whole }: { readonly id: string; readonly whole: string },
): Promise<void> {
  if (whole === "") {
    await Promise.all(all.map((shard) => servers.sure(shard, ["HSETNX", shard.store, "id", id])));
    await servers.sure(first, ["HSET", first.store, "whole", "1"]);
  }
  const asked = all.map((shard) => servers.send(shard, ["HGET", shard.store, "id"]));
  if ((await Promise.all(asked)).every((one) => one === id)) return;
  throw new EngramError(
    "corrupt",
    "a part of the store in Redis is gone or another's: bring the data of all its servers back, or empty them all",
  );
}
