import type { Event, LoggedEvent } from "../../agent/event.ts";
import { type Mark, marksOf } from "../../agent/mark.ts";
import { statusOf } from "../../agent/state.ts";
import { EngramError } from "../../errors.ts";
import { redisLimits, storeLimits } from "../../limits.ts";
import {
  chainHash,
  decodeEvent,
  decodeState,
  encodeEvent,
  encodeState,
  genesisHash,
  snapshotHash,
} from "../codec.ts";
import type { Base } from "./base.ts";
import type { Head, Heads } from "./heads.ts";
import { leaseOf } from "./leases.ts";
import { infoOf, specOf } from "./row.ts";
import { scripts } from "./scripts.ts";
import { listOf, numberOf, textOf, textOrNull } from "./values.ts";
import type { Append, Creation, Lease, Store, StoredEvent } from "../store.ts";

const missing = (agentId: string): EngramError =>
  new EngramError("not_found", `no agent ${agentId}`);

const flag = (on: boolean): string => (on ? "1" : "");
/** Nothing is an empty text. */
const given = (value: string | number | null | undefined): string => `${value ?? ""}`;

const toHex = (hash: Uint8Array): string => hash.toHex();

type Dated = { readonly atMs: number; readonly event: Event };

/** Events and marks as the scripts take them, and the head behind them. */
function chained(from: Head, events: readonly Dated[]) {
  const args: string[] = [`${events.length}`];
  let hash: Uint8Array = Uint8Array.fromHex(from.hash);
  for (const [index, { atMs, event }] of events.entries()) {
    const body = encodeEvent(event);
    hash = chainHash(hash, from.sequence + index + 1, atMs, body);
    args.push(`${atMs}`, body, toHex(hash));
  }
  const facts = events.map(({ event }) => event);
  const marks = marksOf(facts, from.sequence);
  args.push(`${marks.length}`);
  for (const { key, sequence, digest } of marks) args.push(key, `${sequence} ${digest}`);
  const head: Head = { sequence: from.sequence + events.length, hash: toHex(hash) };
  return { args, hash, head };
}

const beginning = (agentId: string): Head => ({ sequence: 0, hash: toHex(genesisHash(agentId)) });

/** Writes the agent of a creation under `agentId`, unless it is there; `reserved`: its request id stands for it. */
export async function writeCreation(
  { base, heads }: { readonly base: Base; readonly heads: Heads },
  agentId: string,
  creation: Creation,
  reserved: boolean,
): Promise<
  | { readonly outcome: "made"; readonly lease: Lease | null }
  /** By which request. */
  | { readonly outcome: "there"; readonly requestId: string }
  | { readonly outcome: "gone" }
> {
  const { events, state, atMs, nowMs, wakeAtMs, wish, request, moved } = creation;
  const draft = moved?.draft ?? null;
  const shard = base.shards.of(agentId);
  const { args, head } = chained(beginning(agentId), events);
  const reply = listOf(
    await base.change(agentId, scripts.create, {
      keys: [
        shard.agent(agentId),
        shard.log(agentId),
        shard.marks(agentId),
        shard.wake,
        shard.index,
        shard.gone,
        shard.channel,
        shard.draft(agentId),
      ],
      args: [
        agentId,
        given(request?.requestId),
        flag(reserved),
        `${head.sequence}`,
        head.hash,
        statusOf(state),
        infoOf(state, atMs),
        specOf(state),
        `${nowMs}`,
        given(wakeAtMs),
        given(wish?.worker),
        given(wish?.untilMs),
        ...base.telling(shard),
        `${moved?.epoch ?? 0}`,
        `${moved?.workedMs ?? 0}`,
        draft === null ? "" : JSON.stringify(draft.call),
        given(draft?.call.afterSequence),
        ...args,
        ...(draft?.pieces ?? []).map((piece) => JSON.stringify(piece)),
      ],
    }),
  );
  if (reply[0] === "there") return { outcome: "there", requestId: textOf(reply[1]) };
  if (reply[0] === "gone") return { outcome: "gone" };
  heads.set(agentId, head);
  base.hints.send(agentId);
  base.hints.woken(reply[2]);
  return { outcome: "made", lease: leaseOf(agentId, reply[1]) };
}

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
  read: async (agentId, after) => (await readEvents(base, heads, agentId, after)).map(decoded),
  readStored: (agentId, after) => readEvents(base, heads, agentId, after),
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
    const expected = snapshotHash(bytesOf(eventHash ?? ""), body ?? "");
    if (toHex(expected) === hash) return decodeState(body ?? "");
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
  const { args, hash, head } = chained(from, dated);
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
        infoOf(state, atMs),
        specChanged ? specOf(state) : "",
        `${nowMs}`,
        given(wakeAtMs),
        given(wish?.worker),
        given(wish?.untilMs),
        given(leaseUntilMs),
        flag(append.dropDraft),
        snapshot,
        snapshot === "" ? "" : toHex(snapshotHash(hash, snapshot)),
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
  base: Base,
  heads: Heads,
  agentId: string,
  after: number,
): Promise<readonly StoredEvent[]> {
  const shard = base.shards.of(agentId);
  // The event before the page is read for its hash.
  const from = Math.max(1, after);
  const limit = storeLimits.readEventsMax + (after === 0 ? 0 : 1);
  const reply = listOf(
    await base.run(shard, scripts.read, {
      keys: [shard.agent(agentId), shard.log(agentId)],
      args: [`${from}`, `${limit}`, `${storeLimits.readBytesMax}`],
    }),
  );
  if (reply[0] === "missing") throw missing(agentId);
  const head: Head = { sequence: numberOf(reply[1]), hash: textOf(reply[2]) };
  heads.set(agentId, head);
  const page: StoredEvent[] = [];
  if (after >= head.sequence) return page;
  let previous = after === 0 ? genesisHash(agentId) : null;
  let expected = from;
  for (const entry of listOf(reply[3])) {
    const [id = "", at = "", body = "", kept = ""] = listOf(entry).map(textOf);
    if (id !== `0-${expected}`) break;
    if (previous !== null) {
      const hash = toHex(chainHash(previous, expected, Number(at), body));
      if (hash !== kept || (expected === head.sequence && hash !== head.hash))
        throw damaged(agentId, expected, "was changed");
      page.push({ sequence: expected, atMs: Number(at), body, hash });
    }
    previous = bytesOf(kept);
    expected++;
  }
  if (page.length === 0) throw damaged(agentId, expected, "is missing");
  return page;
}

/** What is no hash matches none. */
function bytesOf(hex: string): Uint8Array {
  return /^(?:[0-9a-f]{2})*$/.test(hex) ? Uint8Array.fromHex(hex) : new Uint8Array();
}

const damaged = (agentId: string, sequence: number, what: string): EngramError =>
  new EngramError("corrupt", `event ${sequence} of agent ${agentId} ${what} in the store`);
