import { EngramError, messageOf } from "../../errors.ts";
import { wakes } from "../hints.ts";
import type { Home } from "./home.ts";
import type { RedisHints } from "./hints.ts";
import { redisFault, replyCode } from "./faults.ts";
import { runScript, type Script } from "./scripts.ts";
import type { Fleet, Group } from "./fleet.ts";
import type { Servers } from "./servers.ts";
import type { Shard, Shards } from "./shards.ts";

type Call = { readonly keys: readonly string[]; readonly args: readonly string[] };

/** What the operations of the store on Redis are made of. Whatever they fail with is an EngramError. */
export interface Base {
  readonly shards: Shards;
  readonly hints: RedisHints;
  /** The store's format, in which all has to be written. */
  format(): number;
  readonly groups: readonly Group[];
  run(shard: Shard, script: Script, call: Call): Promise<unknown>;
  /** Runs what changes an agent. Where nobody knows whether it was done, this engine's followers are told to look. */
  change(agentId: string, script: Script, call: Call): Promise<unknown>;
  /** A plain command that reads. */
  ask(shard: Shard, ...command: readonly [string, ...string[]]): Promise<unknown>;
  /** As `ask`, of what nobody is told: it may be lost yet with its server. */
  glance(shard: Shard, ...command: readonly [string, ...string[]]): Promise<unknown>;
  /** The last arguments of a script that tells others of what it did, before those of which it takes any number. */
  telling(shard: Shard): readonly [string, string];
}

export function makeBase(parts: {
  readonly fleet: Fleet;
  readonly servers: Servers;
  readonly shards: Shards;
  readonly home: Home;
  readonly hints: RedisHints;
}): Base {
  const { fleet, servers, shards, home, hints } = parts;
  const guarded = async <T>(run: () => Promise<T>): Promise<T> => {
    home.mustBeHere();
    try {
      return await run();
    } catch (error) {
      throw redisFault(error);
    }
  };
  const attempt = async (shard: Shard, script: Script, { keys, args }: Call): Promise<unknown> => {
    const fenced = { keys: [...keys, shard.store], args: [...args, `${home.format()}`] };
    try {
      return await runScript(servers, shard, script, fenced);
    } catch (error) {
      const format = newerFormat(error);
      if (format === null) throw error;
      home.raised(format);
      // What was written for the older format is as good in the newer.
      return attempt(shard, script, { keys, args });
    }
  };
  const run: Base["run"] = (shard, script, call) => guarded(() => attempt(shard, script, call));
  return {
    shards,
    hints,
    format: home.format,
    groups: fleet.groups,
    run,
    change: async (agentId, script, call) => {
      try {
        return await run(shards.of(agentId), script, call);
      } catch (error) {
        if (EngramError.of(error).code === "unavailable") {
          hints.send(agentId);
          hints.send(wakes);
        }
        throw error;
      }
    },
    ask: (shard, ...command) => guarded(() => servers.sure(shard, command)),
    glance: (shard, ...command) => guarded(() => servers.send(shard, command)),
    telling: (shard) => [fleet.publish(shard), hints.origin],
  };
}

/** The format that a shard has, where that is why it refused a script; null: it is not. */
const newerFormat = (error: unknown): number | null =>
  replyCode(error) === "FORMAT" ? Number(messageOf(error).split(" ")[1]) : null;
