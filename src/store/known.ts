import { EngramError } from "../errors.ts";

/** Throws conflict where an event was recorded at another time than its reader knows (undefined: it does not know), or is not there. */
export function mustBeKnown(
  agentId: string,
  knownAtMs: number | undefined,
  atMs: number | undefined,
): void {
  if (knownAtMs === undefined || knownAtMs === atMs) return;
  throw new EngramError(
    "conflict",
    `the log of ${agentId} is not the one that was read: it was deleted and brought back since`,
  );
}
