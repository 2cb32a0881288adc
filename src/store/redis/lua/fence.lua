-- Put before what an engine does with agents: behind something newer in its shard nothing of its own format is written
-- or understood any more. The last key and argument are the shard's own and the engine's format.
local store, format = table.remove(KEYS), tonumber(table.remove(ARGV))
local newest = tonumber(redis.call('HGET', store, 'format') or 1)
if format < newest then return redis.error_reply('FORMAT ' .. newest) end
if WRITES and format > newest then redis.call('HSET', store, 'format', format) end
