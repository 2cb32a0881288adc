import { nameOf, type RedisAddress } from "./address.ts";
import { replyCode } from "./faults.ts";
import type { Connection } from "./line.ts";
import { textOf } from "./values.ts";

/** What a server says of itself. */
export type ServerFacts = {
  readonly name: string;
  readonly cluster: boolean;
  /** 7 of "7.0.15". */
  readonly majorVersion: number;
  /** What its operator should know before agents are entrusted to it. */
  readonly warnings: readonly string[];
};

/** `cluster`: what is assumed of a server that may not be asked. */
export async function serverFacts(
  connection: Connection,
  address: RedisAddress,
  cluster: boolean,
): Promise<ServerFacts> {
  try {
    return factsIn(textOf(await connection.send(["INFO"])), nameOf(address));
  } catch (error) {
    if (replyCode(error) !== "NOPERM") throw error;
    const name = nameOf(address);
    const warning = `Redis ${name} does not let this user ask for INFO: nobody knows whether it keeps what it is given`;
    return { name, cluster, majorVersion: 0, warnings: [warning] };
  }
}

function factsIn(info: string, name: string): ServerFacts {
  const said = (field: string): string =>
    new RegExp(`^${field}:(.*?)\\r?$`, "m").exec(info)?.[1] ?? "";
  const warnings: string[] = [];
  const policy = said("maxmemory_policy");
  if (policy !== "" && policy !== "noeviction")
    warnings.push(
      `Redis ${name} has maxmemory-policy ${policy}: it throws agents away when its memory is full; set noeviction`,
    );
  if (said("aof_enabled") === "0")
    warnings.push(
      `Redis ${name} has appendonly no: a crash of Redis loses what was acknowledged; set appendonly yes`,
    );
  if (said("role") === "slave")
    warnings.push(`Redis ${name} is a replica and takes no writes; name its master in REDIS_URL`);
  return {
    name,
    cluster: said("redis_mode") === "cluster",
    majorVersion: Number.parseInt(said("redis_version"), 10) || 0,
    warnings,
  };
}

/** Since version 7 a Cluster can keep a shard's messages on its own server. */
export const isSharded = ({ cluster, majorVersion }: ServerFacts): boolean =>
  cluster && majorVersion >= 7;
