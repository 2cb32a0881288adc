import type { Clock } from "../../clock.ts";
import { EngramError } from "../../errors.ts";
import { nameOf, type RedisAddress, type RedisPlace } from "./address.ts";
import { type Access, type Connection, type Line, LineDown, openLine } from "./line.ts";
import { isSharded, type ServerFacts, serverFacts } from "./server-facts.ts";
import type { Shard, Shards } from "./shards.ts";
import { listOf, numberOf } from "./values.ts";

/** Shards that are on one server for good, and one of them. */
export type Group = { readonly at: Shard; readonly all: readonly Shard[] };

/** The servers in use, and which of them has which shard. One server has all; of a Cluster it may change. */
export interface Fleet {
  /** To the server of a shard. Fails with LineDown. */
  connectionOf(shard: Shard): Connection;
  connectionAt(address: RedisAddress): Connection;
  /** A server said that the shard is there now. */
  moved(shard: Shard, to: RedisAddress): void;
  /** Where each shard is, as far as known. */
  owners(): readonly (RedisAddress | null)[];
  /** One shard of each server, and one of those that are nowhere. */
  places(): readonly Shard[];
  /** The shards in groups of which one script may name all keys: all on one server, but in a Cluster each by itself. */
  readonly groups: readonly Group[];
  /** What the servers say of themselves now; of one that does not answer, what it said last. */
  facts(): Promise<readonly ServerFacts[]>;
  /** What makes a script's message heard by all engines: PUBLISH, or SPUBLISH. */
  publish(shard: Shard): string;
  /** Asks again who has which shard, or whether the one server is still a master. */
  refresh(): Promise<void>;
  close(): void;
}

export type FleetParts = {
  readonly place: RedisPlace;
  readonly access: Access;
  readonly shards: Shards;
  readonly clock: Clock;
  /** Whether a server, with these shards, has what the store left there; fails where not. */
  readonly check: (connection: Connection, shards: readonly Shard[]) => Promise<void>;
  /** A server came, went, or has other shards; `came`: more can be asked of than before. */
  readonly changed: (came: boolean) => void;
};

type Server = { readonly line: Line; facts: ServerFacts | null };

export function openFleet(parts: FleetParts): Fleet {
  const { place, shards, changed } = parts;
  const isCluster = place.addresses.length > 1;
  const table = makeTable(shards, isCluster ? null : place.addresses[0]);
  const refreshOnce = once(() => discover());
  const servers = openServers(parts, table, (came) => {
    if (isCluster && table.owners.includes(null)) void refreshOnce();
    changed(came);
  });

  /** Failures are for the next look: it comes with the next heartbeat at the latest. */
  const discover = async (): Promise<void> => {
    const asked = servers.up();
    if (!isCluster) {
      if (asked !== null) await mustBeMaster(asked.connection);
      return;
    }
    // Nobody left to ask: those that the operator named may be back.
    if (asked === null) return place.addresses.forEach(servers.at);
    const { address, connection } = asked;
    const ranges = slotRanges(await connection.send(["CLUSTER", "SLOTS"]), address);
    // What nobody serves just now is where it was, as soon as that server is back.
    const owners = shards.all.map(
      ({ slot, number }) =>
        ranges.find(({ from, to }) => from <= slot && slot <= to)?.address ??
        table.owners[number] ??
        null,
    );
    if (!table.replace(owners)) return;
    for (const owner of owners) if (owner !== null) servers.at(owner);
    if (!owners.includes(null)) servers.retain(new Set(owners.map((it) => it && nameOf(it))));
    changed(true);
  };

  place.addresses.forEach(servers.at);
  return {
    connectionOf: (shard) => {
      const address = table.owners[shard.number];
      if (address) return servers.connection(address);
      // Not every user may ask who has which shard, but whoever is asked for it says so.
      const anyone = servers.up();
      if (anyone !== null) return anyone.connection;
      throw servers.fault() ?? new LineDown("no server of the Cluster has the agent", false);
    },
    connectionAt: servers.connection,
    moved: (shard, to) => {
      table.owners[shard.number] = to;
      servers.at(to);
      changed(false);
      void refreshOnce();
    },
    owners: () => table.owners,
    places: table.places,
    groups: isCluster
      ? shards.all.map((shard) => ({ at: shard, all: [shard] }))
      : [{ at: shards.first, all: shards.all }],
    facts: servers.facts,
    publish: ({ number }) => {
      const owner = table.owners[number];
      const facts = owner ? servers.at(owner).facts : null;
      return facts && isSharded(facts) ? "SPUBLISH" : "PUBLISH";
    },
    refresh: refreshOnce,
    close: servers.close,
  };
}

/** Runs at most once at a time; whoever asks meanwhile waits for the same run. */
function once(run: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | null = null;
  return async () => {
    running ??= run()
      .catch(() => undefined)
      .finally(() => (running = null));
    await running;
  };
}

type Table = ReturnType<typeof makeTable>;

function makeTable(shards: Shards, first: RedisAddress | null) {
  const owners: (RedisAddress | null)[] = shards.all.map(() => first);
  const names = (of: readonly (RedisAddress | null)[]): string =>
    of.map((owner) => owner && nameOf(owner)).join();
  return {
    owners,
    /** False where nothing is other than before. */
    replace: (by: readonly (RedisAddress | null)[]): boolean => {
      if (names(by) === names(owners)) return false;
      owners.splice(0, owners.length, ...by);
      return true;
    },
    shardsOf: (address: RedisAddress): readonly Shard[] =>
      shards.all.filter(({ number }) => {
        const owner = owners[number];
        return owner && nameOf(owner) === nameOf(address);
      }),
    places: (): readonly Shard[] => {
      const one = new Map<string, Shard>();
      for (const shard of shards.all) {
        const owner = owners[shard.number];
        one.set(owner ? nameOf(owner) : "nowhere", shard);
      }
      return [...one.values()];
    },
  };
}

/** A line to each server that was named, kept up. */
function openServers(
  { place, access, clock, check }: FleetParts,
  table: Table,
  changed: (came: boolean) => void,
) {
  const servers = new Map<string, Server>();
  const isCluster = place.addresses.length > 1;
  const at = (address: RedisAddress): Server => {
    const known = servers.get(nameOf(address));
    if (known !== undefined) return known;
    const prepare = async (connection: Connection): Promise<void> => {
      server.facts = await serverFacts(connection, address, isCluster);
      mustFit(server.facts, isCluster);
      await check(connection, table.shardsOf(address));
    };
    const told = (): void => changed(server.line.connection() !== null);
    const server: Server = {
      facts: null,
      line: openLine(address, { access, clock, prepare, changed: told }),
    };
    servers.set(nameOf(address), server);
    return server;
  };
  return {
    at: (address: RedisAddress): Server => at(address),
    connection: (address: RedisAddress): Connection => {
      const { line } = at(address);
      const connection = line.connection();
      if (connection === null) throw line.fault();
      return connection;
    },
    /** Some server that answers: not always the same, as it may be the one that knows nothing of the others' news. */
    up: () => {
      const all = [...servers.values()].flatMap(({ line }) => {
        const connection = line.connection();
        return connection === null ? [] : [{ address: line.address, connection }];
      });
      return all[Math.floor(Math.random() * all.length)] ?? null;
    },
    /** Why one of those that do not answer does not. */
    fault: (): LineDown | null => {
      const down = [...servers.values()].find(({ line }) => line.connection() === null);
      return down?.line.fault() ?? null;
    },
    facts: async () => {
      const asked = [...servers.values()].map(async (server) => {
        const connection = server.line.connection();
        if (connection !== null)
          server.facts = await serverFacts(connection, server.line.address, isCluster).catch(
            () => server.facts,
          );
        return server.facts;
      });
      return (await Promise.all(asked)).filter((facts) => facts !== null);
    },
    retain: (names: ReadonlySet<string | null>) => {
      for (const [name, { line }] of servers)
        if (!names.has(name)) {
          servers.delete(name);
          line.close();
        }
    },
    close: () => {
      for (const { line } of servers.values()) line.close();
    },
  };
}

/** Behind the same name there may be another master by now: a new connection finds it. */
async function mustBeMaster(connection: Connection): Promise<void> {
  const [role] = listOf(await connection.send(["ROLE"]));
  if (role !== "master") connection.end(new Error("the server has become a replica"));
}

function mustFit({ name, cluster }: ServerFacts, isCluster: boolean): void {
  if (cluster === isCluster) return;
  throw new EngramError(
    "failed_precondition",
    isCluster
      ? `REDIS_URL names several servers, which are taken for a Redis Cluster, but ${name} belongs to none`
      : `${name} belongs to a Redis Cluster: name at least two of its servers in REDIS_URL, comma-separated`,
  );
}

/** What CLUSTER SLOTS answers: an empty host is the one that was asked. */
const slotRanges = (reply: unknown, asked: RedisAddress) =>
  listOf(reply).map((range) => {
    const [from, to, master] = listOf(range);
    const [named, port] = listOf(master);
    const host = typeof named === "string" && named !== "" && named !== "?" ? named : asked.host;
    return { from: numberOf(from), to: numberOf(to), address: { host, port: numberOf(port) } };
  });
