import type { Fault } from "./fault.ts";

const lease = "test/store/contract-lease.test.ts";
const formats = "test/store/redis-formats.test.ts";
const log = "test/store/contract-log.test.ts";
const redisOwn = "test/store/redis.test.ts";
const cluster = "test/store/redis-cluster.test.ts";

/** Where a promise hangs on one line of the store on Redis. */
export const redis: readonly Fault[] = [
  {
    name: "Redis: what a creation took over goes after a while",
    file: "src/store/redis/lua/create.lua",
    text: "  redis.call('PERSIST', log)\n",
    by: "",
    tests: ["test/store/redis-staged.test.ts"],
  },
  {
    name: "Redis: a creation takes over more than it names from aside",
    file: "src/store/redis/lua/create.lua",
    text: "if at ~= aside or",
    by: "if aside == '0' and at ~= aside or",
    tests: ["test/store/contract-stage.test.ts"],
  },
  {
    name: "Redis: a worker that was replaced writes on",
    file: "src/store/redis/lua/append.lua",
    text: "if epoch ~= NONE and held[5] ~= epoch then",
    by: "if epoch ~= NONE and held[5] < epoch then",
    tests: [lease],
  },
  {
    name: "Redis: an append goes behind a head that its writer did not know",
    file: "src/store/redis/lua/append.lua",
    text: "if held[1] ~= after then return { 'conflict', held[1] } end",
    by: "",
    tests: [log],
  },
  {
    name: "Redis: a worker that was replaced adds to the draft",
    file: "src/store/redis/lua/write-draft.lua",
    text: "if held[2] ~= epoch then return { 'fenced' } end",
    by: "",
    tests: [lease],
  },
  {
    name: "Redis: something is written behind what the writer does not know",
    file: "src/store/redis/lua/fence.lua",
    text: "if format < newest then return redis.error_reply('FORMAT ' .. newest) end",
    by: "",
    tests: [formats],
  },
  {
    name: "Redis: a shard is not marked with the newer format",
    file: "src/store/redis/lua/fence.lua",
    text: "if WRITES and format > newest then",
    by: "if false then",
    tests: [formats],
  },
  {
    name: "Redis: the format is raised under an engine that does not know the newer one",
    file: "src/store/redis/lua/beat.lua",
    text: "known = known and tonumber(knows or 1) >= newest",
    by: "",
    tests: [formats],
  },
  {
    name: "Redis: the format is raised under an engine that could not tell of itself",
    file: "src/store/redis/lua/beat.lua",
    text: "tonumber(untilMs) <= time and time >= settled then",
    by: "tonumber(untilMs) <= time then",
    tests: [formats],
  },
  {
    name: "Redis: the format is raised under an engine that tells of tools only",
    file: "src/store/redis/lua/beat.lua",
    text: "isSilent or named[found[n]] or found[n] == worker",
    by: "true",
    tests: [formats],
  },
  {
    name: "Redis: a format that was raised is lost with a server",
    file: "src/store/redis/lua/beat.lua",
    text: "math.max(tonumber(kept[2] or 0), learnt)",
    by: "tonumber(kept[2] or 0)",
    tests: [formats],
  },
  {
    name: "Redis: an engine writes in a store of a format that it does not know",
    file: "src/store/redis/lua/beat.lua",
    text: "if format < oldest or format > newest then return told(format) end",
    by: "",
    tests: [formats],
  },
  {
    name: "Redis: an engine that stops is waited for",
    file: "src/store/redis/home.ts",
    text: "if (trouble === null) await sayGoodbye(parts, servers);",
    by: "",
    tests: [formats],
  },
  {
    name: "Redis: an engine goes on in a format that it does not know",
    file: "src/store/redis/formats.ts",
    text: 'if (strange !== null) throw new EngramError("unavailable", strange);',
    by: "",
    tests: [formats],
  },
  {
    name: "Redis: who becomes due while others are is not told of",
    file: "src/store/redis/hints.ts",
    text: " || told <= nowMs()",
    by: "",
    tests: [redisOwn],
  },
  {
    name: "Redis: what no replica has is shown, and acknowledged when it is repeated",
    file: "src/store/redis/base.ts",
    text: "ask: (shard, ...command) => guarded(() => servers.sure(shard, command))",
    by: "ask: (shard, ...command) => guarded(() => servers.send(shard, command))",
    tests: [cluster],
  },
  {
    name: "Redis: a master that is replaced while it waits for replicas fails the agent",
    file: "src/store/redis/confirm.ts",
    text: ".catch(unconfirmed)",
    by: "",
    tests: [cluster],
  },
  {
    name: "Redis: a slot on its way is not waited for",
    file: "src/store/redis/servers.ts",
    text: '"MOVED", "ASK", "TRYAGAIN"',
    by: '"MOVED", "ASK"',
    tests: [cluster],
  },
];
