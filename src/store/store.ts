import type { Event, LoggedEvent, ModelCall, RequestKey } from "../agent/event.ts";
import type { Marks } from "../agent/mark.ts";
import type { AgentRow } from "../agent/row.ts";
import type { AgentState, Status } from "../agent/state.ts";

/*
 * The promise of a store
 * 1. Every operation is atomic and durable when it resolves: all of it will be read after any crash, or none ever.
 * 2. A log grows by compare-and-append only: events go behind the head that the writer knew, or nowhere (conflict).
 * 3. An agent's epoch rises at each lease. What comes with an older one is refused whole (fenced).
 * 4. Index row, marks, snapshot, wake time and draft change in the same atomic step as the log, and can be rebuilt from it
 *    but for the draft, which is durable in its own right until an append supersedes it.
 * 5. A follower's hint comes after the change it tells of; hints may be merged or lost, what is read is the truth.
 * 6. What is read is what was written: bytes that changed are `corrupt`, never another event.
 * 7. Leases and wake times are in the store's own time, `nowMs`, which never goes back and does not jump; events carry
 *    wall times, which do.
 * Every operation fails with `unavailable` while the store cannot be reached or written.
 */

/** Who drives an agent, and until when. */
export type LeaseWish = {
  readonly worker: string;
  readonly untilMs: number;
  /** A claim gives nobody who was claimed `claimsTrusted` times in vain. */
  readonly trustedOnly?: boolean;
};

/** A worker's hold on an agent, and what the agent has worked since its newest event, in ms. */
export type Holder = {
  readonly agentId: string;
  readonly epoch: number;
  readonly workedMs: number;
};

/** The right to drive one agent; `workedMs` is what the workers before have told. `claims` counts the leases, this one included, since a worker last wrote or let go. */
export type Lease = Holder & {
  readonly claims: number;
  /** The worker before did not let go: it has died, or was too slow. */
  readonly recovered: boolean;
};

/** New events of one agent and what follows from them. */
export type Append = {
  readonly agentId: string;
  /** The head that the writer knew. */
  readonly after: number;
  /** Wall time of the events. */
  readonly atMs: number;
  /** In the store's time. */
  readonly nowMs: number;
  readonly events: readonly Event[];
  /** The state after the events: the index row is taken from it. */
  readonly state: AgentState;
  /** The state is kept as the agent's snapshot. */
  readonly snapshot: boolean;
  /**
   * A worker's append names its epoch, and keeps its lease until `leaseUntilMs` or, null, lets go of it. A command's
   * (epoch null) leaves a lease that is held alone, with its wake time.
   */
  readonly epoch: number | null;
  readonly leaseUntilMs: number | null;
  /** When the agent next needs attention, where nobody drives it; null: not before someone acts. */
  readonly wakeAtMs: number | null;
  /** For a command: whoever appends takes the lease too, where the agent is due and free. */
  readonly wish: LeaseWish | null;
  /** The draft is superseded by these events. */
  readonly dropDraft: boolean;
};

/** An event with its wall time. */
export type Dated = { readonly atMs: number; readonly event: Event };

export type Creation = {
  readonly agentId: string;
  /** Wall time. */
  readonly atMs: number;
  /** In the store's time. */
  readonly nowMs: number;
  /** How many events stand aside for the agent (`stage`): the log begins with them. */
  readonly staged: number;
  /** The first events with their times, or what comes behind those that stand aside: AgentCreated, or a copied log and what follows it. */
  readonly events: readonly Dated[];
  /** The hash, in hex, that the log has to end with; null: whatever it is. */
  readonly headHash: string | null;
  /** The state behind all events. */
  readonly state: AgentState;
  /** The state is kept as the agent's snapshot. */
  readonly snapshot: boolean;
  readonly wakeAtMs: number | null;
  readonly wish: LeaseWish | null;
  readonly request: RequestKey | null;
  /** null: a new agent. */
  readonly moved: Moved | null;
};

/**
 * What an agent brings along that was in another store, or in this one before, besides its log. It keeps its id, under
 * which it comes back where it was deleted.
 */
export type Moved = Pick<Aside, "workedMs"> & {
  readonly draft: Pick<Draft, "call" | "pieces"> | null;
  /** One that no worker has had of it here: what a worker of then still writes is fenced. */
  readonly epoch: number;
};

/** What is kept of an agent besides its log and its draft, and does not follow from them. */
export type Aside = {
  /** By which it was made. */
  readonly request: RequestKey | null;
  /** What it has worked since its newest event. */
  readonly workedMs: number;
};

/** An event as it is kept, to the byte. */
export type StoredEvent = {
  readonly sequence: number;
  readonly atMs: number;
  /** JSON. */
  readonly body: string;
  /** Chained over all before it, in hex. */
  readonly hash: string;
};

export type DraftPiece = {
  readonly kind: "thinking" | "text";
  /** UTF-8 bytes of that kind's text before this piece. */
  readonly offset: number;
  readonly content: string;
};

/** The durable partial answer of the model call in flight. */
export type Draft = {
  readonly call: ModelCall;
  /** The pieces from the asked-for one on, in order: as many as fit a page. */
  readonly pieces: readonly DraftPiece[];
  /** How many pieces there are in all. */
  readonly piecesTotal: number;
};

export type ListQuery = {
  /** null: any. */
  readonly status: Status | null;
  readonly limit: number;
  /** The last agent of the page before; null: the first page. */
  readonly beforeAgentId: string | null;
};

/** How many agents a store has, and what of them waits for a worker. */
export type Tally = {
  /** `processing` is counted as rows show it: held by a lease that has not run out. */
  readonly agents: Readonly<Record<Status, number>>;
  /** Agents that are due and that nobody drives. */
  readonly due: number;
  /** Since when the longest has been due, in the store's time; null: none is. */
  readonly dueSinceMs: number | null;
};

/** An engine as the others that share its store know it. */
export type Peer = {
  readonly worker: string;
  /** Of each tool that it can run, the digest of its file. */
  readonly tools: Readonly<Record<string, string>>;
};

/** Where agents are kept. Whoever opened it closes it. */
export interface Store {
  /** The time by which leases and wake times go, in ms. */
  nowMs(): number;
  /**
   * Puts the first events of an agent that is still to be made aside, behind the `after` that stand there: a long log
   * comes in pages, so that none holds up others, and the creation that names them takes them over. Nobody sees them until
   * then. Events that stand there already are not written twice, so that any call can be repeated. Fails with conflict
   * where others stand there, or fewer, and with already_exists where the agent is there. A call that fails may have put
   * some of its events aside. What no creation takes within `storeLimits.stagedKeptMs` is thrown away, on SQLite also
   * when the store is opened.
   */
  stage(agentId: string, after: number, events: readonly Dated[], nowMs: number): Promise<void>;
  /** Throws away what stands aside for an agent, so that another log can begin there. */
  unstage(agentId: string): Promise<void>;
  /**
   * A new agent. A request id that was seen answers the agent made then (`created` false), or already_exists where
   * the digest differs. One that moves is made under its own id, or fails with already_exists. Fails with conflict where
   * other than `staged` events stand aside, and with invalid_argument where the log does not end with `headHash`; then what
   * stood aside is thrown away.
   */
  create(
    creation: Creation,
  ): Promise<{ readonly agentId: string; readonly created: boolean; readonly lease: Lease | null }>;
  /** The agent that `create` answers to a request it has seen; null: it has seen none with this id and digest. */
  made(request: RequestKey): Promise<string | null>;
  /** Fails with conflict, fenced or not_found; the lease is given where it was wished for and free. */
  append(append: Append): Promise<Lease | null>;
  /**
   * Events behind `after`, in order: as many as fit a page of the store's choosing, none at the head. Fails with not_found or
   * corrupt. Who goes on with what it knows says when it has event `after` recorded, `knownAtMs`: it fails with conflict where
   * the log has no such event, since the agent was deleted, and brought back with another past.
   */
  read(agentId: string, after: number, knownAtMs?: number): Promise<readonly LoggedEvent[]>;
  /** What `read` reads, as it is kept. */
  readStored(agentId: string, after: number): Promise<readonly StoredEvent[]>;
  /** Fails with not_found. */
  aside(agentId: string): Promise<Aside>;
  /** The marks with one of these keys; none of an unknown agent. */
  marks(agentId: string, keys: readonly string[]): Promise<Marks>;
  /** The newest snapshot; null: none that this version can read. Fails with not_found or corrupt. */
  snapshot(agentId: string): Promise<AgentState | null>;
  /** null: no such agent. */
  row(agentId: string, nowMs: number): Promise<AgentRow | null>;
  /** Newest first. */
  list(query: ListQuery, nowMs: number): Promise<readonly AgentRow[]>;
  /** Counts the agents, at a cost that holds nobody up however many there are. */
  tally(nowMs: number): Promise<Tally>;
  /** Removes all of an agent but a tombstone. Fails with not_found, or failed_precondition for a working one without `force`. */
  remove(agentId: string, atMs: number, force: boolean): Promise<void>;
  /**
   * Adds pieces to the draft of `call`, beginning it where there is none or one of another call. Fails with fenced,
   * not_found, or conflict where the agent is not to work any more: behind a durable pause no byte is written.
   */
  writeDraft(holder: Holder, call: ModelCall, pieces: readonly DraftPiece[]): Promise<void>;
  /** The draft from its piece number `from` (0..) on; null: none. */
  readDraft(agentId: string, from: number): Promise<Draft | null>;
  /**
   * Leases up to `limit` agents that are due, those longest due first. Agents that had been claimed `claimsTrusted` times
   * in a row without a word from their workers come behind all others, one at a time, the least tried first. Those in
   * `skip` are left to other engines.
   */
  claim(
    wish: LeaseWish,
    nowMs: number,
    limit: number,
    skip?: ReadonlySet<string>,
  ): Promise<readonly Lease[]>;
  /** Lengthens leases; answers the agents whose epoch is stale by now. */
  renew(holders: readonly Holder[], untilMs: number): Promise<readonly string[]>;
  /**
   * Lets go of a lease without an append; a stale one is ignored. Nothing happens and it answers false where the head is
   * not `after` any more (null: whatever it is): what came in between may need the worker.
   */
  release(holder: Holder, after: number | null, wakeAtMs: number | null): Promise<boolean>;
  /** When the next agent that is not in `skip` is due; null: none is. */
  nextWakeMs(skip?: ReadonlySet<string>): Promise<number | null>;
  /** Tells the other engines of this one; it counts until `untilMs`. */
  announce(peer: Peer, untilMs: number): Promise<void>;
  /** The engines that have announced themselves and count still, this one too. */
  peers(nowMs: number): Promise<readonly Peer[]>;
  /** Calls `hint` after each change of the agent's log or draft, until the result is called. */
  follow(agentId: string, hint: () => void): () => void;
  /** Calls `hint` after each change that may bring the next wake time nearer, whichever engine made it, until the result is called. */
  followWakes(hint: () => void): () => void;
  /** Resolves when the store can take a write; else fails. */
  probe(): Promise<void>;
  close(): Promise<void>;
}
