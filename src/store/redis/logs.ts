import type { LoggedEvent } from "../../agent/event.ts";
import type { Mark } from "../../agent/mark.ts";
import { statusOf } from "../../agent/state.ts";
import { EngramError } from "../../errors.ts";
import { redisLimits, storeLimits } from "../../limits.ts";
import {
  chainHash,
  decodeEvent,
  decodeState,
  encodeState,
  genesisHash,
  snapshotHash,
} from "../codec.ts";
import type { Base } from "./base.ts";
import type { Head, Heads } from "./heads.ts";
import { leaseOf } from "./leases.ts";
import { infoOf, specOf } from "./row.ts";
import { mustBeKnown } from "../known.ts";
import { scripts } from "./scripts.ts";
import { flag, given, hashOf, listOf, numberOf, textOf, textOrNull } from "./values.ts";
import { chainedEvents } from "./chain.ts";
import type { Append, Lease, Store, StoredEvent } from "../store.ts";

const missing = (agentId: string): EngramError =>
  new EngramError("not_found", `no agent ${agentId}`);

export const logs = (
  base: Base,
  heads: Heads,
): Pick<Store, "append" | "read" | "readStored" | "marks" | "snapshot"> => ({
  append: async (append) => {
    const { agentId, after } = append;
    let known = heads.get(agentId);
    for (let tries = 0; ; tries++) {
      const from = known?.sequence === after ? known : await askHead(base, append);
      const answer = await tryAppend(base, append, from);
      if (answer.outcome === "done") {
        heads.set(agentId, answer.head);
        base.hints.send(agentId);
        base.hints.woken(answer.wakeAt);
        return answer.lease;
      }
      // What was remembered is of a log that was deleted and made again under this id.
      heads.forget(agentId);
      known = { sequence: after, hash: answer.hash };
      if (tries >= redisLimits.redirectsMax)
        throw new EngramError("conflict", `the log of ${agentId} changes all the time`);
    }
  },
  read: async (agentId, after, knownAtMs) =>
    (await readEvents({ base, heads }, agentId, after, knownAtMs)).map(decoded),
  readStored: (agentId, after) => readEvents({ base, heads }, agentId, after),
  marks: async (agentId, keys) => {
    if (keys.length === 0) return new Map();
    const shard = base.shards.of(agentId);
    const found = listOf(await base.ask(shard, "HMGET", shard.marks(agentId), ...keys));
    const marks = keys.flatMap((key, index): readonly Mark[] => {
      const value = textOrNull(found[index]);
      if (value === null) return [];
      const space = value.indexOf(" ");
      return [{ key, sequence: Number(value.slice(0, space)), digest: value.slice(space + 1) }];
    });
    return new Map(marks.map((mark) => [mark.key, mark]));
  },
  snapshot: async (agentId) => {
    const shard = base.shards.of(agentId);
    const keys = [shard.agent(agentId), shard.log(agentId)];
    const reply = listOf(await base.run(shard, scripts.snapshot, { keys, args: [] }));
    if (reply[0] === "missing") throw missing(agentId);
    if (reply[0] === "none") return null;
    const [, sequence, body, hash, eventHash] = reply.map(textOf);
    const expected = snapshotHash(hashOf(eventHash ?? ""), body ?? "");
    if (expected.toHex() === hash) return decodeState(body ?? "");
    throw new EngramError(
      "corrupt",
      `the snapshot of agent ${agentId} at event ${sequence} was changed in the store`,
    );
  },
});

const conflict = (agentId: string, head: string | number, after: number): EngramError =>
  new EngramError("conflict", `the log of ${agentId} is at ${head}, not ${after}`);

const stale = (agentId: string, epoch: number | null): EngramError =>
  new EngramError("fenced", `epoch ${epoch} of agent ${agentId} is stale`);

/** The hash of the head that the writer knew. Fails as the append would. */
async function askHead(base: Base, { agentId, after, epoch }: Append): Promise<Head> {
  const shard = base.shards.of(agentId);
  const [head, hash, held] = listOf(
    await base.glance(shard, "HMGET", shard.agent(agentId), "head", "hash", "epoch"),
  );
  if (head === null) throw missing(agentId);
  if (epoch !== null && numberOf(held) !== epoch) throw stale(agentId, epoch);
  if (numberOf(head) !== after) throw conflict(agentId, numberOf(head), after);
  return { sequence: after, hash: textOf(hash) };
}

async function tryAppend(
  base: Base,
  append: Append,
  from: Head,
): Promise<
  | {
      readonly outcome: "done";
      readonly head: Head;
      readonly lease: Lease | null;
      readonly wakeAt: unknown;
    }
  /** The log is another than the known one: its hash at this place. */
  | { readonly outcome: "other"; readonly hash: string }
> {
  const { agentId, after, atMs, nowMs, events, state, epoch } = append;
  const { leaseUntilMs, wakeAtMs, wish } = append;
  const shard = base.shards.of(agentId);
  const dated = events.map((event) => ({ atMs, event }));
  const { args, hash, head } = chainedEvents(from, dated);
  const specChanged = events.some(({ type }) => type === "AgentEdited" || type === "AgentForked");
  const snapshot = append.snapshot ? encodeState(state) : "";
  const reply = listOf(
    await base.change(agentId, scripts.append, {
      keys: [
        shard.agent(agentId),
        shard.log(agentId),
        shard.draft(agentId),
        shard.marks(agentId),
        shard.wake,
        shard.index,
        shard.channel,
      ],
      args: [
        agentId,
        given(epoch),
        `${after}`,
        from.hash,
        `${head.sequence}`,
        head.hash,
        statusOf(state),
        infoOf(state),
        specChanged ? specOf(state) : "",
        `${nowMs}`,
        given(wakeAtMs),
        given(wish?.worker),
        given(wish?.untilMs),
        given(leaseUntilMs),
        flag(append.dropDraft),
        snapshot,
        snapshot === "" ? "" : snapshotHash(hash, snapshot).toHex(),
        ...base.telling(shard),
        ...args,
      ],
    }),
  );
  switch (reply[0]) {
    case "missing":
      throw missing(agentId);
    case "fenced":
      throw stale(agentId, epoch);
    case "conflict":
      throw conflict(agentId, textOf(reply[1]), after);
    case "other":
      return { outcome: "other", hash: textOf(reply[1]) };
    default:
      return { outcome: "done", head, lease: leaseOf(agentId, reply[1]), wakeAt: reply[2] };
  }
}

const decoded = ({ sequence, atMs, body }: StoredEvent): LoggedEvent => ({
  sequence,
  atMs,
  event: decodeEvent(body),
});

/** A page of the log, its hashes checked against the chain. */
async function readEvents(
  { base, heads }: { readonly base: Base; readonly heads: Heads },
  agentId: string,
  after: number,
  knownAtMs?: number,
): Promise<readonly StoredEvent[]> {
  const shard = base.shards.of(agentId);
  const { readEventsMax, readBytesMax } = storeLimits;
  const reply = listOf(
    await base.run(shard, scripts.read, {
      keys: [shard.agent(agentId), shard.log(agentId)],
      args: [`${after}`, `${readEventsMax}`, `${readBytesMax}`],
    }),
  );
  if (reply[0] === "missing") throw missing(agentId);
  const head: Head = { sequence: numberOf(reply[1]), hash: textOf(reply[2]) };
  heads.set(agentId, head);
  const page: StoredEvent[] = [];
  const entries = listOf(reply[3]).map((entry) => listOf(entry).map(textOf));
  const [id, at] = entries[0] ?? [];
  if (after > 0) mustBeKnown(agentId, knownAtMs, id === `0-${after}` ? Number(at) : undefined);
  if (after >= head.sequence) return page;
  let previous = after === 0 ? genesisHash(agentId) : null;
  // The event before the page comes with it, for its hash.
  let expected = Math.max(1, after);
  for (const [place = "", atText = "", body = "", kept = ""] of entries) {
    const atMs = Number(atText);
    if (place !== `0-${expected}`) break;
    if (previous !== null) {
      const hash = chainHash(previous, expected, atMs, body).toHex();
      if (hash !== kept || (expected === head.sequence && hash !== head.hash))
        throw damaged(agentId, expected, "was changed");
      page.push({ sequence: expected, atMs, body, hash });
    }
    previous = hashOf(kept);
    expected++;
  }
  if (page.length === 0) throw damaged(agentId, expected, "is missing");
  return page;
}

const damaged = (agentId: string, sequence: number, what: string): EngramError =>
  new EngramError("corrupt", `event ${sequence} of agent ${agentId} ${what} in the store`);
