import { storeLimits } from "../../limits.ts";
import {
  type Staging,
  otherAside,
  putAside,
  restOf,
  type StagedPage,
  thereAlready,
} from "../staging.ts";
import type { Base } from "./base.ts";
import { beginning, chainedPage } from "./chain.ts";
import type { Head, Heads } from "./heads.ts";
import { scripts } from "./scripts.ts";
import { given, hashOf, listOf, numberOf, textOf, textOrNull } from "./values.ts";
import type { Store } from "../store.ts";

/*
 * What stands aside for an agent has keys of its own, which a creation renames; nobody else looks at them. Redis itself
 * throws them away, all at one time, which each page sets anew.
 */

type Tools = { readonly base: Base; readonly heads: Heads };

export const staging = (tools: Tools): Pick<Store, "stage" | "unstage"> => ({
  stage: (agentId, after, events) => putAside(asideIn(tools, agentId), after, events),
  unstage: async (agentId) => {
    const { base, heads } = tools;
    const shard = base.shards.of(agentId);
    const keys = [shard.staged(agentId), shard.stagedLog(agentId), shard.stagedMarks(agentId)];
    await base.run(shard, scripts.unstage, { keys, args: [] });
    heads.forget(agentId);
  },
});

function asideIn(tools: Tools, agentId: string): Staging {
  const { base } = tools;
  const shard = base.shards.of(agentId);
  let cursor = "0";
  return {
    add: (page) => add(tools, agentId, page),
    clear: async () => {
      const reply = listOf(
        await base.run(shard, scripts.unmark, {
          keys: [shard.staged(agentId), shard.stagedMarks(agentId)],
          args: [cursor, `${storeLimits.stagedEventsMax}`],
        }),
      );
      cursor = reply[0] === "more" ? textOf(reply[1]) : "0";
      return reply[0] === "more";
    },
  };
}

/** What stands aside for an agent; the beginning, where nothing does. */
export async function stagedHead(base: Base, agentId: string): Promise<Head> {
  const shard = base.shards.of(agentId);
  const [head, hash] = listOf(
    await base.ask(shard, "HMGET", shard.staged(agentId), "head", "hash"),
  );
  const kept = textOrNull(hash);
  return kept === null ? beginning(agentId) : { sequence: numberOf(head), hash: kept };
}

/** Mostly what stands there is what this engine saw last; where not, what does says what of the page is left to write. */
async function add(tools: Tools, agentId: string, page: StagedPage): Promise<boolean> {
  const { base, heads } = tools;
  const known = page.after === 0 ? beginning(agentId) : heads.get(agentId);
  const from = known?.sequence === page.after ? known : await stagedHead(base, agentId);
  const other = await tryAdd(tools, agentId, page, from);
  if (other === null) return page.forkedAt > 0;
  const { head, hashes, stale } = other;
  const rest = restOf(page, head.sequence, (sequence) => hashes.get(sequence) ?? null);
  if (rest !== null && rest.events.length === 0) return stale;
  if (rest !== null && !stale && (await tryAdd(tools, agentId, rest, head)) === null)
    return rest.forkedAt > 0;
  throw otherAside(agentId, head.sequence, page.after);
}

type Other = {
  readonly head: Head;
  /** Before the page, and of the last event of it that may be there. */
  readonly hashes: ReadonlyMap<number, Uint8Array>;
  readonly stale: boolean;
};

/** Null: the page stands there; else what does. */
async function tryAdd(
  { base, heads }: Tools,
  agentId: string,
  { after, events, marks, forkedAt }: StagedPage,
  from: Head,
): Promise<Other | null> {
  const shard = base.shards.of(agentId);
  const { args, head } = chainedPage({ ...from, sequence: after }, events, marks);
  const reply = listOf(
    await base.run(shard, scripts.stage, {
      keys: [
        shard.agent(agentId),
        shard.staged(agentId),
        shard.stagedLog(agentId),
        shard.stagedMarks(agentId),
      ],
      args: [
        `${after}`,
        from.hash,
        `${head.sequence}`,
        head.hash,
        given(forkedAt || null),
        `${storeLimits.stagedKeptMs}`,
        ...args,
      ],
    }),
  );
  if (reply[0] === "there") throw thereAlready(agentId);
  if (reply[0] === "done") {
    heads.set(agentId, head);
    return null;
  }
  const [, at, hash, before, last, lastHash, forked] = reply;
  const kept = numberOf(at);
  const first = beginning(agentId);
  return {
    head: kept === 0 ? first : { sequence: kept, hash: textOf(hash) },
    hashes: new Map([
      [numberOf(last), hashOf(textOf(lastHash))],
      [after, hashOf(after === 0 ? first.hash : textOf(before))],
    ]),
    stale: textOf(forked) !== "",
  };
}
