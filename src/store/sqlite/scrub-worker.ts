import type { Finding } from "./scrub.ts";
import type { FromScrub } from "./scrub-thread.ts";

/** A compiled binary has the module where its folder in src/ says, whichever chunk asks for it. */
const moduleUrl = import.meta.url.includes("/$bunfs/")
  ? new URL("./store/sqlite/scrub-thread.js", import.meta.url)
  : new URL("./scrub-thread.ts", import.meta.url);

/** Walks the database at `path` in a thread of its own; `stop` ends it early. */
export function startScrub(path: string, found: (finding: Finding) => void): { stop(): void } {
  const worker = new Worker(moduleUrl);
  worker.addEventListener("message", ({ data }: MessageEvent<FromScrub>) => {
    if (data !== null) found(data);
  });
  worker.addEventListener("error", ({ message }) =>
    found({ agentId: null, fault: `the check has ended: ${message}` }),
  );
  worker.postMessage(path, []);
  return { stop: () => worker.terminate() };
}
