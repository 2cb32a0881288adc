import { EngramError } from "../../errors.ts";
import type { Log } from "../../log.ts";
import type { Lease, Store } from "../store.ts";

/** An agent that is not what was written; `fault` goes on "agent X: ". */
export const damaged = (agentId: string, fault: string): EngramError =>
  new EngramError(
    "corrupt",
    `agent ${agentId} is damaged in the store: ${fault}; engram verify says more, a backup brings it back, a delete by force removes it`,
  );

/** The damage that is known, for as long as the store is open. */
export interface KnownDamage {
  /** Why an agent is not to be served; null: nothing is known against it. */
  of(agentId: string): EngramError | null;
  /** Tells the operator, once of each agent. */
  note(agentId: string, error: EngramError): void;
  /** The agent is no more. */
  forget(agentId: string): void;
}

export function makeKnownDamage(log: Log): KnownDamage {
  const known = new Map<string, EngramError>();
  return {
    of: (agentId) => known.get(agentId) ?? null,
    note: (agentId, error) => {
      if (known.has(agentId)) return;
      known.set(agentId, error);
      log("error", "an agent is damaged and not served: run engram verify", {
        agentId,
        fault: error.message,
      });
    },
    forget: (agentId) => void known.delete(agentId),
  };
}

/** A store that refuses everything about an agent, but to delete it by force, once its damage is known. */
export function guardDamaged(store: Store, known: KnownDamage): Store {
  const guarded = async <T>(agentId: string, use: () => Promise<T>): Promise<T> => {
    const fault = known.of(agentId);
    if (fault !== null) throw fault;
    try {
      return await use();
    } catch (error) {
      // Another corrupt one is of a page that the agent shares with others.
      if (isDamaged(error, agentId)) known.note(agentId, error);
      throw error;
    }
  };
  /** Nobody is to drive a damaged agent; without a wake time it is not offered again. */
  const letGo = async (lease: Lease): Promise<void> => {
    await store.release(lease, null, null).catch(() => undefined); // Else the lease runs out.
  };
  return {
    ...store,
    append: (append) => guarded(append.agentId, () => store.append(append)),
    read: (agentId, after, knownAtMs) =>
      guarded(agentId, () => store.read(agentId, after, knownAtMs)),
    readStored: (agentId, after) => guarded(agentId, () => store.readStored(agentId, after)),
    aside: (agentId) => guarded(agentId, () => store.aside(agentId)),
    marks: (agentId, keys) => guarded(agentId, () => store.marks(agentId, keys)),
    snapshot: (agentId) => guarded(agentId, () => store.snapshot(agentId)),
    row: (agentId, nowMs) => guarded(agentId, () => store.row(agentId, nowMs)),
    remove: async (agentId, atMs, force) => {
      if (!force) return guarded(agentId, () => store.remove(agentId, atMs, force));
      // The one thing that can be done about a damaged agent without a backup.
      await store.remove(agentId, atMs, force);
      known.forget(agentId);
    },
    writeDraft: (holder, call, pieces) =>
      guarded(holder.agentId, () => store.writeDraft(holder, call, pieces)),
    readDraft: (agentId, from) => guarded(agentId, () => store.readDraft(agentId, from)),
    claim: async (wish, nowMs, limit, skip) => {
      const leases = await store.claim(wish, nowMs, limit, skip);
      const bad = leases.filter(({ agentId }) => known.of(agentId) !== null);
      await Promise.all(bad.map(letGo));
      return leases.filter((lease) => !bad.includes(lease));
    },
  };
}

const isDamaged = (error: unknown, agentId: string): error is EngramError =>
  error instanceof EngramError &&
  error.code === "corrupt" &&
  error.message.startsWith(`agent ${agentId} is damaged`);
