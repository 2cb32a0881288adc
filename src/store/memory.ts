import type { LoggedEvent, ModelCall } from "../agent/event.ts";
import type { AgentRow } from "../agent/row.ts";
import { type AgentState, statusOf } from "../agent/state.ts";
import { EngramError } from "../errors.ts";
import { storeLimits } from "../limits.ts";
import { decodeEvent, encodeEvent } from "./codec.ts";
import { type Hints, makeHints, wakes } from "./hints.ts";
import type { Append, Creation, DraftPiece, Lease, LeaseWish, Store } from "./store.ts";

type Entry = {
  row: AgentRow;
  readonly log: { readonly sequence: number; readonly atMs: number; readonly body: string }[];
  draft: { readonly call: ModelCall; readonly pieces: DraftPiece[] } | null;
  wakeAtMs: number | null;
  worker: string | null;
  leaseUntilMs: number;
  epoch: number;
  claims: number;
};

type Memory = {
  readonly agents: Map<string, Entry>;
  readonly requests: Map<string, { readonly agentId: string; readonly digest: string }>;
  readonly hints: Hints;
};

/** The store's promise in its plainest form, but for durability: what the other stores are compared with. */
export function openMemoryStore(): Store {
  const memory: Memory = { agents: new Map(), requests: new Map(), hints: makeHints() };
  return {
    ...logs(memory),
    ...drafts(memory),
    ...listings(memory),
    ...leases(memory),
    follow: memory.hints.follow,
    followWakes: (hint) => memory.hints.follow(wakes, hint),
    probe: async () => {},
    close: async () => {},
  };
}

function entryOf({ agents }: Memory, agentId: string): Entry {
  const entry = agents.get(agentId);
  if (entry === undefined) throw new EngramError("not_found", `no agent ${agentId}`);
  return entry;
}

function fenced(memory: Memory, agentId: string, epoch: number): Entry {
  const entry = entryOf(memory, agentId);
  if (entry.epoch === epoch) return entry;
  throw new EngramError("fenced", `epoch ${epoch} of agent ${agentId} is stale`);
}

const logs = (memory: Memory): Pick<Store, "create" | "append" | "read" | "remove"> => ({
  create: async (creation) => {
    const { agentId, request } = creation;
    const known = request === null ? undefined : memory.requests.get(request.requestId);
    if (known !== undefined) {
      if (known.digest === request?.digest)
        return { agentId: known.agentId, created: false, lease: null };
      throw new EngramError("already_exists", "request_id was used for another agent");
    }
    if (memory.agents.has(agentId))
      throw new EngramError("already_exists", `agent ${agentId} is there already`);
    const entry = entryFor(creation);
    memory.agents.set(agentId, entry);
    if (request !== null)
      memory.requests.set(request.requestId, { agentId, digest: request.digest });
    const lease = grant(entry, creation.wish, creation.wakeAtMs, creation.atMs);
    memory.hints.send(agentId);
    memory.hints.send(wakes);
    return { agentId, created: true, lease };
  },
  append: async (append) => {
    const { agentId, epoch } = append;
    const entry = epoch === null ? entryOf(memory, agentId) : fenced(memory, agentId, epoch);
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
  read: async (agentId, after) =>
    entryOf(memory, agentId)
      .log.slice(after, after + storeLimits.readEventsMax)
      .map(({ sequence, atMs, body }): LoggedEvent => ({
        sequence,
        atMs,
        event: decodeEvent(body),
      })),
  remove: async (agentId, _atMs, force) => {
    if (!force && entryOf(memory, agentId).row.status === "waiting_for_step")
      throw new EngramError(
        "failed_precondition",
        `agent ${agentId} is working; pause or cancel it first, or delete it with force`,
      );
    entryOf(memory, agentId);
    memory.agents.delete(agentId);
    for (const [requestId, request] of memory.requests)
      if (request.agentId === agentId) memory.requests.delete(requestId);
    memory.hints.send(agentId);
  },
});

const drafts = (memory: Memory): Pick<Store, "writeDraft" | "readDraft"> => ({
  writeDraft: async (agentId, epoch, call, pieces) => {
    const entry = fenced(memory, agentId, epoch);
    mustWork(entry);
    const begun = entry.draft?.call.afterSequence === call.afterSequence ? entry.draft : null;
    entry.draft = { call, pieces: begun?.pieces ?? [] };
    entry.draft.pieces.push(...pieces);
    entry.claims = 0;
    memory.hints.send(agentId);
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

const listings = ({ agents }: Memory): Pick<Store, "row" | "list"> => ({
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
});

const leases = ({
  agents,
  hints,
}: Memory): Pick<Store, "claim" | "renew" | "release" | "nextWakeMs"> => ({
  claim: async (wish, nowMs, limit) => {
    const taken = [...agents.values()]
      .filter(({ wakeAtMs }) => wakeAtMs !== null && wakeAtMs <= nowMs)
      .toSorted((a, b) => (a.wakeAtMs ?? 0) - (b.wakeAtMs ?? 0))
      .slice(0, limit)
      .map((entry) => take(entry, wish));
    hints.send(wakes);
    return taken;
  },
  renew: async (held, untilMs) =>
    held
      .filter(({ agentId, epoch }) => {
        const entry = agents.get(agentId);
        if (entry?.epoch !== epoch || entry.worker === null) return true;
        entry.wakeAtMs = entry.leaseUntilMs = untilMs;
        return false;
      })
      .map(({ agentId }) => agentId),
  release: async ({ agentId, epoch }, after, wakeAtMs) => {
    const entry = agents.get(agentId);
    if (entry?.epoch !== epoch || entry.worker === null) return true;
    if (after !== null && entry.row.sequence !== after) return false;
    letGo(entry, wakeAtMs);
    hints.send(wakes);
    return true;
  },
  nextWakeMs: async () =>
    [...agents.values()].reduce<number | null>(
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

function entryFor({ agentId, events, state, atMs }: Creation): Entry {
  return {
    row: rowOf(agentId, state, atMs),
    log: events.map(({ atMs: eventAtMs, event }, index) => ({
      sequence: index + 1,
      atMs: eventAtMs,
      body: encodeEvent(event),
    })),
    draft: null,
    wakeAtMs: null,
    worker: null,
    leaseUntilMs: 0,
    epoch: 0,
    claims: 0,
  };
}

function write(entry: Entry, append: Append): Lease | null {
  const { after, atMs, events, state, epoch, leaseUntilMs, wakeAtMs, wish } = append;
  for (const [index, event] of events.entries())
    entry.log.push({ sequence: after + index + 1, atMs, body: encodeEvent(event) });
  entry.row = rowOf(append.agentId, state, atMs);
  if (append.dropDraft) entry.draft = null;
  if (epoch === null) return grant(entry, wish, wakeAtMs, atMs);
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
  return { agentId: entry.row.agentId, epoch: entry.epoch, claims: entry.claims, recovered };
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
