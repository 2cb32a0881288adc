import type { Clock } from "../../clock.ts";
import { nameOf, type RedisAddress } from "./address.ts";
import { type Access, type Line, openLine } from "./line.ts";
import { isSharded, serverFacts } from "./server-facts.ts";
import type { Shard, Shards } from "./shards.ts";

/** The connections that listen to the shards' channels, each where its shard is. */
export interface Ears {
  /** Listens where the shards are now. */
  listen(owners: readonly (RedisAddress | null)[]): void;
  /** Shards of which nothing is heard just now. */
  deaf(): readonly Shard[];
  /** Asks each connection for a sign of life: one that is silent for want of news and one that is dead look alike. */
  ping(): void;
  close(): void;
}

type Ear = { readonly line: Line; readonly shards: readonly Shard[] };

export function openEars(parts: {
  readonly access: Access;
  readonly shards: Shards;
  readonly clock: Clock;
  readonly heard: (message: string) => void;
  /** These are listened to from now on; what was said before is lost. */
  readonly opened: (shards: readonly Shard[]) => void;
}): Ears {
  const { access, shards, clock, heard, opened } = parts;
  const ears = new Map<string, Ear>();

  const openEar = (address: RedisAddress, those: readonly Shard[]): Ear => {
    const line = openLine(address, {
      access,
      clock,
      prepare: async (connection) => {
        const sharded = isSharded(await serverFacts(connection, address, false));
        await Promise.all(
          those.map(({ channel }) => connection.subscribe(channel, sharded, heard)),
        );
      },
      changed: () => {
        if (line.connection() !== null) opened(those);
      },
    });
    return { line, shards: those };
  };

  return {
    listen: (owners) => {
      const wanted = new Map<string, { readonly address: RedisAddress; readonly those: Shard[] }>();
      for (const shard of shards.all) {
        const address = owners[shard.number];
        if (!address) continue;
        const at = wanted.get(nameOf(address)) ?? { address, those: [] };
        wanted.set(nameOf(address), at);
        at.those.push(shard);
      }
      for (const [name, ear] of ears) {
        if (isSame(ear.shards, wanted.get(name)?.those ?? [])) continue;
        ears.delete(name);
        ear.line.close();
      }
      for (const [name, { address, those }] of wanted)
        if (!ears.has(name)) ears.set(name, openEar(address, those));
    },
    deaf: () => {
      const up = [...ears.values()].filter(({ line }) => line.connection() !== null);
      const listened = new Set(up.flatMap((ear) => ear.shards));
      return shards.all.filter((shard) => !listened.has(shard));
    },
    ping: () => {
      // A line that fails says so itself.
      for (const { line } of ears.values())
        line
          .connection()
          ?.send(["PING"])
          .catch(() => undefined);
    },
    close: () => {
      for (const { line } of ears.values()) line.close();
    },
  };
}

const isSame = (some: readonly Shard[], others: readonly Shard[]): boolean =>
  some.length === others.length && some.every((shard) => others.includes(shard));
