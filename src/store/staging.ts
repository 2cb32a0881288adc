import type { Event } from "../agent/event.ts";
import { type Mark, marksOf } from "../agent/mark.ts";
import { EngramError } from "../errors.ts";
import { storeLimits } from "../limits.ts";
import { chainHash, encodeEvent } from "./codec.ts";
import type { Creation, Dated, Store } from "./store.ts";

/** An event as it is stored. */
export type Placed = { readonly atMs: number; readonly body: string };

/** Events that are put aside in one step. */
export type StagedPage = {
  readonly after: number;
  readonly events: readonly Placed[];
  readonly marks: readonly Mark[];
  /** The place of the last AgentForked among them: messages' marks from before it are stale. 0: there is none. */
  readonly forkedAt: number;
};

/** What stands aside for one agent. */
export interface Staging {
  /** Puts a page there, but for what stands there already. True: stale marks stand beside it, to be cleared next. */
  add(page: StagedPage): Promise<boolean>;
  /** Removes stale marks, about a page of them. True: there are more. */
  clear(): Promise<boolean>;
}

/** Puts events aside behind `after`, page by page; each page is made when the one before it is there. */
export async function putAside(
  aside: Staging,
  after: number,
  events: readonly Dated[],
): Promise<void> {
  for (const page of pagesOf(after, events)) {
    let stale = await aside.add(page);
    while (stale) stale = await aside.clear();
  }
}

function* pagesOf(after: number, events: readonly Dated[]): Generator<StagedPage> {
  let begun = after;
  let placed: Placed[] = [];
  let bytes = 0;
  for (const [index, { atMs, event }] of events.entries()) {
    const body = encodeEvent(event);
    placed.push({ atMs, body });
    bytes += body.length;
    const isLast = index + 1 === events.length;
    if (
      !isLast &&
      placed.length < storeLimits.stagedEventsMax &&
      bytes <= storeLimits.stagedBytesMax
    )
      continue;
    const facts = events.slice(begun - after, index + 1).map((dated) => dated.event);
    yield pageOf(begun, placed, facts);
    begun += placed.length;
    placed = [];
    bytes = 0;
  }
}

function pageOf(after: number, events: readonly Placed[], facts: readonly Event[]): StagedPage {
  const fork = facts.findLastIndex(({ type }) => type === "AgentForked");
  const forkedAt = fork < 0 ? 0 : after + fork + 1;
  return { after, events, marks: marksOf(facts, after), forkedAt };
}

/**
 * What of a page is still to be put behind the `head` events that stand aside: those before it are shown to be the same by
 * the hash at each place, as `hashAt` has it. Null: others stand there, or fewer than the page comes behind.
 */
export function restOf(
  page: StagedPage,
  head: number,
  hashAt: (sequence: number) => Uint8Array | null,
): StagedPage | null {
  if (page.after === head) return page;
  const common = Math.min(head - page.after, page.events.length);
  const before = common < 0 ? null : hashAt(page.after);
  if (before === null) return null;
  const hash = chained(before, page.after, page.events.slice(0, common)).at(-1);
  if (!Bun.deepEquals(hash, hashAt(page.after + common))) return null;
  const after = page.after + common;
  return {
    after,
    events: page.events.slice(common),
    marks: page.marks.filter(({ sequence }) => sequence > after),
    forkedAt: page.forkedAt > after ? page.forkedAt : 0,
  };
}

/** The hash of each event behind the one that has `hash`. */
export function chained(
  hash: Uint8Array,
  after: number,
  events: readonly Placed[],
): readonly Uint8Array[] {
  let last = hash;
  return events.map(({ atMs, body }, index) => {
    last = chainHash(last, after + index + 1, atMs, body);
    return last;
  });
}

/** A creation that takes over all of its events from aside, where it takes over some: so it is small, however they came. */
export async function allAside(stage: Store["stage"], creation: Creation): Promise<Creation> {
  const { agentId, staged, events, nowMs } = creation;
  if (staged === 0 || events.length === 0) return creation;
  try {
    await stage(agentId, staged, events, nowMs);
  } catch (error) {
    // Of an agent that is there the creation knows more.
    if (EngramError.of(error).code !== "already_exists") throw error;
  }
  return { ...creation, staged: staged + events.length, events: [] };
}

export const otherAside = (agentId: string, head: number, wanted: number): EngramError =>
  new EngramError(
    "conflict",
    `${head} events stand aside for agent ${agentId}, other than the ${wanted} that were named: begin anew`,
  );

export const otherHead = (agentId: string, headHash: string): EngramError =>
  new EngramError(
    "invalid_argument",
    `the log of agent ${agentId} does not end with the hash ${headHash}: it is not the one that was written`,
  );

export const thereAlready = (agentId: string): EngramError =>
  new EngramError("already_exists", `agent ${agentId} is there already`);
