import { type Mark, marksOf, messageKey } from "../agent/mark.ts";
import { storeLimits } from "../limits.ts";
import { encodeEvent, genesisHash } from "./codec.ts";
import {
  chained,
  otherAside,
  otherHead,
  type Placed,
  putAside,
  restOf,
  type StagedPage,
  thereAlready,
} from "./staging.ts";
import type { Creation, Store } from "./store.ts";

type StagedLog = {
  readonly events: (Placed & { readonly hash: Uint8Array })[];
  readonly marks: Map<string, Mark>;
  readonly touchedMs: number;
};

/** What an agent begins with. */
export type Begun = { readonly placed: readonly Placed[]; readonly marks: readonly Mark[] };

/** What stands aside in memory, for the agents that are not there yet. */
export interface StagedLogs {
  readonly stage: Store["stage"];
  readonly unstage: Store["unstage"];
  /** Takes over what a creation names, with what it brings. Fails as it does. */
  take(creation: Creation): Begun;
}

export function makeStagedLogs(isThere: (agentId: string) => boolean): StagedLogs {
  const logs = new Map<string, StagedLog>();
  /** What has stood there too long does not any more. */
  const logOf = (agentId: string, nowMs: number): StagedLog => {
    const known = logs.get(agentId);
    if (known !== undefined && known.touchedMs + storeLimits.stagedKeptMs > nowMs) return known;
    logs.delete(agentId);
    return { events: [], marks: new Map(), touchedMs: nowMs };
  };
  return {
    stage: (agentId, after, events, nowMs) => {
      const add = async (page: StagedPage): Promise<boolean> => {
        if (isThere(agentId)) throw thereAlready(agentId);
        const log = logOf(agentId, nowMs);
        addTo(log, agentId, page);
        logs.set(agentId, { ...log, touchedMs: nowMs });
        return false;
      };
      return putAside({ add, clear: async () => false }, after, events);
    },
    unstage: async (agentId) => void logs.delete(agentId),
    take: ({ agentId, nowMs, staged, events, headHash }) => {
      const log = logOf(agentId, nowMs);
      if (log.events.length !== staged) throw otherAside(agentId, log.events.length, staged);
      logs.delete(agentId);
      const placed = events.map(({ atMs, event }) => ({ atMs, body: encodeEvent(event) }));
      const hash = log.events.at(-1)?.hash ?? genesisHash(agentId);
      const head = chained(hash, staged, placed).at(-1) ?? hash;
      if (headHash !== null && head.toHex() !== headHash) throw otherHead(agentId, headHash);
      const facts = events.map(({ event }) => event);
      return {
        placed: [...log.events, ...placed],
        marks: [...log.marks.values(), ...marksOf(facts, staged)],
      };
    },
  };
}

function addTo({ events, marks }: StagedLog, agentId: string, page: StagedPage): void {
  const hashAt = (sequence: number): Uint8Array | null =>
    sequence === 0 ? genesisHash(agentId) : (events[sequence - 1]?.hash ?? null);
  const head = events.length;
  const rest = restOf(page, head, hashAt);
  if (rest === null) throw otherAside(agentId, head, page.after);
  const hashes = chained(hashAt(head) ?? genesisHash(agentId), head, rest.events);
  for (const [index, hash] of hashes.entries()) {
    const placed = rest.events[index];
    if (placed !== undefined) events.push({ ...placed, hash });
  }
  if (rest.forkedAt > 0)
    for (const key of marks.keys()) if (key.startsWith(messageKey(""))) marks.delete(key);
  for (const mark of rest.marks) if (!marks.has(mark.key)) marks.set(mark.key, mark);
}
