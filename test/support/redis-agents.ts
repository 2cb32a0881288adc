import { makeShards, type Shard } from "../../src/store/redis/shards.ts";
import { createAgent, is, openChat, restingAgent, talk, valuesOf } from "./conversation.ts";
import type { EngineProcess } from "./engine-process.ts";
import { wordsIn } from "./numbered-words.ts";
import type { RedisServer } from "./redis-server.ts";
import { putTools } from "./tool-modules.ts";

/** Agents of every kind, each as an engine has left it. */
export type StoredAgents = Readonly<
  Record<"talker" | "caller" | "fork" | "paused" | "held" | "canceled" | "deleted", string>
>;

/** So many events make an engine keep a snapshot. */
const talks = 70;

/** Lets an engine make them; it is killed in the middle of an answer. */
export async function makeAgents(engine: EngineProcess): Promise<StoredAgents> {
  const { client } = engine;
  await putTools(engine.folder, "quick");
  const talker = await createAgent(client, { requestId: "the talker" });
  for (let n = 0; n < talks; n++)
    await client.sendMessage({
      agentId: talker,
      userInput: { content: `say number ${n}` },
      messageId: `m${n}`,
    });
  const { agentId: fork } = await client.forkAgent({ agentId: talker, requestId: "the fork" });
  await talk(client, fork, "say hello");
  const caller = await createAgent(client, {
    tools: [{ name: "quick", requiresConfirmation: true }],
  });
  const [call] = valuesOf(await talk(client, caller, "call quick with {}"), "toolCall");
  const confirm = { callId: call?.callId ?? "", approve: true };
  await client.controlAgent({ agentId: caller, command: { case: "confirm", value: confirm } });
  await restingAgent(client, caller);
  const [canceled, deleted] = [await createAgent(client), await createAgent(client)];
  await client.setAgentStatus({ agentId: canceled, status: "canceled" });
  await client.deleteAgent({ agentId: deleted });
  const paused = await inMidAnswer(engine);
  await client.setAgentStatus({ agentId: paused, status: "paused" });
  const held = await inMidAnswer(engine);
  await engine.kill();
  return { talker, caller, fork, paused, held, canceled, deleted };
}

async function inMidAnswer({ client }: EngineProcess): Promise<string> {
  const agentId = await createAgent(client, { model: "scripted:5" });
  await using chat = openChat(client, agentId);
  chat.say("write 4000 words");
  await chat.until(is("textDelta"));
  await chat.until(() => wordsIn(chat.listener.partial) > 20);
  return agentId;
}

/** A change of one key, as a person or a fault may make it. */
export type RedisDamage = {
  readonly what: string;
  readonly agent: keyof StoredAgents;
  readonly key: (shard: Shard, agentId: string) => string;
  /** What redis-cli is told: KEY is the key, and a word that ends with ID ends with the agent's. */
  readonly command: readonly string[];
  /** What `engram verify` says of the agent; behind a question mark, of the store. */
  readonly fault: string;
};

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

/** Changes a text in a field of a hash, of which the first counts. */
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

const agent: RedisDamage["key"] = (shard, agentId) => shard.agent(agentId);
const log: RedisDamage["key"] = (shard, agentId) => shard.log(agentId);
const marks: RedisDamage["key"] = (shard, agentId) => shard.marks(agentId);
const draft: RedisDamage["key"] = (shard, agentId) => shard.draft(agentId);
const index: RedisDamage["key"] = (shard) => shard.index;
const wake: RedisDamage["key"] = (shard) => shard.wake;

type Row = readonly [
  what: string,
  agent: keyof StoredAgents,
  key: RedisDamage["key"],
  command: readonly string[],
  fault: string,
];

const rows: readonly Row[] = [
  [
    "a byte of an event",
    "talker",
    log,
    rewritten("f[4] = string.gsub(f[4], 'content', 'contemt')"),
    "event 3 was changed",
  ],
  ["an event's time", "talker", log, rewritten("f[2] = f[2] + 1"), "event 3 was changed"],
  [
    "an event's hash",
    "talker",
    log,
    rewritten("f[6] = string.rep('0', 64)"),
    "event 3 was changed",
  ],
  ["an event removed", "talker", log, ["xdel", "KEY", "0-3"], "event 3 is missing"],
  ["all events removed", "talker", log, ["del", "KEY"], "event 1 is missing"],
  [
    "an event more",
    "talker",
    log,
    ["xadd", "KEY", "0-9999", "at", "1", "body", "{}", "hash", ""],
    "event 9999 stands behind its last",
  ],
  ["a strange entry", "talker", log, ["xadd", "KEY", "*", "a", "b"], "stands behind its last"],
  ["a log of another type", "talker", log, ["set", "KEY", "x"], "it cannot be read: "],
  [
    "the head's hash",
    "talker",
    agent,
    ["hset", "KEY", "hash", "00"],
    "is not the one that its index row ends with",
  ],
  ["a later head", "talker", agent, ["hset", "KEY", "head", "9999"], "is missing"],
  [
    "an earlier head",
    "caller",
    agent,
    ["hset", "KEY", "head", "4"],
    "event 4 is not the one that its index row ends with",
  ],
  [
    "no number for a head",
    "talker",
    agent,
    ["hset", "KEY", "head", "x"],
    "its index row was changed: its head is no number",
  ],
  [
    "its status",
    "talker",
    agent,
    ["hset", "KEY", "status", "paused"],
    "its index row says paused, its log waiting_for_input",
  ],
  [
    "a strange status",
    "talker",
    agent,
    ["hset", "KEY", "status", "asleep"],
    "its index row was changed: its status",
  ],
  ["its counts", "talker", agent, replaced("info", '"steps":', '"steps":1'), "steps, its log "],
  [
    "its reason",
    "talker",
    agent,
    replaced("info", '"reason":""', '"reason":"x"'),
    "its index row says x as its reason",
  ],
  [
    "its time of creation",
    "talker",
    agent,
    replaced("info", '"createdAtMs":1', '"createdAtMs":2'),
    "as the time of its creation",
  ],
  [
    "more in its info",
    "talker",
    agent,
    replaced("info", "{", '{"more":1,'),
    "its index row says more than its log gives",
  ],
  [
    "an info that is none",
    "talker",
    agent,
    ["hset", "KEY", "info", "{"],
    "its index row was changed: its info cannot be read",
  ],
  [
    "no info",
    "talker",
    agent,
    ["hdel", "KEY", "info"],
    "its index row was changed: its info is missing",
  ],
  [
    "its goal",
    "talker",
    agent,
    replaced("spec", "help the user", "harm the user"),
    "its index row has another goal than its log",
  ],
  [
    "its parent",
    "fork",
    agent,
    replaced("spec", '"parent":{', '"parent":{"x":1,'),
    "as its parent, its log ",
  ],
  [
    "a snapshot's state",
    "talker",
    agent,
    replaced("snapshot", "number 1", "numbxr 1"),
    "its snapshot at event ",
  ],
  [
    "a snapshot's hash",
    "talker",
    agent,
    ["hset", "KEY", "snapshotHash", "00"],
    "its snapshot at event ",
  ],
  [
    "a snapshot's place",
    "talker",
    agent,
    ["hset", "KEY", "snapshotAt", "5"],
    "its snapshot at event 5 was changed",
  ],
  [
    "a snapshot behind the log",
    "talker",
    agent,
    ["hset", "KEY", "snapshotAt", "9999"],
    "its snapshot is of event 9999, its log ends at ",
  ],
  [
    "a snapshot of nothing",
    "caller",
    agent,
    ["hset", "KEY", "snapshotAt", "0"],
    "its index row was changed: the place of its snapshot",
  ],
  [
    "a mark's event",
    "talker",
    marks,
    ["hset", "KEY", "message m1", "9999 x"],
    "the mark of event ",
  ],
  [
    "a mark's digest",
    "caller",
    marks,
    [
      "eval",
      "for _, key in ipairs(redis.call('HKEYS', KEYS[1])) do redis.call('HSET', KEYS[1], key, (string.gsub(redis.call('HGET', KEYS[1], key), 'approved', 'rejected'))) end",
      "1",
      "KEY",
    ],
    "was changed",
  ],
  ["a missing mark", "talker", marks, ["hdel", "KEY", "message m69"], "the mark of event "],
  ["all marks missing", "talker", marks, ["del", "KEY"], "is missing"],
  [
    "a mark too many",
    "talker",
    marks,
    ["hset", "KEY", "message x", "2 x"],
    "it has 71 marks, its log gives 70",
  ],
  [
    "a piece of a draft",
    "paused",
    draft,
    ["lset", "KEY", "3", "{}"],
    "piece 3 of its draft was changed",
  ],
  [
    "a piece's place",
    "paused",
    draft,
    ["lset", "KEY", "3", '{"kind":"text","offset":1,"content":"x"}'],
    "piece 3 of its draft stands at 1, not ",
  ],
  ["a missing piece", "held", draft, ["lpop", "KEY"], "piece 0 of its draft stands at "],
  [
    "a draft's call",
    "paused",
    agent,
    ["hset", "KEY", "draft", "{}"],
    "a stored draft has no model call",
  ],
  [
    "a draft without a call",
    "paused",
    agent,
    ["hdel", "KEY", "draft"],
    "it has pieces of a draft, but no draft",
  ],
  ["a draft's place", "paused", agent, ["hset", "KEY", "draftAt", "1"], "its draft answers event "],
  [
    "a place too many in the index",
    "talker",
    index,
    ["zadd", "KEY", "0", "paused:ID"],
    "it is listed as paused too",
  ],
  [
    "no place in the index",
    "talker",
    index,
    ["zrem", "KEY", "waiting_for_input:ID"],
    "it is not listed as waiting_for_input",
  ],
  [
    "no place among the held",
    "held",
    index,
    ["zrem", "KEY", "held:ID"],
    "it is not listed as held",
  ],
  [
    "an agent not listed",
    "talker",
    index,
    ["zrem", "KEY", "all:ID"],
    "it is in the index as waiting_for_input:",
  ],
  [
    "an agent listed and not there",
    "deleted",
    index,
    ["zadd", "KEY", "0", "all:ID"],
    "it is listed, but not there",
  ],
  [
    "a status of no agent",
    "deleted",
    index,
    ["zadd", "KEY", "0", "paused:ID"],
    "it is in the index as paused:",
  ],
  [
    "something strange in the index",
    "talker",
    index,
    ["zadd", "KEY", "0", "odd"],
    "?index has odd, which does not belong there",
  ],
  [
    "a score in the index",
    "talker",
    index,
    ["zadd", "KEY", "1", "all:ID"],
    "?index has scores that are not 0",
  ],
  [
    "a wake time of no agent",
    "deleted",
    wake,
    ["zadd", "KEY", "1", "ID"],
    "it has a wake time, but is not listed",
  ],
  [
    "a wake time of one at rest",
    "talker",
    wake,
    ["zadd", "KEY", "9e15", "ID"],
    "it rests, but has a wake time",
  ],
  [
    "no wake time",
    "held",
    wake,
    ["zrem", "KEY", "ID"],
    "it waits for a step, but has no wake time",
  ],
  [
    "a wake time before the lease ends",
    "held",
    wake,
    ["zadd", "KEY", "5", "ID"],
    "but its wake time is 5",
  ],
  [
    "a wake time long behind the lease",
    "held",
    wake,
    ["zadd", "KEY", "9e15", "ID"],
    "but its wake time is 9000000000000000",
  ],
  [
    "a lease of nobody",
    "talker",
    agent,
    ["hset", "KEY", "lease", "5"],
    "nobody drives it, but it has a lease",
  ],
  [
    "an epoch that is none",
    "talker",
    agent,
    ["hset", "KEY", "epoch", "-1"],
    "its index row was changed: its epoch is no number",
  ],
  [
    "a time to live",
    "talker",
    log,
    ["expire", "KEY", "1000"],
    "a key of it was given a time to live, and will be gone",
  ],
  [
    "a tombstone",
    "talker",
    (shard) => shard.gone,
    ["hset", "KEY", "ID", "1"],
    "it was deleted, but is still there",
  ],
  [
    "what made it",
    "talker",
    agent,
    ["hset", "KEY", "request", "another"],
    "its request another stands for nothing",
  ],
  ["an agent's row removed", "talker", agent, ["del", "KEY"], "it is listed, but not there"],
  [
    "a shard's identity",
    "talker",
    (shard) => shard.store,
    ["hset", "KEY", "id", "another"],
    "?store is of store ",
  ],
  [
    "no identity",
    "talker",
    (shard) => shard.store,
    ["hdel", "KEY", "id"],
    "?store does not say which store it is of",
  ],
];

export const redisDamages: readonly RedisDamage[] = rows.map(([what, of, key, command, fault]) => ({
  what,
  agent: of,
  key,
  command,
  fault,
}));

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
