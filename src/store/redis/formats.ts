import { EngramError } from "../../errors.ts";
import type { Log } from "../../log.ts";

/*
 * A store's format says how it is written: its keys, the types of events and the fields that nobody can do without.
 * 1. An engine knows the formats from `oldest` to `newest`, and uses a store of any of these. It writes in the store's
 *    format, whatever newer one it knows.
 * 2. An engine learns the format and tells which ones it knows in one script, before it writes anything, and tells it
 *    again with each heartbeat. That counts for `memberMs`; one that stops says goodbye.
 * 3. The format is raised in that same script, by an engine that knows a newer one, where every engine that counts knows
 *    it too. One that tells nothing of formats knows 1 alone. It is never lowered.
 * 4. Every script names the format of its engine, and a shard in which something newer was written refuses it. So behind
 *    what is of one format nothing of an older one is ever written, and no engine misreads events that it does not know.
 * 5. An engine that was silent for so long that the others went on without it, to a format that it does not know, serves
 *    nothing any more and writes nothing. What it got written before it noticed stands where nothing newer did.
 *
 * Whoever changes what is written
 * - adds 1 to `newest`, and keeps `oldest` at least one below it: else there is no restart of one engine after the other;
 * - reads both formats, since what was written before stays as it is;
 * - writes the new one only where `Base.format()` says so. Until then a new event type is not recorded: what would lead to
 *   it is done in the old way, or refused with failed_precondition;
 * - adds 1 to `stateVersion` where the state or its folding changes: engines that share a store then fold such a snapshot
 *   anew, so that needs no new format by itself;
 * - adds 1 to the format of SQLite files, where it is a new event type or status: only so does an older engine refuse them.
 * No new format is needed for a field that older engines may ignore and newer ones can do without: of an event, an index
 * row, a draft's call, and behind the known words of a hint or of what engines tell of themselves.
 */

/** A range of formats, both included. */
export type Formats = { readonly oldest: number; readonly newest: number };

export const knownFormats: Formats = { oldest: 1, newest: 1 };

/** Why a store of this format is not to be used by who knows these; null: it is. */
export function formatFault({ oldest, newest }: Formats, format: number): string | null {
  const has = `the store in Redis has format ${format}, this engine knows formats`;
  if (format > newest) return `${has} up to ${newest}: start a newer engine`;
  if (format < oldest)
    return `${has} from ${oldest} on: start an engine of a version between first`;
  return null;
}

/** The store's format as this engine has learnt it. */
export interface StoreFormat {
  /** null: not yet. */
  learnt(): number | null;
  /** Throws unavailable where the store has become one that this engine does not know. */
  mustBeKnown(): void;
  /** The store, or a part of it, has this format. Throws where it is unknown: failed_precondition where that was found first. */
  learn(format: number): void;
}

/** `shut` is called when the store is not this engine's any more. */
export function makeStoreFormat(known: Formats, log: Log, shut: () => void): StoreFormat {
  let learnt: number | null = null;
  let strange: string | null = null;
  return {
    learnt: () => learnt,
    mustBeKnown: () => {
      if (strange !== null) throw new EngramError("unavailable", strange);
    },
    learn: (format) => {
      const fault = formatFault(known, format);
      if (fault !== null) {
        strange = fault;
        shut();
        throw new EngramError(learnt === null ? "failed_precondition" : "unavailable", fault);
      }
      if (learnt !== null && format > learnt)
        log("info", "the store in Redis has a newer format now", { format });
      learnt = Math.max(learnt ?? 0, format);
    },
  };
}
