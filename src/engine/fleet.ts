import { EngramError } from "../errors.ts";
import { engineLimits } from "../limits.ts";
import type { Parts } from "./parts.ts";

/*
 * Engines that share a store tell each other which tools they have. They should have the same; until they do, an agent
 * that calls a tool that is missing here is left to an engine that has it.
 */

/** This engine among those that share its store. */
export interface Fleet {
  /** Whether another engine can run a tool that this one lacks. */
  hasElsewhere(toolName: string): Promise<boolean>;
  /** Leaves an agent to others for the time of a lease. */
  leave(agentId: string): void;
  /** The agents that are left to others just now. */
  left(): ReadonlySet<string>;
  /** What the operator should know of differences, a sentence each. */
  differences(): Promise<readonly string[]>;
  /** Says goodbye. */
  stop(): Promise<void>;
}

export function joinFleet(parts: Parts, worker: string): Fleet {
  const { store, sandbox, clock, log, settings } = parts;
  const lasting = settings.leaseTtlMs;
  const left = new Map<string, number>();
  let cancel = (): void => {};
  let stopped = false;

  const announce = async (): Promise<void> => {
    const usable = (await sandbox.list()).filter(({ error }) => error === null);
    const tools = Object.fromEntries(usable.map(({ name, sha256 }) => [name, sha256]));
    await store.announce({ worker, tools }, store.nowMs() + lasting);
  };
  /** Thrice in the time for which it counts, so that two may fail. */
  const goOn = (): void => {
    void announce()
      .catch((error: unknown) => {
        log("debug", "could not tell other engines", { reason: EngramError.of(error).message });
      })
      .finally(() => {
        if (!stopped) cancel = clock.after(lasting / 3, goOn);
      });
  };
  goOn();

  return {
    hasElsewhere: async (toolName) => {
      const peers = await store.peers(store.nowMs());
      return peers.some((peer) => peer.worker !== worker && Object.hasOwn(peer.tools, toolName));
    },
    leave: (agentId) => {
      left.set(agentId, clock.monotonicMs() + lasting);
      for (const oldest of left.keys())
        if (left.size > engineLimits.leftAgentsMax) left.delete(oldest);
    },
    left: () => {
      for (const [agentId, untilMs] of left)
        if (untilMs <= clock.monotonicMs()) left.delete(agentId);
      return new Set(left.keys());
    },
    differences: async () => {
      const peers = await store.peers(store.nowMs());
      const mine = peers.find((peer) => peer.worker === worker)?.tools ?? {};
      const others = peers.filter((peer) => peer.worker !== worker);
      const names = new Set(peers.flatMap(({ tools }) => Object.keys(tools)));
      return [...names]
        .filter((name) => others.some(({ tools }) => tools[name] !== mine[name]))
        .map(
          (name) =>
            `the tool ${name} is not the same file on all engines that share this store; give each the same tools folder`,
        );
    },
    stop: async () => {
      stopped = true;
      cancel();
      await store.announce({ worker, tools: {} }, store.nowMs()).catch(() => undefined); // Else it is forgotten soon.
    },
  };
}
