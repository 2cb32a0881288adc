/**
 * Agents are spread over this many shards. All keys of a shard have its tag in braces, which is what Redis Cluster places
 * them by: so they are on one server together, and one script can change them. The tags' slots stand evenly, each in the
 * middle of a 32nd of all. Never to be changed: it says where what is stored is found.
 */
const tags = (
  "10 117 25 7 61 76 54 43 11 116 24 6 60 77 55 42 " +
  "12 115 27 5 63 74 56 41 13 114 26 4 62 75 57 40"
).split(" ");

const slotsTotal = 16_384;

/** CRC-16/XMODEM modulo the number of slots, as Redis Cluster computes it. */
export function slotOf(tag: string): number {
  let crc = 0;
  for (const byte of Buffer.from(tag)) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++)
      crc = (crc & 0x8000) === 0 ? (crc << 1) & 0xffff : ((crc << 1) ^ 0x1021) & 0xffff;
  }
  return crc % slotsTotal;
}

/** The keys that one shard's agents have in common, and those of one agent. */
export type Shard = {
  readonly number: number;
  readonly slot: number;
  /** Sorted set of agents by their wake times. */
  readonly wake: string;
  /** Sorted set of "all:ID" and "STATUS:ID", by letters. */
  readonly index: string;
  /** Hash of the deleted agents and when. */
  readonly gone: string;
  /** Hash of the engines that share the store and what each says of itself; of the first shard. */
  readonly peers: string;
  /** Hash of the same engines and the formats that each knows; of the first shard. */
  readonly members: string;
  /** Channel of hints. */
  readonly channel: string;
  /** Hash: which store this is, and in which format the shard is written; of the first shard also the store's time. */
  readonly store: string;
  agent(agentId: string): string;
  log(agentId: string): string;
  draft(agentId: string): string;
  marks(agentId: string): string;
  /** What stands aside for an agent: where it ends, its log and its marks. Each goes by itself after a time. */
  staged(agentId: string): string;
  stagedLog(agentId: string): string;
  stagedMarks(agentId: string): string;
  request(requestId: string): string;
};

/** How agents and request ids are spread. */
export type Shards = {
  readonly all: readonly Shard[];
  /** Keeps the store's identity, format and time. */
  readonly first: Shard;
  of(id: string): Shard;
};

/** The shards of the store whose keys begin with `prefix`, which has no braces. */
export function makeShards(prefix: string): Shards {
  const all = tags.map((tag, number): Shard => {
    const base = `${prefix}{${tag}}:`;
    const keyed =
      (kind: string) =>
      (id: string): string =>
        `${base}${kind}:${id}`;
    return {
      number,
      slot: slotOf(tag),
      wake: `${base}wake`,
      index: `${base}index`,
      gone: `${base}gone`,
      peers: `${base}peers`,
      members: `${base}members`,
      channel: `${base}hints`,
      store: `${base}store`,
      agent: keyed("agent"),
      log: keyed("log"),
      draft: keyed("draft"),
      marks: keyed("marks"),
      staged: keyed("staged"),
      stagedLog: keyed("staged-log"),
      stagedMarks: keyed("staged-marks"),
      request: keyed("request"),
    };
  });
  const at = (number: number): Shard => {
    const shard = all[number];
    if (shard === undefined) throw new Error(`no shard ${number}`);
    return shard;
  };
  return { all, first: at(0), of: (id) => at(Bun.hash.crc32(id) % all.length) };
}
