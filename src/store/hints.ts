/** In the place of an agent's id, which is never empty: what may bring the next wake time nearer. */
export const wakes = "";

/** Who waits for changes of which agent, in this process. */
export type Hints = {
  follow(agentId: string, hint: () => void): () => void;
  send(agentId: string): void;
};

export function makeHints(): Hints {
  const listeners = new Map<string, Set<() => void>>();
  return {
    follow: (agentId, hint) => {
      const of = listeners.get(agentId) ?? new Set();
      listeners.set(agentId, of);
      const listener = (): void => hint();
      of.add(listener);
      return () => {
        of.delete(listener);
        if (of.size === 0 && listeners.get(agentId) === of) listeners.delete(agentId);
      };
    },
    send: (agentId) => {
      for (const hint of listeners.get(agentId) ?? []) hint();
    },
  };
}
