import { messageOf } from "../../errors.ts";
import { openReadOnly } from "./open-readonly.ts";
import { type Finding, findingsOf } from "./scrub.ts";

/*
 * The thread that walks a large store while the engine serves it. Started by scrub-worker.ts.
 */

/** From the thread; null: all was walked, and the thread ends. */
export type FromScrub = Finding | null;

declare const self: Worker;

const answer = (message: FromScrub): void => self.postMessage(message, []);

self.addEventListener("message", ({ data: path }: MessageEvent<string>) => {
  try {
    const db = openReadOnly(path);
    for (const finding of findingsOf(db)) if (finding !== null) answer(finding);
    db.close(true);
  } catch (error) {
    answer({ agentId: null, fault: `it cannot be read: ${messageOf(error)}` });
  }
  answer(null);
  process.exit();
});
