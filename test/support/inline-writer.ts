import { makeCommitter } from "../../src/store/sqlite/commit.ts";
import type { WriterThread } from "../../src/store/sqlite/worker.ts";

/** Writes without a thread: for tests that open thousands of stores, or move a clock while nothing happens. */
export function startInline(path: string): WriterThread {
  const committer = makeCommitter(path);
  let ended = false;
  return {
    commit: async (writes) => committer.commit(structuredClone(writes)),
    hasEnded: () => ended,
    close: async () => {
      ended = true;
      committer.close();
    },
  };
}
