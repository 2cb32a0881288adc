import { EngramError } from "../../../errors.ts";
import { auditLimits } from "../../audit/audit-limits.ts";
import type { Audit } from "../../audit/audit.ts";
import { nameOf } from "../address.ts";
import { auditAgent } from "./agent.ts";
import { findStore, identityFaults, listedIn } from "./store.ts";
import { openReader, type Reader, type ReaderOptions } from "./reader.ts";

/**
 * Of a store in Redis, as a user who may only read. Fails with not_found where there is none, with failed_precondition
 * where it is of a newer format, and with unavailable.
 */
export async function openRedisAudit(options: ReaderOptions): Promise<Audit> {
  const { place, prefix } = options;
  const name = `Redis ${place.addresses.map(nameOf).join(",")} (${prefix})`;
  const reader = openReader(options);
  try {
    const found = await findStore(reader);
    const agents = found.agents.reduce((sum, count) => sum + count, 0);
    if (agents === 0 && found.ids.every((id) => id === null))
      throw new EngramError("not_found", `${name} holds nothing`);
    return {
      size: () => ({ agents, events: null }),
      all: async (tell) => {
        const fault = (text: string): void => tell.fault(`${name}: ${text}`);
        for (const text of identityFaults(reader, found)) fault(text);
        for (const shard of reader.shards.all)
          for await (const ids of listedIn(reader, shard, fault))
            await eachOf(ids, async (agentId) => {
              tell.agent(agentId, await auditAgent(reader, agentId, tell.read));
            });
      },
      one: async (agentId, tell) => {
        if (!(await isThere(reader, agentId)))
          throw new EngramError("not_found", `there is no agent ${agentId} in ${name}`);
        tell.agent(agentId, await auditAgent(reader, agentId, tell.read));
      },
      close: reader.close,
    };
  } catch (error) {
    reader.close();
    throw error;
  }
}

async function isThere({ shards, ask }: Reader, agentId: string): Promise<boolean> {
  const shard = shards.of(agentId);
  const [row, listed] = await Promise.all([
    ask(shard, "EXISTS", shard.agent(agentId)),
    ask(shard, "ZSCORE", shard.index, `all:${agentId}`),
  ]);
  return row === 1 || listed !== null;
}

/** Some at once, so that their ways to Redis and back overlap. */
async function eachOf<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const left = items.values();
  const workNext = async (): Promise<void> => {
    for (const item of left) await work(item);
  };
  await Promise.all(Array.from({ length: auditLimits.agentsAtOnce }, workNext));
}
