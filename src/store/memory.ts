import type { LoggedEvent, ModelCall } from "../agent/event.ts";
import { type Mark, marksOf } from "../agent/mark.ts";
import type { AgentRow } from "../agent/row.ts";
import { type AgentState, statusOf } from "../agent/state.ts";
import { type Clock, evenClock } from "../clock.ts";
import { EngramError } from "../errors.ts";
import { storeLimits, turnLimits } from "../limits.ts";
import {
  chainHash,
  decodeEvent,
  decodeState,
  encodeEvent,
  encodeState,
  genesisHash,
} from "./codec.ts";
import { type Hints, makeHints, wakes } from "./hints.ts";
import { type Begun, makeStagedLogs, type StagedLogs } from "./memory-staged.ts";
import { makePeers } from "./peers.ts";
import { mustBeKnown } from "./known.ts";
import { allAside, thereAlready } from "./staging.ts";
import { noAgents } from "./tally.ts";
import type {
  Append,
  Creation,
  DraftPiece,
  Holder,
  Lease,
  LeaseWish,
  Store,
  StoredEvent,
} from "./store.ts";

type Entry = {
  row: AgentRow;
  readonly log: { readonly sequence: number; readonly atMs: number; readonly body: string }[];
  readonly marks: Map<string, Mark>;
  snapshot: string | null;
  draft: { readonly call: ModelCall; readonly pieces: DraftPiece[] } | null;
  wakeAtMs: number | null;
  worker: string | null;
  leaseUntilMs: number;
  epoch: number;
  claims: number;
  workedMs: number;
};

type Memory = {
  readonly agents: Map<string, Entry>;
  readonly staged: StagedLogs;
  readonly requests: Map<string, { readonly agentId: string; readonly digest: string }>;
  readonly hints: Hints;
};

/** The store's promise in its plainest form, but for durability: what the other stores are compared with. */
export function openMemoryStore(clock: Clock): Store {
  const agents: Memory["agents"] = new Map();
  const staged = makeStagedLogs((agentId) => agents.has(agentId));
  const memory: Memory = { agents, staged, requests: new Map(), hints: makeHints() };
  return {
    nowMs: evenClock(clock),
    ...logs(memory),
    ...stored(memory),
    ...drafts(memory),
    ...listings(memory),
    ...leases(memory),
    ...makePeers(),
    follow: memory.hints.follow,
    followWakes: (hint) => memory.hints.follow(wakes, hint),
    probe: async () => {},
    close: async () => {},
  };
}

const nobody: ReadonlySet<string> = new Set();

function entryOf(agents: Memory["agents"], agentId: string): Entry {
  const entry = agents.get(agentId);
  if (entry === undefined) throw new EngramError("not_found", `no agent ${agentId}`);
  return entry;
}

function fenced(memory: Memory, { agentId, epoch }: Pick<Holder, "agentId" | "epoch">): Entry {
  const entry = entryOf(memory.agents, agentId);
  if (entry.epoch === epoch) return entry;
  throw new EngramError("fenced", `epoch ${epoch} of agent ${agentId} is stale`);
}

const logs = (memory: Memory): Pick<Store, "create" | "made" | "append" | "read" | "remove"> => ({
  made: async ({ requestId, digest }) => {
    const known = memory.requests.get(requestId);
    return known?.digest === digest ? known.agentId : null;
  },
  create: async (given) => {
    const creation = await allAside(memory.staged.stage, given);
    const { agentId, request } = creation;
    const known = request === null ? undefined : memory.requests.get(request.requestId);
    if (known !== undefined) {
      if (known.digest === request?.digest && creation.moved === null)
        return { agentId: known.agentId, created: false, lease: null };
      throw new EngramError(
        "already_exists",
        `request_id ${request?.requestId} was used for agent ${known.agentId}`,
      );
    }
    if (memory.agents.has(agentId)) throw thereAlready(agentId);
    const entry = entryFor(creation, memory.staged.take(creation));
    memory.agents.set(agentId, entry);
    if (request !== null)
      memory.requests.set(request.requestId, { agentId, digest: request.digest });
    const lease = grant(entry, creation.wish, creation.wakeAtMs, creation.nowMs);
    memory.hints.send(agentId);
    memory.hints.send(wakes);
    return { agentId, created: true, lease };
  },
  append: async (append) => {
    const { agentId, epoch } = append;
    const entry =
      epoch === null ? entryOf(memory.agents, agentId) : fenced(memory, { agentId, epoch });
    if (entry.row.sequence !== append.after)
      throw new EngramError(
        "conflict",
        `the log of ${agentId} is at ${entry.row.sequence}, not ${append.after}`,
      );
    const lease = write(entry, append);
    memory.hints.send(agentId);
    memory.hints.send(wakes);
    return lease;
  },
  read: async (agentId, after, knownAtMs) => {
    const { log } = entryOf(memory.agents, agentId);
    mustBeKnown(agentId, knownAtMs, log[after - 1]?.atMs);
    return log
      .slice(after, after + storeLimits.readEventsMax)
      .map(({ sequence, atMs, body }): LoggedEvent => ({
        sequence,
        atMs,
        event: decodeEvent(body),
      }));
  },
  remove: async (agentId, _atMs, force) => {
    if (!force && entryOf(memory.agents, agentId).row.status === "waiting_for_step")
      throw new EngramError(
        "failed_precondition",
        `agent ${agentId} is working; pause or cancel it first, or delete it with force`,
      );
    entryOf(memory.agents, agentId);
    memory.agents.delete(agentId);
    for (const [requestId, request] of memory.requests)
      if (request.agentId === agentId) memory.requests.delete(requestId);
    memory.hints.send(agentId);
  },
});

const stored = (memory: Memory): Pick<Store, "stage" | "unstage" | "readStored" | "aside"> => ({
  stage: memory.staged.stage,
  unstage: memory.staged.unstage,
  readStored: async (agentId, after) =>
    chained(agentId, entryOf(memory.agents, agentId).log).slice(
      after,
      after + storeLimits.readEventsMax,
    ),
  aside: async (agentId) => {
    const { workedMs } = entryOf(memory.agents, agentId);
    const [request] = [...memory.requests].filter(([, made]) => made.agentId === agentId);
    return {
      workedMs,
      request: request === undefined ? null : { requestId: request[0], digest: request[1].digest },
    };
  },
});

function chained(agentId: string, log: Entry["log"]): readonly StoredEvent[] {
  let hash = genesisHash(agentId);
  return log.map(({ sequence, atMs, body }) => {
    hash = chainHash(hash, sequence, atMs, body);
    return { sequence, atMs, body, hash: hash.toHex() };
  });
}

const drafts = (memory: Memory): Pick<Store, "writeDraft" | "readDraft"> => ({
  writeDraft: async (holder, call, pieces) => {
    const entry = fenced(memory, holder);
    mustWork(entry);
    const begun = entry.draft?.call.afterSequence === call.afterSequence ? entry.draft : null;
    entry.draft = { call, pieces: begun?.pieces ?? [] };
    entry.draft.pieces.push(...pieces);
    entry.claims = 0;
    entry.workedMs = holder.workedMs;
    memory.hints.send(holder.agentId);
  },
  readDraft: async (agentId, from) => {
    const draft = memory.agents.get(agentId)?.draft ?? null;
    if (draft === null) return null;
    const { call, pieces } = draft;
    return {
      call,
      pieces: pieces.slice(from, from + storeLimits.readEventsMax),
      piecesTotal: pieces.length,
    };
  },
});

const listings = ({
  agents,
}: Memory): Pick<Store, "row" | "list" | "tally" | "marks" | "snapshot"> => ({
  marks: async (agentId, keys) => {
    const marks = agents.get(agentId)?.marks;
    const found = keys.flatMap((key) => marks?.get(key) ?? []);
    return new Map(found.map((mark) => [mark.key, mark]));
  },
  snapshot: async (agentId) => {
    const { snapshot } = entryOf(agents, agentId);
    return snapshot === null ? null : decodeState(snapshot);
  },
  row: async (agentId, nowMs) => {
    const entry = agents.get(agentId);
    return entry === undefined ? null : shown(entry, nowMs);
  },
  list: async ({ status, limit, beforeAgentId }, nowMs) =>
    [...agents.values()]
      .map((entry) => shown(entry, nowMs))
      .filter((row) => status === null || row.status === status)
      .filter((row) => beforeAgentId === null || row.agentId < beforeAgentId)
      .toSorted((a, b) => (a.agentId < b.agentId ? 1 : -1))
      .slice(0, limit),
  tally: async (nowMs) => {
    const counts = noAgents();
    for (const entry of agents.values()) counts[shown(entry, nowMs).status]++;
    const due = [...agents.values()]
      .flatMap(({ wakeAtMs }) => wakeAtMs ?? [])
      .filter((wakeAtMs) => wakeAtMs <= nowMs)
      .toSorted((a, b) => a - b);
    return { agents: counts, due: due.length, dueSinceMs: due[0] ?? null };
  },
});

const leases = ({
  agents,
  hints,
}: Memory): Pick<Store, "claim" | "renew" | "release" | "nextWakeMs"> => ({
  claim: async (wish, nowMs, limit, skip = nobody) => {
    const due = [...agents.values()]
      .filter(
        ({ wakeAtMs, row }) => wakeAtMs !== null && wakeAtMs <= nowMs && !skip.has(row.agentId),
      )
      .toSorted((a, b) => (a.wakeAtMs ?? 0) - (b.wakeAtMs ?? 0));
    const trusted = due.filter(({ claims }) => claims < turnLimits.claimsTrusted);
    const tried = due
      .toSorted((a, b) => a.claims - b.claims)
      .slice(0, wish.trustedOnly === true ? 0 : 1);
    const taken = (trusted.length > 0 ? trusted : tried)
      .slice(0, limit)
      .map((entry) => take(entry, wish));
    if (taken.length > 0) hints.send(wakes);
    return taken;
  },
  renew: async (held, untilMs) =>
    held
      .filter(({ agentId, epoch, workedMs }) => {
        const entry = agents.get(agentId);
        if (entry?.epoch !== epoch || entry.worker === null) return true;
        entry.wakeAtMs = entry.leaseUntilMs = untilMs;
        entry.workedMs = workedMs;
        return false;
      })
      .map(({ agentId }) => agentId),
  release: async ({ agentId, epoch, workedMs }, after, wakeAtMs) => {
    const entry = agents.get(agentId);
    if (entry?.epoch !== epoch || entry.worker === null) return true;
    if (after !== null && entry.row.sequence !== after) return false;
    letGo(entry, wakeAtMs);
    entry.workedMs = workedMs;
    hints.send(wakes);
    return true;
  },
  nextWakeMs: async (skip = nobody) =>
    [...agents.values()]
      .filter(({ row }) => !skip.has(row.agentId))
      .reduce<number | null>(
        (next, { wakeAtMs }) =>
          wakeAtMs === null || (next ?? Infinity) < wakeAtMs ? next : wakeAtMs,
        null,
      ),
});

function mustWork({ row }: Entry): void {
  if (row.status === "waiting_for_step") return;
  throw new EngramError("conflict", `agent ${row.agentId} is ${row.status}`);
}

function rowOf(agentId: string, state: AgentState, updatedAtMs: number): AgentRow {
  const { createdAtMs, reason, sequence, stats, spec, parent } = state;
  const status = statusOf(state);
  return { agentId, createdAtMs, updatedAtMs, status, reason, sequence, stats, spec, parent };
}

function entryFor({ agentId, state, snapshot, moved }: Creation, { placed, marks }: Begun): Entry {
  const draft = moved?.draft ?? null;
  return {
    row: rowOf(agentId, state, state.updatedAtMs),
    log: placed.map(({ atMs, body }, index) => ({ sequence: index + 1, atMs, body })),
    marks: new Map(marks.map((mark) => [mark.key, mark])),
    snapshot: snapshot ? encodeState(state) : null,
    draft: draft === null ? null : { call: draft.call, pieces: [...draft.pieces] },
    wakeAtMs: null,
    worker: null,
    leaseUntilMs: 0,
    epoch: moved?.epoch ?? 0,
    claims: 0,
    workedMs: moved?.workedMs ?? 0,
  };
}

function write(entry: Entry, append: Append): Lease | null {
  const { after, atMs, nowMs, events, state, epoch, leaseUntilMs, wakeAtMs, wish } = append;
  for (const [index, event] of events.entries())
    entry.log.push({ sequence: after + index + 1, atMs, body: encodeEvent(event) });
  for (const mark of marksOf(events, after))
    if (!entry.marks.has(mark.key)) entry.marks.set(mark.key, mark);
  if (append.snapshot) entry.snapshot = encodeState(state);
  entry.row = rowOf(append.agentId, state, atMs);
  if (append.dropDraft) entry.draft = null;
  if (epoch === null) return grant(entry, wish, wakeAtMs, nowMs);
  entry.workedMs = 0;
  entry.claims = 0;
  if (leaseUntilMs === null) letGo(entry, wakeAtMs);
  else entry.wakeAtMs = entry.leaseUntilMs = leaseUntilMs;
  return null;
}

/** A command's wake time, unless the agent is driven; and the lease, where it was wished for and the agent is due. */
function grant(
  entry: Entry,
  wish: LeaseWish | null,
  wakeAtMs: number | null,
  nowMs: number,
): Lease | null {
  if (entry.worker !== null && entry.leaseUntilMs > nowMs) return null;
  entry.wakeAtMs = wakeAtMs;
  return wish !== null && wakeAtMs !== null && wakeAtMs <= nowMs ? take(entry, wish) : null;
}

function take(entry: Entry, { worker, untilMs }: LeaseWish): Lease {
  const recovered = entry.worker !== null;
  entry.worker = worker;
  entry.wakeAtMs = entry.leaseUntilMs = untilMs;
  entry.epoch++;
  entry.claims++;
  const { row, epoch, claims, workedMs } = entry;
  return { agentId: row.agentId, epoch, claims, recovered, workedMs };
}

function letGo(entry: Entry, wakeAtMs: number | null): void {
  entry.claims = 0;
  entry.worker = null;
  entry.leaseUntilMs = 0;
  entry.wakeAtMs = wakeAtMs;
}

const shown = ({ row, worker, leaseUntilMs }: Entry, nowMs: number): AgentRow =>
  row.status === "waiting_for_step" && worker !== null && leaseUntilMs > nowMs
    ? { ...row, status: "processing" }
    : row;
