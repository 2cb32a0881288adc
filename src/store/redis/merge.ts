/** Gives what stands behind `after` (null: from the start), in order, at most `count`; fewer: there are no more. */
export type Source<T> = (after: T | null, count: number) => Promise<readonly T[]>;

/**
 * Joins sources that are each in the order of `before`. Of each no more is read than its fair share of what is asked for,
 * and some; whoever is emptied before the others is asked again.
 */
export function firstOf<T>(
  sources: readonly Source<T>[],
  before: (a: T, b: T) => boolean,
): {
  /** The next ones of all, at most `limit`; fewer: there are no more. */
  readonly take: (limit: number) => Promise<readonly T[]>;
} {
  const queues = sources.map((source) => ({
    source,
    found: [] as readonly T[],
    at: 0,
    ended: false,
    last: null as T | null,
  }));
  const refill = async (count: number): Promise<void> => {
    const empty = queues.filter((queue) => !queue.ended && queue.at === queue.found.length);
    await Promise.all(
      empty.map(async (queue) => {
        queue.found = await queue.source(queue.last, count);
        queue.at = 0;
        queue.last = queue.found.at(-1) ?? queue.last;
        queue.ended = queue.found.length < count;
      }),
    );
  };
  const best = () => {
    let first: (typeof queues)[number] | null = null;
    let item: T | null = null;
    for (const queue of queues) {
      const head = queue.found[queue.at];
      if (head === undefined || (item !== null && !before(head, item))) continue;
      first = queue;
      item = head;
    }
    return first === null || item === null ? null : { queue: first, item };
  };
  return {
    take: async (limit: number): Promise<readonly T[]> => {
      const taken: T[] = [];
      if (limit <= 0) return taken;
      const share = Math.ceil(limit / sources.length) * 2 + 1;
      const count = Math.min(share, limit);
      while (taken.length < limit) {
        if (queues.some((queue) => !queue.ended && queue.at === queue.found.length))
          await refill(count);
        const next = best();
        if (next === null) break;
        next.queue.at++;
        taken.push(next.item);
      }
      return taken;
    },
  };
}
