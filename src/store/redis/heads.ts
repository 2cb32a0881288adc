import { redisLimits } from "../../limits.ts";

/** What an append is chained to. */
export type Head = { readonly sequence: number; readonly hash: string };

/** The heads as this engine last saw them, so that appending need not ask. What is stale is refused and asked for anew. */
export interface Heads {
  get(agentId: string): Head | undefined;
  set(agentId: string, head: Head): void;
  forget(agentId: string): void;
}

export function makeHeads(): Heads {
  /** In the order of their last change. */
  const heads = new Map<string, Head>();
  return {
    get: (agentId) => heads.get(agentId),
    set: (agentId, head) => {
      heads.delete(agentId);
      heads.set(agentId, head);
      const [oldest] = heads.keys();
      if (heads.size > redisLimits.headsMax && oldest !== undefined) heads.delete(oldest);
    },
    forget: (agentId) => void heads.delete(agentId),
  };
}
