import { storeLimits } from "../../limits.ts";
import { type Committed, makeCommitter } from "./commit.ts";
import type { Write } from "./writes.ts";

/*
 * The thread that writes: it waits for the disk, so that the thread that serves does not. Started by worker.ts.
 */

/** To the thread: first the file's path, then batches, each answered before the next comes; null ends it. */
export type ToThread = { readonly path: string } | { readonly writes: readonly Write[] } | null;

/** From the thread; null: the file is closed, and the thread ends. */
export type FromThread = Committed | null;

declare const self: Worker;

let committer = makeCommitter("");
let timer: ReturnType<typeof setTimeout> | null = null;

/** When nothing has been written for a while. */
const checkpointLater = (): void => {
  timer ??= setTimeout(() => {
    timer = null;
    committer.checkpoint();
  }, storeLimits.checkpointIdleMs);
  timer.refresh();
};

const answer = (message: FromThread): void => self.postMessage(message, []);

self.addEventListener("message", ({ data }: MessageEvent<ToThread>) => {
  if (data === null) {
    if (timer !== null) clearTimeout(timer);
    committer.close();
    answer(null);
    process.exit();
  }
  if ("path" in data) {
    committer = makeCommitter(data.path);
    return;
  }
  answer(committer.commit(data.writes));
  if (data.writes.some(({ kind }) => kind !== "probe")) checkpointLater();
});
