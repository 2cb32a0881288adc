import type { Clock } from "../../clock.ts";
import type { Log } from "../../log.ts";
import { wakes } from "../hints.ts";
import type { RedisPlace } from "./address.ts";
import { makeBase } from "./base.ts";
import { creations } from "./creations.ts";
import { drafts } from "./drafts.ts";
import { type Ears, openEars } from "./ears.ts";
import { type Fleet, openFleet } from "./fleet.ts";
import { makeHeads } from "./heads.ts";
import { makeRedisHints, type RedisHints } from "./hints.ts";
import { type Formats, knownFormats } from "./formats.ts";
import { type Home, makeHome } from "./home.ts";
import { leases } from "./leases.ts";
import { listRows } from "./list.ts";
import { logs } from "./logs.ts";
import { readRow } from "./row.ts";
import { scripts } from "./scripts.ts";
import { peers } from "./peers.ts";
import { makeServers } from "./servers.ts";
import { makeShards, type Shards } from "./shards.ts";
import { tallyAgents } from "./tally.ts";
import { makeStoreTime } from "./time.ts";
import { makeWatch } from "./watch.ts";
import type { Store } from "../store.ts";

export type RedisOptions = {
  readonly place: RedisPlace;
  /** PEM; null: the system's authorities. */
  readonly ca: string | null;
  /** What the names of all keys begin with; without braces. */
  readonly prefix: string;
  /** A write is answered when so many replicas have it. */
  readonly replicas: number;
  /** Names this engine to the others. */
  readonly worker: string;
  readonly clock: Clock;
  readonly log: Log;
};

/** A store with what its operator should know of the servers: what may lose agents. */
export type RedisStore = Store & { warnings(): Promise<readonly string[]> };

/**
 * Agents in a Redis or a Redis Cluster, which any number of engines share. Where it cannot be reached the store opens all
 * the same and is unavailable until it can. Fails with failed_precondition on a store of a format that is not among
 * `formats`, and where Redis refuses this engine.
 */
export async function openRedisStore(
  options: RedisOptions,
  formats: Formats = knownFormats,
): Promise<RedisStore> {
  const { replicas, clock, log } = options;
  const shards = makeShards(options.prefix);
  const time = makeStoreTime(clock);
  const hints = makeRedisHints(shards, time.nowMs);
  const shut = (): void => hints.lookAt(shards.all); // So that followers find it out.
  const home = makeHome({ ...options, shards, time, formats, shut });
  const link = openLink({ ...options, shards, home, hints });
  const { fleet, ears } = link;
  const servers = makeServers(fleet, replicas, clock);
  const watch = makeWatch(clock, log, async () => {
    hints.lookAt(ears.deaf());
    ears.ping();
    await fleet.refresh();
    await home.look(servers, fleet.places());
  });
  const close = async (): Promise<void> => {
    watch.stop();
    await home.leave(servers);
    link.close();
  };
  try {
    await watch.first(link.changes, () => ears.deaf().length === 0);
  } catch (error) {
    await close();
    throw error;
  }
  const warnings = async (): Promise<readonly string[]> =>
    (await fleet.facts()).flatMap((facts) => facts.warnings);
  for (const warning of await warnings()) log("warn", warning);
  const base = makeBase({ fleet, servers, shards, home, hints });
  const heads = makeHeads();
  return {
    nowMs: time.nowMs,
    ...creations({ base, heads }),
    ...logs(base, heads),
    ...drafts(base),
    ...leases(base),
    ...peers(base, time.nowMs),
    row: (agentId, nowMs) => readRow(base, agentId, nowMs),
    list: (query, nowMs) => listRows(base, query, nowMs),
    tally: (nowMs) => tallyAgents(base, nowMs),
    follow: hints.follow,
    followWakes: (hint) => hints.follow(wakes, hint),
    probe: async () => {
      await Promise.all(
        fleet
          .places()
          .map((shard) => base.run(shard, scripts.probe, { keys: [shard.store], args: [] })),
      );
    },
    close,
    warnings,
  };
}

/** The servers, and the ears that listen where the shards are. */
function openLink(
  parts: RedisOptions & {
    readonly shards: Shards;
    readonly home: Home;
    readonly hints: RedisHints;
  },
): {
  readonly fleet: Fleet;
  readonly ears: Ears;
  /** Calls this one, and none before, at each change of a connection. */
  readonly changes: (changed: () => void) => void;
  readonly close: () => void;
} {
  const { place, ca, shards, home, hints, clock } = parts;
  const access = { ...place, ca };
  let changed = (): void => {};
  const ears = openEars({
    access,
    shards,
    clock,
    heard: hints.heard,
    opened: (those) => {
      hints.lookAt(those);
      changed();
    },
  });
  const fleet = openFleet({
    place,
    access,
    shards,
    clock,
    check: home.check,
    changed: (came) => {
      ears.listen(fleet.owners());
      if (came) hints.send(wakes);
      changed();
    },
  });
  ears.listen(fleet.owners());
  return {
    fleet,
    ears,
    changes: (then) => {
      changed = then;
    },
    close: () => {
      ears.close();
      fleet.close();
    },
  };
}
