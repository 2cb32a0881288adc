import { makeShards, type Shard } from "../../src/store/redis/shards.ts";
import type { StoredAgents } from "./redis-agents.ts";
import type { RedisServer } from "./redis-server.ts";

/** A change of one key, as a person or a fault may make it. */
export type RedisDamage = {
  readonly what: string;
  readonly agent: keyof StoredAgents;
  readonly key: Key;
  /** What redis-cli is told: KEY is the key, and a word that ends with ID ends with the agent's. */
  readonly command: readonly string[];
  /** What `engram verify` says of the agent; behind a question mark, of the store. */
  readonly fault: string;
};

type Key = (shard: Shard, agentId: string) => string;

const agent: Key = (shard, agentId) => shard.agent(agentId);
const log: Key = (shard, agentId) => shard.log(agentId);
const marks: Key = (shard, agentId) => shard.marks(agentId);
const draft: Key = (shard, agentId) => shard.draft(agentId);
const index: Key = (shard) => shard.index;
const wake: Key = (shard) => shard.wake;
const gone: Key = (shard) => shard.gone;
const store: Key = (shard) => shard.store;

/** Makes a log anew, with its third event changed: `f` are the fields of its entry. */
const rewritten = (change: string): readonly string[] => [
  "eval",
  `local entries = redis.call('XRANGE', KEYS[1], '-', '+')
   redis.call('DEL', KEYS[1])
   for _, entry in ipairs(entries) do
     local id, f = entry[1], entry[2]
     if id == '0-3' then ${change} end
     redis.call('XADD', KEYS[1], id, unpack(f))
   end`,
  "1",
  "KEY",
];

/** Changes a text in a field of a hash, where it first stands. */
const replaced = (field: string, from: string, to: string): readonly string[] => [
  "eval",
  `local text, count = string.gsub(redis.call('HGET', KEYS[1], ARGV[1]), ARGV[2], ARGV[3], 1)
   if count == 0 then return redis.error_reply('ERR nothing to change') end
   redis.call('HSET', KEYS[1], ARGV[1], text)`,
  "1",
  "KEY",
  field,
  from,
  to,
];

/** Turns an approval into the opposite. */
const rejected = [
  "eval",
  `for _, key in ipairs(redis.call('HKEYS', KEYS[1])) do
     local mark = string.gsub(redis.call('HGET', KEYS[1], key), 'approved', 'rejected')
     redis.call('HSET', KEYS[1], key, mark)
   end`,
  "1",
  "KEY",
];

type Row = readonly [what: string, command: string | readonly string[], fault: string];

const of = (name: keyof StoredAgents, key: Key, rows: readonly Row[]): readonly RedisDamage[] =>
  rows.map(([what, command, fault]) => ({
    what,
    agent: name,
    key,
    command: typeof command === "string" ? command.split(" ") : command,
    fault,
  }));

export const redisDamages: readonly RedisDamage[] = [
  ...of("talker", log, [
    [
      "a byte of an event",
      rewritten("f[4] = string.gsub(f[4], 'content', 'contemt')"),
      "event 3 was changed",
    ],
    ["an event's time", rewritten("f[2] = f[2] + 1"), "event 3 was changed"],
    ["an event's hash", rewritten("f[6] = string.rep('0', 64)"), "event 3 was changed"],
    ["an event removed", "xdel KEY 0-3", "event 3 is missing"],
    ["all events removed", "del KEY", "event 1 is missing"],
    ["an event more", "xadd KEY 0-9999 at 1 body {} hash 00", "event 9999 stands behind its last"],
    ["a strange entry", "xadd KEY * a b", "stands behind its last"],
    ["a log of another type", "set KEY x", "it cannot be read: "],
    ["a time to live", "expire KEY 1000", "a key of it was given a time to live, and will be gone"],
  ]),
  ...of("talker", agent, [
    ["the head's hash", "hset KEY hash 00", "is not the one that its index row ends with"],
    ["a later head", "hset KEY head 9999", "is missing"],
    ["no number for a head", "hset KEY head x", "its index row was changed: its head is no number"],
    [
      "its status",
      "hset KEY status paused",
      "its index row says paused, its log waiting_for_input",
    ],
    ["a strange status", "hset KEY status asleep", "its index row was changed: its status"],
    ["its counts", replaced("info", '"steps":', '"steps":1'), "steps, its log "],
    [
      "its reason",
      replaced("info", '"reason":""', '"reason":"x"'),
      "its index row says x as its reason",
    ],
    [
      "its time of creation",
      replaced("info", '"createdAtMs":1', '"createdAtMs":2'),
      "as the time of its creation",
    ],
    [
      "more in its info",
      replaced("info", "{", '{"more":1,'),
      "its index row says more than its log gives",
    ],
    [
      "an info that is none",
      "hset KEY info {",
      "its index row was changed: its info cannot be read",
    ],
    ["no info", "hdel KEY info", "its index row was changed: its info is missing"],
    [
      "its goal",
      replaced("spec", "help the user", "harm the user"),
      "its index row has another goal than its log",
    ],
    ["a snapshot's state", replaced("snapshot", "number 1", "numbxr 1"), "its snapshot at event "],
    ["a snapshot's hash", "hset KEY snapshotHash 00", "its snapshot at event "],
    ["a snapshot's place", "hset KEY snapshotAt 5", "its snapshot at event 5 was changed"],
    [
      "a snapshot behind the log",
      "hset KEY snapshotAt 9999",
      "its snapshot is of event 9999, its log ends at ",
    ],
    ["a lease of nobody", "hset KEY lease 5", "nobody drives it, but it has a lease"],
    [
      "an epoch that is none",
      "hset KEY epoch -1",
      "its index row was changed: its epoch is no number",
    ],
    [
      "a work that is none",
      "hset KEY worked x",
      "its index row was changed: its worked is no time",
    ],
    ["what made it", "hset KEY request another", "its request another stands for nothing"],
    ["an agent's row removed", "del KEY", "it is listed, but not there"],
  ]),
  ...of("caller", agent, [
    ["an earlier head", "hset KEY head 4", "event 4 is not the one that its index row ends with"],
    [
      "a snapshot of nothing",
      "hset KEY snapshotAt 0",
      "its index row was changed: the place of its snapshot",
    ],
  ]),
  ...of("fork", agent, [
    ["its parent", replaced("spec", '"parent":{', '"parent":{"x":1,'), "as its parent, its log "],
  ]),
  ...of("talker", marks, [
    ["a mark's event", ["hset", "KEY", "message m1", "9999 x"], "the mark of event "],
    ["a missing mark", ["hdel", "KEY", "message m69"], "the mark of event "],
    ["all marks missing", "del KEY", "is missing"],
    ["a mark too many", ["hset", "KEY", "message x", "2 x"], "it has 71 marks, its log gives 70"],
  ]),
  ...of("caller", marks, [["a mark's digest", rejected, "was changed"]]),
  ...of("paused", draft, [
    ["a piece of a draft", "lset KEY 3 {}", "piece 3 of its draft was changed"],
    [
      "a piece's place",
      'lset KEY 3 {"kind":"text","offset":1,"content":"x"}',
      "piece 3 of its draft stands at 1, not ",
    ],
  ]),
  ...of("held", draft, [["a missing piece", "lpop KEY", "piece 0 of its draft stands at "]]),
  ...of("paused", agent, [
    ["a draft's call", "hset KEY draft {}", "a stored draft has no model call"],
    ["a draft without a call", "hdel KEY draft", "it has pieces of a draft, but no draft"],
    ["a draft's place", "hset KEY draftAt 1", "its draft answers event "],
  ]),
  ...of("talker", index, [
    ["a place too many in the index", "zadd KEY 0 paused:ID", "it is listed as paused too"],
    [
      "no place in the index",
      "zrem KEY waiting_for_input:ID",
      "it is not listed as waiting_for_input",
    ],
    ["an agent not listed", "zrem KEY all:ID", "it is in the index as waiting_for_input:"],
    [
      "something strange in the index",
      "zadd KEY 0 odd",
      "?index has odd, which does not belong there",
    ],
    ["a score in the index", "zadd KEY 1 all:ID", "?index has scores that are not 0"],
  ]),
  ...of("held", index, [
    ["no place among the held", "zrem KEY held:ID", "it is not listed as held"],
  ]),
  ...of("deleted", index, [
    ["an agent listed and not there", "zadd KEY 0 all:ID", "it is listed, but not there"],
    ["a status of no agent", "zadd KEY 0 paused:ID", "it is in the index as paused:"],
  ]),
  ...of("deleted", wake, [
    ["a wake time of no agent", "zadd KEY 1 ID", "it has a wake time, but is not listed"],
  ]),
  ...of("talker", wake, [
    ["a wake time of one at rest", "zadd KEY 9e15 ID", "it rests, but has a wake time"],
  ]),
  ...of("held", wake, [
    ["no wake time", "zrem KEY ID", "it waits for a step, but has no wake time"],
    ["a wake time before the lease ends", "zadd KEY 5 ID", "but its wake time is 5"],
    [
      "a wake time long behind the lease",
      "zadd KEY 9e15 ID",
      "but its wake time is 9000000000000000",
    ],
  ]),
  ...of("talker", gone, [["a tombstone", "hset KEY ID 1", "it was deleted, but is still there"]]),
  ...of("talker", store, [
    ["a shard's identity", "hset KEY id another", "?store is of store "],
    ["no identity", "hdel KEY id", "?store does not say which store it is of"],
  ]),
];

/** Does a damage, and gives what undoes it. */
export function damageRedis(
  server: RedisServer,
  { prefix, agentId }: { readonly prefix: string; readonly agentId: string },
  { key, command }: RedisDamage,
): () => void {
  const name = key(makeShards(prefix).of(agentId), agentId);
  const cli = (...args: readonly string[]): string => {
    const said = server.cli("-c", ...args);
    if (/^(?:ERR|WRONGTYPE)/.test(said)) throw new Error(said);
    return said;
  };
  // In the same slot.
  const kept = `${name}:kept`;
  const wasThere = cli("copy", name, kept, "replace") === "1";
  cli(...command.map((word) => (word === "KEY" ? name : word.replace(/ID$/, agentId))));
  return () => {
    cli("del", name);
    if (wasThere) cli("rename", kept, name);
  };
}
