import type { Peer, Store } from "./store.ts";

/** The engines of a store that lives in one process, where there is one, or in a test some. */
export function makePeers(): Pick<Store, "announce" | "peers"> {
  const known = new Map<string, { readonly peer: Peer; readonly untilMs: number }>();
  return {
    announce: async (peer, untilMs) => void known.set(peer.worker, { peer, untilMs }),
    peers: async (nowMs) => {
      for (const [worker, { untilMs }] of known) if (untilMs <= nowMs) known.delete(worker);
      return [...known.values()].map(({ peer }) => peer);
    },
  };
}
