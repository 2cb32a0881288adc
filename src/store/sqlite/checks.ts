/*
 * What a row is kept with, so that a changed byte of it is found: 48 bits of a SHA-256 over its columns, a plain number to
 * SQLite and to JavaScript. Each is tied to its agent, so that a row in another's place is found too. Events and
 * snapshots have whole hashes, since their chain is to withstand a hand as well.
 */

type Value = string | number | null;

/** Written anew by each check: they are made on every commit's path. */
const digest = new Uint8Array(32);
const view = new DataView(digest.buffer);

const checkOf = (...values: readonly Value[]): number => {
  Bun.SHA256.hash(values.map(String).join("\n"), digest);
  return view.getUint16(0) * 2 ** 32 + view.getUint32(2);
};

/** Of what an agent's row says for its whole life. */
export const birthCheck = (row: {
  readonly agent_id: string;
  readonly created_at: number;
  readonly request_id: string | null;
  readonly request_digest: string | null;
}): number => checkOf(row.agent_id, row.created_at, row.request_id, row.request_digest);

/** Of what an edit changes; JSON as it is stored. */
export const specCheck = (row: {
  readonly agent_id: string;
  readonly spec: string;
  readonly parent: string;
}): number => checkOf(row.agent_id, row.parent, row.spec);

/** Of what each append changes. */
export const headCheck = (row: {
  readonly agent_id: string;
  readonly updated_at: number;
  readonly status: string;
  readonly reason: string;
  readonly head: number;
  readonly hash: Uint8Array;
  readonly stats: string;
  readonly version: number;
}): number =>
  checkOf(
    row.agent_id,
    row.updated_at,
    row.status,
    row.head,
    row.version,
    // A damaged column may hold anything.
    row.hash instanceof Uint8Array ? row.hash.toHex() : String(row.hash),
    row.stats,
    row.reason,
  );

/** Of who drives an agent, and when it is due. */
export const leaseCheck = (row: {
  readonly agent_id: string;
  readonly wake: number | null;
  readonly worker: string | null;
  readonly lease_until: number;
  readonly epoch: number;
  readonly claims: number;
  readonly worked: number;
}): number =>
  checkOf(row.agent_id, row.wake, row.lease_until, row.epoch, row.claims, row.worked, row.worker);

/** What the first piece of a draft is chained to. */
export const draftStart = (agentId: string): number => checkOf(agentId, "draft");

/** Of a piece, chained to the one before. */
export const pieceCheck = (
  previous: number,
  row: {
    readonly number: number;
    readonly kind: string;
    readonly offset: number;
    readonly content: string;
  },
): number => checkOf(previous, row.number, row.kind, row.offset, row.content);

/** Of the draft as a whole; `tail` is the check of its last piece. */
export const draftCheck = (row: {
  readonly agent_id: string;
  readonly draft_call: string | null;
  readonly draft_pieces: number;
  readonly draft_tail: number;
}): number => checkOf(row.agent_id, row.draft_pieces, row.draft_tail, row.draft_call);

/** Of a mark; `agent` is the number of its agent's row. */
export const markCheck = (row: {
  readonly agent: number;
  readonly key: string;
  readonly sequence: number;
  readonly digest: string;
}): number => checkOf(row.agent, row.sequence, row.digest, row.key);

/** Of what stands aside for an agent. */
export const stagedCheck = (row: {
  /** The number of the agent's row to be. */
  readonly agent: number;
  /** null: it was thrown away. */
  readonly agent_id: string | null;
  readonly head: number;
  readonly hash: Uint8Array;
  /** Marks of messages from before this event are stale; 0: none is. */
  readonly forked: number;
  /** When its newest events came. */
  readonly touched: number;
}): number =>
  checkOf(
    row.agent,
    row.head,
    row.forked,
    row.touched,
    // A damaged column may hold anything.
    row.hash instanceof Uint8Array ? row.hash.toHex() : String(row.hash),
    row.agent_id,
  );

export const tombstoneCheck = (row: {
  readonly agent_id: string;
  readonly deleted_at: number;
}): number => checkOf(row.agent_id, row.deleted_at);

/** Of a store's identity and its count of commits, in the database and beside it. */
export const storeCheck = (row: { readonly id: string; readonly commits: number }): number =>
  checkOf(row.id, row.commits);
